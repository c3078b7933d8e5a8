//! How much time has passed, also across a restart of the executor's process?
//!
//! Timeouts count from the start of a pod, which may be older than this process; tokio's clock begins with the
//! process. What is journaled is therefore a reading of the machine's clock since boot, with the boot it belongs to:
//! no wall clock, no comparison of two machines.

use std::time::Duration;

use serde::{Deserialize, Serialize};

/// A moment on this machine.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Moment {
    boot: String,
    since_boot: Duration,
}

impl Moment {
    /// This moment.
    pub(super) fn now(boot: &str) -> Self {
        Self { boot: boot.to_owned(), since_boot: since_boot() }
    }

    /// The time that has passed since then; none after a reboot, because it cannot be known.
    pub(super) fn elapsed(&self, boot: &str) -> Option<Duration> {
        (self.boot == boot).then(|| since_boot().saturating_sub(self.since_boot))
    }
}

fn since_boot() -> Duration {
    let now = rustix::time::clock_gettime(rustix::time::ClockId::Boottime);
    // The clock since boot is never negative.
    Duration::new(u64::try_from(now.tv_sec).unwrap_or_default(), u32::try_from(now.tv_nsec).unwrap_or_default())
}

/// The id of the machine's current boot.
pub(super) fn boot_id() -> std::io::Result<String> {
    Ok(std::fs::read_to_string("/proc/sys/kernel/random/boot_id")?.trim().to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_moment_of_another_boot_tells_nothing() {
        let moment = Moment::now("this");
        assert!(moment.elapsed("this").is_some());
        assert_eq!(moment.elapsed("another"), None);
    }
}
