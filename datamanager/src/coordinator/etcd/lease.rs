//! Until when does etcd certainly hold the lease for us?

use std::time::Duration;

use tokio::time::Instant;

/// A lease, counted from before the request that granted or prolonged it was sent: so it ends here before it ends in
/// etcd, however long request and answer were on their way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Lease {
    pub(super) id: i64,
    pub(super) ttl: Duration,
    pub(super) until: Instant,
}

impl Lease {
    pub(super) fn granted(id: i64, ttl: Duration, sent: Instant) -> Self {
        Self { id, ttl, until: sent + ttl }
    }

    pub(super) fn is_expired(&self, now: Instant) -> bool {
        now >= self.until
    }

    /// Takes in that a keep-alive that was sent at `sent` was answered; false if that was too late, because those who
    /// were told by it have stopped believing.
    pub(super) fn prolonged(&mut self, ttl: Duration, sent: Instant, now: Instant) -> bool {
        if self.is_expired(now) {
            return false;
        }
        self.ttl = ttl;
        self.until = self.until.max(sent + ttl);
        true
    }

    /// How long after a keep-alive the next one is sent, and how long an answer may take. Two may fail before the lease
    /// is over.
    pub(super) fn keep_alive_interval(&self) -> Duration {
        self.ttl / 3
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn an_answer_counts_from_when_its_question_was_sent_and_not_after_the_end() {
        let second = Duration::from_secs(1);
        let began = Instant::now();
        let mut lease = Lease::granted(7, 3 * second, began);
        assert!(lease.prolonged(3 * second, began + second, began + 2 * second));
        assert_eq!(lease.until, began + 4 * second);
        assert!(lease.prolonged(3 * second, began, began + 2 * second), "an old answer");
        assert_eq!(lease.until, began + 4 * second, "it does not shorten the lease");
        assert!(!lease.is_expired(began + 3 * second) && lease.is_expired(began + 4 * second));
        assert!(!lease.prolonged(3 * second, began + 3 * second, began + 4 * second));
        assert_eq!(lease.until, began + 4 * second);
    }
}
