//! When is the next checkpoint due?

use std::time::Duration;

use tokio::time::Instant;

/// What makes a checkpoint due, whichever is first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Triggers {
    /// How many bytes of the log are not covered.
    pub(crate) log_bytes: u64,
    /// How many batches are not covered.
    pub(crate) batches: u64,
    /// How long the oldest batch has not been covered, so that a small installation has checkpoints too.
    pub(crate) age: Duration,
}

impl Default for Triggers {
    fn default() -> Self {
        Self { log_bytes: 32 << 20, batches: 10_000, age: Duration::from_secs(600) }
    }
}

/// What no checkpoint covers yet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Uncovered {
    pub(crate) log_bytes: u64,
    pub(crate) batches: u64,
    /// When the oldest of it became visible here.
    pub(crate) since: Instant,
}

/// How long the attempts after failed ones wait at least, and at most.
const BACKOFF: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(60));

/// When to make a checkpoint of what is uncovered, if anything is, after so many attempts that failed in a row, the last
/// one at `failed`. It may be in the past: then now.
pub(crate) fn due(
    triggers: &Triggers,
    uncovered: Option<&Uncovered>,
    failures: u32,
    failed: Option<Instant>,
) -> Option<Instant> {
    let uncovered = uncovered?;
    let is_much = uncovered.log_bytes >= triggers.log_bytes || uncovered.batches >= triggers.batches;
    // An age that no clock reaches is never.
    let due = if is_much { uncovered.since } else { uncovered.since.checked_add(triggers.age)? };
    let (least, most) = BACKOFF;
    let again = failed.map(|failed| failed + least.saturating_mul(1 << failures.saturating_sub(1).min(16)).min(most));
    Some(again.map_or(due, |again| due.max(again)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn bytes_batches_and_age_each_make_a_checkpoint_due_and_nothing_else_does() {
        let now = Instant::now();
        let triggers = Triggers { log_bytes: 100, batches: 10, age: Duration::from_secs(60) };
        let due = |uncovered: Option<(u64, u64)>| {
            let uncovered = uncovered.map(|(log_bytes, batches)| Uncovered { log_bytes, batches, since: now });
            due(&triggers, uncovered.as_ref(), 0, None)
        };
        assert_eq!(due(None), None);
        assert_eq!(due(Some((100, 1))), Some(now));
        assert_eq!(due(Some((1, 10))), Some(now));
        assert_eq!(due(Some((99, 9))), Some(now + Duration::from_secs(60)));
        let never = Triggers { age: Duration::MAX, ..triggers };
        let uncovered = Uncovered { log_bytes: 99, batches: 9, since: now };
        assert_eq!(super::due(&never, Some(&uncovered), 0, None), None);
    }

    #[tokio::test(start_paused = true)]
    async fn after_failures_it_waits_longer_each_time_up_to_a_bound() {
        let now = Instant::now();
        let uncovered = Uncovered { log_bytes: u64::MAX, batches: 1, since: now };
        let waits = [1, 2, 3, 7, 8, u32::MAX].map(|failures| {
            due(&Triggers::default(), Some(&uncovered), failures, Some(now)).map(|due| (due - now).as_secs())
        });
        assert_eq!(waits, [1, 2, 4, 60, 60, 60].map(Some));
    }
}
