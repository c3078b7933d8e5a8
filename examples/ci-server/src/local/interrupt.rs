//! When does the user want it to end? The first signal asks, the second does not.

use std::io;

use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio_util::{sync::CancellationToken, task::AbortOnDropHandle};

/// What signals ask for.
#[derive(Clone, Debug, Default)]
pub(super) struct Interrupts {
    /// Stop the runs, and tell how they ended.
    pub(super) stop: CancellationToken,
    /// End everything at once.
    pub(super) kill: CancellationToken,
}

impl Interrupts {
    /// Listens for SIGINT, SIGTERM and SIGHUP until the returned handle is dropped.
    pub(super) fn listen() -> io::Result<(Self, AbortOnDropHandle<()>)> {
        let [interrupt, terminate, hangup] = [SignalKind::interrupt(), SignalKind::terminate(), SignalKind::hangup()];
        let signals = [signal(interrupt)?, signal(terminate)?, signal(hangup)?];
        let interrupts = Self::default();
        let counting = tokio::spawn(interrupts.clone().count(signals));
        Ok((interrupts, AbortOnDropHandle::new(counting)))
    }

    async fn count(self, [mut interrupt, mut terminate, mut hangup]: [Signal; 3]) {
        for token in [self.stop, self.kill] {
            tokio::select! {
                _ = interrupt.recv() => {}
                _ = terminate.recv() => {}
                _ = hangup.recv() => {}
            }
            token.cancel();
        }
    }
}
