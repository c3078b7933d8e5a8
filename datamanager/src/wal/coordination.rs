//! When does a process look for what others have committed, and does it lead the checkpoints?
//!
//! As its coordinator says, which only gives hints: whoever looks in vain has lost a read, whoever looks late is told by
//! its next commit, and of two that make checkpoints the manifest knows the first.

use std::{sync::Arc, time::Duration};

use tokio::{sync::watch, time::sleep};

use crate::{
    broken::{self, Broken},
    coordinator::{Announced, Coordinator},
    store::Store,
    wal::queue::Queue,
};

/// The role of the process that makes checkpoints, and cleans after them.
const CHECKPOINTS: &str = "checkpoints";

/// How long a process goes without looking that hears of nothing, because its coordinator is cut off or the storage does
/// not answer: no event comes in either case, so it takes an interval.
const LOOKS_EVERY: Duration = Duration::from_secs(1);

/// Whether something may be in the log that is not visible here; `before` is what was known at the last look.
fn is_news(before: Option<Announced>, now: Announced, visible_lsn: u64) -> bool {
    let is_longer = now.lsn > visible_lsn && !broken::is(Broken::AnnouncementUnheeded);
    is_longer || before.is_none_or(|before| before.gaps != now.gaps && !broken::is(Broken::GapIgnored))
}

/// Makes visible what others commit, when it is announced, until the queue or the coordinator is closed.
pub(super) async fn look_when_told(coordinator: Arc<dyn Coordinator>, queue: Arc<Queue>, store: Arc<Store>) {
    let (mut announced, mut status) = (coordinator.announced(), coordinator.status());
    // Nobody announces again what was committed while this process opened the store.
    let mut before = None;
    let mut is_overdue = false;
    loop {
        let now = *announced.borrow_and_update();
        let mut is_behind = false;
        if is_overdue || is_news(before, now, store.tip().lsn) {
            let Ok(caught_up) = queue.catch_up() else { return };
            is_behind = !matches!(caught_up.await, Ok(Ok(())));
        }
        before = (!is_behind).then_some(now);
        let hears_nothing = is_behind || !status.borrow_and_update().is_connected();
        is_overdue = tokio::select! {
            // In an order, so that a simulation can be repeated.
            biased;
            changed = announced.changed() => match changed {
                Ok(()) => false,
                Err(_) => return,
            },
            changed = status.changed() => match changed {
                Ok(()) => false,
                Err(_) => return,
            },
            () = sleep(LOOKS_EVERY), if hears_nothing => true,
        };
    }
}

/// Says for as long as the coordinator goes on whether this process should make checkpoints.
pub(super) async fn lead_checkpoints(coordinator: Arc<dyn Coordinator>, leads: watch::Sender<bool>) {
    while let Ok(candidacy) = coordinator.campaign(CHECKPOINTS).await {
        leads.send_replace(true);
        let reason = candidacy.lost().await;
        leads.send_replace(false);
        tracing::info!(%reason, "this process no longer leads the checkpoints");
        if broken::is(Broken::CampaignsOnce) {
            return;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_looks_for_numbers_beyond_what_is_visible_after_gaps_and_at_first() {
        let heard = |lsn, gaps| Announced { lsn, gaps };
        assert!(is_news(None, heard(0, 0), 7));
        assert!(is_news(Some(heard(7, 2)), heard(8, 2), 7));
        assert!(!is_news(Some(heard(7, 2)), heard(8, 2), 8));
        assert!(is_news(Some(heard(7, 2)), heard(7, 3), 7));
        // What was not got at the last look is news until it is.
        assert!(is_news(Some(heard(8, 2)), heard(8, 2), 7));
    }
}
