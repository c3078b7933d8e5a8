//! Who waits for what becomes visible?
//!
//! They are woken in the order in which they began to wait. A `tokio::sync::watch` would do but for that: it draws the
//! order, and then a simulation does not happen the same way twice.

use std::sync::{Mutex, MutexGuard};

use tokio::sync::Notify;

use crate::Position;

/// The last visible position, for those who wait for the next one.
#[derive(Debug)]
pub(super) struct Visible {
    position: Mutex<Position>,
    grew: Notify,
}

impl Visible {
    pub(super) fn new(position: Position) -> Self {
        Self { position: Mutex::new(position), grew: Notify::new() }
    }

    /// Says that everything up to a position is visible; nothing if that was said before.
    pub(super) fn grow(&self, position: Position) {
        let mut visible = self.lock();
        if position > *visible {
            *visible = position;
            drop(visible);
            self.grew.notify_waiters();
        }
    }

    /// Waits until something after a position is visible.
    ///
    /// # Cancel safety
    /// Dropping the future loses nothing.
    pub(super) async fn beyond(&self, seen: Position) {
        loop {
            // Made before the look, so that what comes in between wakes it.
            let grew = self.grew.notified();
            if *self.lock() > seen {
                return;
            }
            grew.await;
        }
    }

    fn lock(&self) -> MutexGuard<'_, Position> {
        self.position.lock().expect("the lock is never poisoned: no panic while held")
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;

    fn at(lsn: u64) -> Position {
        Position { lsn, index: 0 }
    }

    #[tokio::test]
    async fn those_who_wait_are_woken_in_the_order_in_which_they_began() {
        let visible = Arc::new(Visible::new(at(1)));
        let (woken, mut order) = tokio::sync::mpsc::unbounded_channel();
        for waiter in 0..40 {
            let (visible, woken) = (Arc::clone(&visible), woken.clone());
            tokio::spawn(async move {
                visible.beyond(at(1)).await;
                woken.send(waiter).expect("somebody listens");
            });
        }
        tokio::task::yield_now().await;
        visible.grow(at(1));
        assert!(order.try_recv().is_err(), "nothing became visible");
        visible.grow(at(2));
        for waiter in 0..40 {
            assert_eq!(order.recv().await, Some(waiter));
        }
        visible.beyond(at(1)).await;
    }
}
