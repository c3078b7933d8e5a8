//! What time is it for a process?
//!
//! Clocks do not run alike: some are nearly twice as fast as others, which the protocol must bear.

use std::time::Duration;

use runyard_datamanager::Uptime;
use tokio::time::Instant;

/// How fast clocks run, in thousandths. A cleaner waits for twice as long as a look at the floor is trusted.
const RATES: [u32; 3] = [1_000, 1_000, 1_900];

/// The clock of a process.
#[derive(Debug)]
pub(crate) struct Clock {
    began: Instant,
    /// Thousandths of the time that passes.
    rate: u32,
}

impl Clock {
    /// One of the clocks that there are.
    pub(crate) fn new(which: u64) -> Self {
        Self { began: Instant::now(), rate: RATES[which as usize % RATES.len()] }
    }
}

impl Uptime for Clock {
    fn now(&self) -> Duration {
        self.began.elapsed() * self.rate / 1_000
    }
}
