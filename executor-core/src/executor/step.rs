//! How is one step executed?

use std::time::Duration;

use futures::future::{FutureExt as _, OptionFuture};
use tokio::time::Instant;

use super::{
    archives,
    attempt::{Abandoned, Attempt, broken, silence},
    environment,
    progress::{Outcome, step_title},
    pump::{PumpError, Pumped, Source, pump},
    setup::Place,
    signals::StopReason,
    task_log::TaskLog,
};
use crate::{
    contract::{ClientError, FailureClass, LogEnd, RunStep, Step, StepRef},
    driver::{DriverError, SetupLog as _, StepEnd, StepSpec},
};

/// What may have happened to a step before this process.
#[derive(Clone, Copy, Debug)]
pub(super) struct History {
    /// The journal says that it may have been started.
    pub(super) was_running: bool,
    /// Whether the machine is in the boot in which that was written.
    pub(super) same_boot: bool,
}

/// Why a step is made to end.
#[derive(Clone, Copy, Debug)]
enum Ending {
    Stop(StopReason),
    Timeout(Duration),
}

/// Executes a step, with its log. The log's end is missing only where the log could not be completed.
pub(super) async fn run(
    attempt: &Attempt,
    index: usize,
    place: &Place,
    history: History,
) -> Result<(Outcome, Option<LogEnd>), Abandoned> {
    let deadline = Deadline::of(attempt, index);
    match &attempt.entry.task.steps.0[index] {
        Step::Run(step) => command(attempt, index, step, place, history, deadline).await,
        _ => archive(attempt, index, place, history, deadline).await,
    }
}

/// When a step has to be over, and by which limit.
#[derive(Clone, Copy, Debug)]
struct Deadline(Option<(Instant, Duration)>);

impl Deadline {
    /// The earlier one of the step's and the task's. The step's begins with the step, the task's with the pod.
    fn of(attempt: &Attempt, index: usize) -> Self {
        let own = match &attempt.entry.task.steps.0[index] {
            Step::Run(step) => step.timeout,
            _ => None,
        };
        let own = own.filter(|limit| !limit.is_zero()).map(|limit| (Instant::now() + limit, limit));
        let task = attempt.deadline.zip(attempt.entry.task_limit());
        Self(own.into_iter().chain(task).min())
    }

    async fn reached(self) -> Duration {
        match self.0 {
            None => std::future::pending().await,
            Some((at, limit)) => {
                tokio::time::sleep_until(at).await;
                limit
            }
        }
    }
}

async fn ending(attempt: &Attempt, deadline: Deadline) -> Ending {
    tokio::select! {
        reason = attempt.signals.stopped() => Ending::Stop(reason),
        limit = deadline.reached() => Ending::Timeout(limit),
    }
}

async fn command(
    attempt: &Attempt,
    index: usize,
    step: &RunStep,
    place: &Place,
    history: History,
    deadline: Deadline,
) -> Result<(Outcome, Option<LogEnd>), Abandoned> {
    let number = u32::try_from(index).expect("a task has far fewer steps");
    if let Err(outcome) = start(attempt, number, step, place, history).await {
        return Ok((outcome, None));
    }
    let source = Source::Pod { pod: &*place.pod, step: number };
    let pumping = pump(&attempt.context, &attempt.held, StepRef::Step(number), source, history.was_running);
    let mut pumping = std::pin::pin!(pumping);
    let mut ending_now = std::pin::pin!(ending(attempt, deadline));
    let mut ended_by = None;
    let mut stopping = OptionFuture::from(None);
    let pumped = loop {
        tokio::select! {
            pumped = &mut pumping => break pumped,
            why = &mut ending_now, if ended_by.is_none() => {
                ended_by = Some(why);
                stopping = Some(place.pod.stop(attempt.context.settings.stop_grace).fuse()).into();
            }
            Some(stopped) = &mut stopping => {
                if let Err(error) = stopped {
                    // The attempt does not end before its pod has: `finish` insists.
                    tracing::error!(pod = %place.pod.id(), error = error.user_message(), "stopping a pod failed");
                }
            }
        }
    };
    match pumped {
        Ok(Pumped { end, log }) => Ok((outcome(attempt, index, ended_by, end), Some(log))),
        Err(error) => Ok((pump_failure(error)?, None)),
    }
}

/// Starts a step unless it was started before.
async fn start(attempt: &Attempt, number: u32, step: &RunStep, place: &Place, history: History) -> Result<(), Outcome> {
    if history.was_running {
        match place.pod.attach(number, 0).await {
            Err(DriverError::NotStarted { .. }) if history.same_boot => {}
            Err(DriverError::NotStarted { .. }) => {
                let message = "the machine was restarted while the step was about to start";
                return Err(broken(FailureClass::Lost, message));
            }
            Err(error) => return Err(broken(error.class(), error.user_message())),
            Ok(_) => return Ok(()),
        }
    }
    let task = &attempt.entry.task;
    let spec = StepSpec {
        step: number,
        command: step.command.clone(),
        shell: environment::shell(task, step),
        environment: environment::environment(task, Some(step)),
        working_dir: environment::directory(&place.working_dir, step.working_dir.as_deref()),
        user: environment::user(task, Some(step)),
        tty: step.tty,
        secrets: environment::secrets(task),
    };
    match place.pod.start_step(spec).await {
        Ok(()) => Ok(()),
        Err(error) => Err(broken(error.class(), error.user_message())),
    }
}

fn outcome(attempt: &Attempt, index: usize, ended_by: Option<Ending>, end: StepEnd) -> Outcome {
    let title = || step_title(&attempt.entry.task, index);
    match (ended_by, end) {
        (Some(Ending::Stop(StopReason::Requested)), _) => Outcome::Stopped,
        (Some(Ending::Stop(StopReason::Silence)), _) => Outcome::Failed(silence()),
        (Some(Ending::Timeout(limit)), _) => broken(FailureClass::Timeout, timeout_message(&title(), limit)),
        (None, StepEnd::Exited { code: 0 }) => Outcome::Success,
        (None, StepEnd::Exited { code }) => Outcome::Exit { code },
        (None, StepEnd::OutOfMemory { code }) => {
            let message = format!(
                "the command of {} was killed (exit status {code}): its container had no memory left; give it more, or let \
                 the command use less",
                title()
            );
            broken(FailureClass::Exit, message)
        }
        (None, StepEnd::NotStarted { message }) => {
            broken(FailureClass::Setup, format!("the command of {} could not be started: {message}", title()))
        }
        (None, StepEnd::Lost { message }) => broken(FailureClass::Lost, format!("{} was lost: {message}", title())),
    }
}

fn timeout_message(title: &str, limit: Duration) -> String {
    format!("{title} was stopped: the limit of {limit:?} was reached")
}

/// A log that cannot be completed fails the step, unless nobody expects it any more.
fn pump_failure(error: PumpError) -> Result<Outcome, Abandoned> {
    match error {
        PumpError::Client(error @ (ClientError::Fenced { .. } | ClientError::Replaced { .. })) => Err(error.into()),
        PumpError::Client(error) => {
            let text = crate::driver::chain(&error);
            Ok(broken(FailureClass::Infrastructure, format!("the log of the step could not be stored: {text}")))
        }
        PumpError::Driver(error) => Ok(broken(error.class(), error.user_message())),
    }
}

/// A step that the toolbox does. It may be done again after a restart, as it starts nothing of the user's.
async fn archive(
    attempt: &Attempt,
    index: usize,
    place: &Place,
    history: History,
    deadline: Deadline,
) -> Result<(Outcome, Option<LogEnd>), Abandoned> {
    let number = u32::try_from(index).expect("a task has far fewer steps");
    let (dir, masker) = (attempt.context.logs(&attempt.held), environment::masker(&attempt.entry.task));
    let log = match TaskLog::open(&dir, &number.to_string(), masker) {
        Ok(log) => log,
        Err(error) => {
            let message = format!("the executor cannot write a log: {error}");
            return Ok((broken(FailureClass::Infrastructure, message), None));
        }
    };
    if history.was_running {
        log.line("the executor was restarted; doing this step again");
    }
    let work = async {
        let outcome = tokio::select! {
            done = archives::run(attempt, number, place, &log) => match done {
                Ok(()) => Ok(Outcome::Success),
                Err(archives::ArchiveError::Client(error @ (ClientError::Fenced { .. } | ClientError::Replaced { .. }))) => {
                    Err(Abandoned::from(error))
                }
                Err(error) => Ok(broken(error.class(), format!("{}: {error}", step_title(&attempt.entry.task, index)))),
            },
            why = ending(attempt, deadline) => {
                Ok(outcome(attempt, index, Some(why), StepEnd::Exited { code: 0 }))
            }
        };
        if let Ok(Outcome::Failed(failure)) = &outcome {
            log.line(&failure.message);
        }
        log.close();
        outcome
    };
    let step = StepRef::Step(number);
    let pumping = pump(&attempt.context, &attempt.held, step, Source::Log(&log), history.was_running);
    let (outcome, pumped) = futures::future::join(work, pumping).await;
    let outcome = outcome?;
    match pumped {
        Ok(pumped) => Ok((outcome, Some(pumped.log))),
        Err(error) => Ok((pump_failure(error)?, None)),
    }
}
