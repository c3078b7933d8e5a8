//! What does an attempt go through between its acceptance and its end?
//!
//! What comes next is decided by [`Progress`](super::progress::Progress), and journaled before it is done.

use std::{io, sync::Arc};

use tokio::time::Instant;

use super::{
    attempt::{Abandoned, Attempt, journal_failure, stopped},
    journal::Entry,
    progress::Next,
    pump::break_off,
    reporter::Board,
    setup, step,
    task_log::TaskLog,
    uptime::Moment,
};
use crate::{
    contract::{AttemptState, StepRef, StepStatus},
    driver::Pod,
};

impl Attempt {
    /// Sets up, and runs steps until the attempt ends. Returns the pod, if there is one.
    pub(super) async fn stages(
        &mut self,
        pod: Option<Arc<dyn Pod>>,
        log: &TaskLog,
        board: &Board,
        mut resumed: bool,
        same_boot: bool,
    ) -> Result<Option<Arc<dyn Pod>>, Abandoned> {
        let mut pod = pod;
        let mut place = None;
        loop {
            if self.entry.progress.end.is_none()
                && let Some(reason) = self.signals.stop_reason()
                && !(resumed && self.is_step_running())
            {
                self.entry.progress.end = Some(stopped(reason));
            }
            match self.entry.progress.next() {
                Next::End(_) => {
                    self.settle_what_was_running(board).await?;
                    return Ok(pod);
                }
                Next::Setup => {
                    self.entry.progress.begin_setup();
                    // Kept by the system, not yet by the disk: see `resume` for why that is enough.
                    self.journal_or_end();
                    let (outcome, made) = setup::set_up(self, log).await;
                    pod = made.as_ref().map(|made| made.pod.clone());
                    place = made;
                    self.entry.pod_started = Some(Moment::now(&self.context.boot));
                    self.deadline = self.entry.task_limit().map(|limit| Instant::now() + limit);
                    self.entry.progress.end_setup(outcome);
                    log.close();
                    resumed = false;
                }
                Next::Step(index) => {
                    let here = match (place.take(), &pod) {
                        (Some(place), _) => Ok(place),
                        (None, Some(pod)) => setup::enter(&self.entry.task, pod.clone()).await,
                        (None, None) => unreachable!("a step comes after a setup, or with a pod that was found"),
                    };
                    let was_running = resumed && self.is_step_running();
                    resumed = false;
                    let here = match here {
                        Ok(here) => here,
                        Err(failure) => {
                            self.entry.progress.end = Some(AttemptState::Failed(failure));
                            continue;
                        }
                    };
                    if let Err(error) = self.begin_step(index).await {
                        self.entry.progress.end = Some(journal_failure(&error));
                        continue;
                    }
                    board.publish(&self.entry.progress);
                    let history = step::History { was_running, same_boot };
                    let (outcome, log) = step::run(self, index, &here, history).await?;
                    self.entry.progress.end_step(index, &self.entry.task, outcome, log);
                    place = Some(here);
                }
            }
        }
    }

    fn is_step_running(&self) -> bool {
        self.entry.progress.steps.iter().any(|step| step.status == StepStatus::Running)
    }

    /// Journals that step `index` may have been started, with the end of the one before.
    async fn begin_step(&mut self, index: usize) -> io::Result<()> {
        let status = self.entry.progress.steps[index].status;
        self.entry.progress.begin_step(index);
        let mut journaled = self.journal();
        // The first step does not wait for the disk: after a crash of the machine, an attempt whose file says less is
        // never begun again.
        if journaled.is_ok() && index > 0 {
            journaled = self.context.journal.sync(&self.held).await;
        }
        if journaled.is_err() {
            self.entry.progress.steps[index].status = status;
        }
        journaled
    }

    fn journal_or_end(&mut self) {
        if let Err(error) = self.journal() {
            self.entry.progress.end.get_or_insert(journal_failure(&error));
        }
    }

    /// An attempt that ended between two reports leaves no step running, and no log open.
    async fn settle_what_was_running(&mut self, board: &Board) -> Result<(), Abandoned> {
        let (status, why) = match &self.entry.progress.end {
            Some(AttemptState::Stopped) => (StepStatus::Stopped, "the task was stopped".to_owned()),
            Some(AttemptState::Failed(failure)) => (StepStatus::Failed, failure.message.clone()),
            // Every step has succeeded.
            _ => {
                board.publish(&self.entry.progress);
                return Ok(());
            }
        };
        let Entry { progress, .. } = &mut self.entry;
        if progress.setup.status == StepStatus::Running {
            progress.setup.status = status;
        }
        for (number, step) in (0..).zip(&mut progress.steps) {
            if step.status == StepStatus::Running {
                step.status = status;
                step.log = Some(break_off(&self.context, &self.held, StepRef::Step(number), &why).await?);
            }
        }
        board.publish(progress);
        Ok(())
    }
}
