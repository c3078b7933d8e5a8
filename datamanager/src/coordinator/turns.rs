//! Whose turn is it, of those in this process who want to lead the same role?

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard},
};

use tokio::sync::OwnedMutexGuard;

/// One queue for each role.
#[derive(Debug, Default)]
pub(super) struct Turns {
    queues: Mutex<HashMap<String, Arc<tokio::sync::Mutex<()>>>>,
}

/// That it is one's turn, until it is dropped.
pub(super) type Turn = OwnedMutexGuard<()>;

impl Turns {
    /// Waits for one's turn, first come first served.
    pub(super) async fn take(&self, role: &str) -> Turn {
        let queue = self.queue(role);
        queue.lock_owned().await
    }

    fn queue(&self, role: &str) -> Arc<tokio::sync::Mutex<()>> {
        let mut queues = self.queues();
        // Those that nobody holds or waits for.
        queues.retain(|_, queue| Arc::strong_count(queue) > 1);
        Arc::clone(queues.entry(role.to_owned()).or_default())
    }

    fn queues(&self) -> MutexGuard<'_, HashMap<String, Arc<tokio::sync::Mutex<()>>>> {
        self.queues.lock().expect("no panic happens while the queues are locked")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn queues_of_roles_that_nobody_wants_any_more_are_forgotten() {
        let turns = Turns::default();
        let held = turns.take("a").await;
        for role in 0..100 {
            turns.take(&role.to_string()).await;
        }
        assert_eq!(turns.queues().len(), 2, "the one that is held, and the last one");
        drop(held);
    }
}
