//! How long does one wait before trying again?

use std::time::Duration;

use super::random::Random;

/// Doubling waits with jitter, so that many executors do not come back in step.
pub(crate) struct Backoff {
    next: Duration,
    max: Duration,
}

impl Backoff {
    /// Begins with `first` and goes up to `max`.
    pub(crate) fn new(first: Duration, max: Duration) -> Self {
        Self { next: first, max }
    }

    /// The next wait: between half and the whole of a time that doubles.
    pub(crate) fn step(&mut self, random: &Random) -> Duration {
        let whole = self.next;
        self.next = (whole * 2).min(self.max);
        whole.mul_f64(0.5 + random.fraction() / 2.0)
    }

    /// Waits.
    pub(crate) async fn wait(&mut self, random: &Random) {
        tokio::time::sleep(self.step(random)).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_double_up_to_the_limit() {
        let random = Random::seeded(1);
        let mut backoff = Backoff::new(Duration::from_millis(100), Duration::from_millis(400));
        for whole in [100, 200, 400, 400].map(Duration::from_millis) {
            let wait = backoff.step(&random);
            assert!(wait >= whole / 2 && wait <= whole, "{wait:?} of {whole:?}");
        }
    }
}
