//! How much may a program take? Said to the system by the process that evaluates it, before it reads anything.

use std::{io, time::Duration};

use rustix::process::{Resource, Rlimit, setrlimit};

/// Of a processor.
pub(super) const CPU: Duration = Duration::from_secs(5);

/// From the start of the process to its end, however busy the machine is.
pub(super) const WALL_CLOCK: Duration = Duration::from_secs(20);

/// All that the process has in its address space, its program included.
pub(super) const MEMORY_BYTES: u64 = 1 << 30;

/// What the program comes to, as JSON.
pub(super) const OUTPUT_BYTES: u64 = 1 << 20;

/// Limits this process for good.
pub(super) fn limit_this_process() -> io::Result<()> {
    let seconds = CPU.as_secs();
    // The soft limit sends a signal that nobody catches; the hard one is for the case that somebody does.
    for (resource, current, maximum) in [
        (Resource::Cpu, seconds, seconds + 1),
        (Resource::As, MEMORY_BYTES, MEMORY_BYTES),
        (Resource::Core, 0, 0),
        (Resource::Fsize, 0, 0),
    ] {
        setrlimit(resource, Rlimit { current: Some(current), maximum: Some(maximum) })?;
    }
    Ok(())
}
