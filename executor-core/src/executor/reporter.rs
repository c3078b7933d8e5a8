//! How does the run service learn where an attempt is?
//!
//! Work never waits for a report: it changes a board, and one report at a time carries the newest state of the board.

use tokio::sync::watch;

use super::{context::Context, progress::Progress};
use crate::contract::{AttemptState, ClientError, HeldTask, LogEnd, StepReport, TaskReport};

/// What the next report says.
#[derive(Clone, Debug, PartialEq)]
struct Face {
    state: AttemptState,
    setup: StepReport,
    steps: Vec<StepReport>,
    /// Whether there is anything to say: that an attempt runs is known from its acceptance.
    news: bool,
}

/// The newest state of an attempt.
#[derive(Debug)]
pub(super) struct Board(watch::Sender<Face>);

impl Board {
    pub(super) fn new(progress: &Progress) -> Self {
        let Progress { setup, steps, .. } = progress.clone();
        Self(watch::Sender::new(Face { state: AttemptState::Running, setup, steps, news: false }))
    }

    /// The attempt has come so far.
    pub(super) fn publish(&self, progress: &Progress) {
        self.0.send_modify(|face| {
            let log = face.setup.log.take().or(progress.setup.log.clone());
            face.setup = StepReport { log, ..progress.setup.clone() };
            face.steps.clone_from(&progress.steps);
            face.news = true;
        });
    }

    /// The log of the setup is complete.
    pub(super) fn seal_setup_log(&self, log: LogEnd) {
        self.0.send_modify(|face| {
            face.setup.log = Some(log);
            face.news = true;
        });
    }

    /// The attempt has ended, and nothing of it is executing.
    pub(super) fn finish(&self, state: AttemptState) {
        self.0.send_modify(|face| {
            face.state = state;
            face.news = true;
        });
    }
}

/// Sends what is on the board until the final state is acknowledged.
///
/// # Errors
/// Whatever the run service refuses a report with.
pub(super) async fn send_reports(
    context: &Context,
    held: &HeldTask,
    generation: u32,
    board: &Board,
) -> Result<(), ClientError> {
    let mut faces = board.0.subscribe();
    let mut sequence = u64::from(generation) << 32;
    let mut last = None;
    loop {
        let news = faces.wait_for(|face| face.news && last.as_ref() != Some(face)).await;
        let face = news.expect("the board is borrowed").clone();
        sequence += 1;
        let report = |fence| {
            let Face { state, setup, steps, news: _ } = face.clone();
            let report = TaskReport { fence, sequence, state, setup, steps };
            async move { context.client.report(report).await }
        };
        context.call(held, report).await?;
        if face.state.is_final() {
            return Ok(());
        }
        last = Some(face);
    }
}
