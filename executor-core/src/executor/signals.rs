//! How is a running attempt told to end?

use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

/// Why an attempt is to stop.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum StopReason {
    /// The run service asks for it.
    Requested,
    /// The run service was silent for so long that it may give the task up.
    Silence,
}

/// What an attempt listens to.
#[derive(Clone, Debug)]
pub(super) struct Signals {
    stop: watch::Sender<Option<StopReason>>,
    /// Nobody expects anything of the attempt any more.
    pub(super) forget: CancellationToken,
}

impl Signals {
    pub(super) fn new() -> Self {
        Self { stop: watch::Sender::new(None), forget: CancellationToken::new() }
    }

    /// Asks the attempt to stop and to report how it ended; the first reason counts.
    pub(super) fn stop(&self, reason: StopReason) {
        self.stop.send_modify(|stop| {
            stop.get_or_insert(reason);
        });
    }

    /// The reason to stop, if there is one already.
    pub(super) fn stop_reason(&self) -> Option<StopReason> {
        *self.stop.borrow()
    }

    /// Waits for a reason to stop.
    pub(super) async fn stopped(&self) -> StopReason {
        let mut stop = self.stop.subscribe();
        let reason = stop.wait_for(Option::is_some).await.expect("self owns the sender");
        reason.expect("it was waited for")
    }
}
