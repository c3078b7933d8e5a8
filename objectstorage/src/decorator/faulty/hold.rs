//! How does a test stop a call in the middle? It holds it, and lets it go when it has seen enough.

use std::{fmt, sync::Arc};

use tokio::sync::watch;

/// When a held call waits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Moment {
    /// Before its effect.
    Before,
    /// After its effect, before the caller hears of it.
    After,
}

/// Where calls wait.
pub(super) struct Hold {
    is_open: watch::Sender<bool>,
    arrived: watch::Sender<usize>,
}

impl Hold {
    pub(super) fn closed() -> Arc<Self> {
        Arc::new(Self { is_open: watch::Sender::new(false), arrived: watch::Sender::new(0) })
    }

    pub(super) fn is_open(&self) -> bool {
        *self.is_open.borrow()
    }

    /// Arrives, and waits until it is open.
    pub(super) async fn pass(&self) {
        self.arrived.send_modify(|arrived| *arrived += 1);
        let is_open = &mut self.is_open.subscribe();
        is_open.wait_for(|is_open| *is_open).await.expect("the sender is held by `self`");
    }
}

/// Holds calls of one kind until it is dropped.
#[must_use = "dropping it lets the calls go on"]
pub struct HoldGuard(Arc<Hold>);

impl HoldGuard {
    pub(super) fn of(hold: Arc<Hold>) -> Self {
        Self(hold)
    }

    /// Waits until `count` calls have come to wait here, since the hold began.
    pub async fn arrived(&self, count: usize) {
        let arrived = &mut self.0.arrived.subscribe();
        arrived.wait_for(|arrived| *arrived >= count).await.expect("the sender is held by `self`");
    }
}

impl Drop for HoldGuard {
    fn drop(&mut self) {
        self.0.is_open.send_replace(true);
    }
}

impl fmt::Debug for HoldGuard {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "HoldGuard({} arrived)", *self.0.arrived.borrow())
    }
}
