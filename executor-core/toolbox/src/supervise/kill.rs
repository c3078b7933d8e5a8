//! How do processes go away for good, without a signal for a stranger who got a dead one's pid?
//!
//! Every process is pinned by a pidfd before its start time is compared, and its end is waited for on the same
//! descriptor. What it forked meanwhile is found by looking again, until nothing is left.

use std::collections::BTreeSet;
use std::io;
use std::os::fd::OwnedFd;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};

use super::ProcessId;
use super::processes::{self, Process};

/// A process that is stuck in the kernel is not waited for longer than this.
const DEATH_MAX: Timespec = Timespec { tv_sec: 10, tv_nsec: 0 };

/// Descriptors that are held at once, well below the usual limit of 1024.
const PINNED_MAX: usize = 256;

/// Kills what `find` finds until it finds nothing new, and returns those that could not be killed: another user's
/// processes, or stuck in the kernel. Never kills the caller.
pub(crate) fn kill_until_gone(mut find: impl FnMut() -> io::Result<Vec<Process>>) -> io::Result<Vec<ProcessId>> {
    let own = std::process::id().cast_signed();
    let mut refused = BTreeSet::new();
    loop {
        let mut found = find()?;
        found.retain(|process| !process.zombie && process.id.pid != own && !refused.contains(&process.id));
        if found.is_empty() {
            return Ok(refused.into_iter().collect());
        }
        for batch in found.chunks(PINNED_MAX) {
            let mut dying = Vec::new();
            for process in batch {
                match kill(process.id, Signal::KILL) {
                    Ok(Some(pinned)) => dying.push((process.id, pinned)),
                    Ok(None) => {}
                    Err(Errno::PERM) => {
                        refused.insert(process.id);
                    }
                    Err(error) => return Err(error.into()),
                }
            }
            for (id, pinned) in dying {
                if !ended(&pinned)? {
                    refused.insert(id);
                }
            }
        }
    }
}

/// Sends `signal` to exactly this process. `None` if it is already gone.
pub(crate) fn kill(id: ProcessId, signal: Signal) -> Result<Option<OwnedFd>, Errno> {
    let Some(pid) = Pid::from_raw(id.pid) else { return Ok(None) };
    let pinned = match pidfd_open(pid, PidfdFlags::empty()) {
        Ok(pinned) => pinned,
        Err(Errno::SRCH) => return Ok(None),
        Err(error) => return Err(error),
    };
    if processes::find(id.pid).is_none_or(|process| process.id != id) {
        return Ok(None);
    }
    match pidfd_send_signal(&pinned, signal) {
        Ok(()) => Ok(Some(pinned)),
        Err(Errno::SRCH) => Ok(None),
        Err(error) => Err(error),
    }
}

fn ended(pinned: &OwnedFd) -> io::Result<bool> {
    let mut fds = [PollFd::new(pinned, PollFlags::IN)];
    loop {
        match poll(&mut fds, Some(&DEATH_MAX)) {
            Ok(ready) => return Ok(ready > 0),
            Err(Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
    }
}

/// Kills all processes whose environment has the variable `name` with `value`, and everything below them, until none
/// is left: the way to empty a pod that is a mark in the environment. Returns those that could not be killed.
///
/// Blocks until they have ended. A process that was started with another environment is found only as a descendant
/// of a marked one.
///
/// # Errors
/// If `/proc` cannot be read, or the kernel has no pidfd (Linux before 5.3).
pub fn kill_marked(name: &str, value: &str) -> io::Result<Vec<ProcessId>> {
    let mark = format!("{name}={value}").into_bytes();
    kill_until_gone(|| {
        let all = processes::all()?;
        let roots: BTreeSet<i32> =
            all.iter().filter(|process| is_marked(process.id.pid, &mark)).map(|process| process.id.pid).collect();
        let mut found = processes::descendants(&all, &roots);
        found.extend(all.iter().filter(|process| roots.contains(&process.id.pid)));
        Ok(found)
    })
}

// The environment of another user's process cannot be read: then it is not ours to kill either.
fn is_marked(pid: i32, mark: &[u8]) -> bool {
    std::fs::read(format!("/proc/{pid}/environ"))
        .is_ok_and(|environment| environment.split(|&byte| byte == 0).any(|variable| variable == mark))
}
