//! How much time has passed, the time that the machine was suspended included?
//!
//! The only clock of this crate. It decides two things and nothing else: whether a read of the floor may be skipped,
//! and whether a cleaner has waited. The time of day is never asked for, so that nobody can set it back.

use std::{fmt, time::Duration};

/// A clock that counts from any moment on, never goes back, and goes on while the machine is suspended.
pub trait Uptime: Send + Sync + fmt::Debug + 'static {
    /// The time since the moment that the clock counts from.
    fn now(&self) -> Duration;
}

/// The clock of the operating system.
#[derive(Clone, Copy, Debug, Default)]
pub struct SystemUptime;

/// Elsewhere the monotonic clock counts suspension itself, as on macOS, or there is none that does.
#[cfg(any(target_os = "linux", target_os = "android"))]
const CLOCK: rustix::time::ClockId = rustix::time::ClockId::Boottime;
#[cfg(not(any(target_os = "linux", target_os = "android")))]
const CLOCK: rustix::time::ClockId = rustix::time::ClockId::Monotonic;

impl Uptime for SystemUptime {
    fn now(&self) -> Duration {
        let now = rustix::time::clock_gettime(CLOCK);
        // Both count from the start of the machine, and are never negative.
        Duration::new(now.tv_sec.unsigned_abs(), now.tv_nsec.unsigned_abs() as u32)
    }
}

/// A clock that goes with that of Tokio, paused or not, and jumps when told to. For tests.
#[cfg(feature = "test-util")]
#[derive(Debug)]
pub struct VirtualUptime {
    began: tokio::time::Instant,
    jumped: std::sync::Mutex<Duration>,
}

#[cfg(feature = "test-util")]
impl VirtualUptime {
    /// A clock that begins now.
    #[expect(clippy::new_without_default, reason = "it reads the clock")]
    pub fn new() -> Self {
        Self { began: tokio::time::Instant::now(), jumped: std::sync::Mutex::default() }
    }

    /// Lets time pass for this clock alone, as a suspension does that stops everything else.
    pub fn jump(&self, by: Duration) {
        *self.jumped.lock().expect("the lock is never poisoned: no panic while held") += by;
    }
}

#[cfg(feature = "test-util")]
impl Uptime for VirtualUptime {
    fn now(&self) -> Duration {
        self.began.elapsed() + *self.jumped.lock().expect("the lock is never poisoned: no panic while held")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_clock_of_the_system_never_goes_back() {
        let readings: Vec<_> = (0..1_000).map(|_| SystemUptime.now()).collect();
        assert!(readings.is_sorted() && readings[0] > Duration::ZERO);
    }
}
