//! What time is it, says the wall clock of a process? Clocks of two machines do not agree, and nothing may depend on it.

use std::time::{Duration, SystemTime};

use tokio::time::Instant;

/// How much later than others a clock is: also by more than any timeout.
const SKEWS: [Duration; 3] = [Duration::ZERO, Duration::from_secs(2_000), Duration::from_secs(7)];

/// The wall clock of a process.
#[derive(Debug)]
pub(crate) struct Clock {
    began: Instant,
    skew: Duration,
}

impl Clock {
    pub(crate) fn new(began: Instant, process: u64) -> Self {
        Self { began, skew: SKEWS[process as usize % SKEWS.len()] }
    }
}

impl runyard_runservice_core::Clock for Clock {
    fn now(&self) -> SystemTime {
        SystemTime::UNIX_EPOCH + Duration::from_secs(1_000_000) + self.began.elapsed() + self.skew
    }
}
