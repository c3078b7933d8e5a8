//! How is a supervisor asked to end its step, and when has it?

use std::io::{self, Write as _};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::inotify;
use rustix::io::Errno;
use rustix::process::{Pid, PidfdFlags, pidfd_open};

use super::{StepDir, clock};
use crate::protocol::{ClientFrame, Frame as _};

/// How much longer than the grace period a supervisor may take.
const SUPERVISOR_EXTRA: Duration = Duration::from_millis(500);

/// Asks all of them, and returns when each has recorded the end of its step, or is gone, or has had its time.
pub(super) fn stop(dirs: &[StepDir], grace: Duration) {
    let start = clock::now();
    // A grace beyond what the clock can hold is no deadline that anybody lives to see; a day is.
    let deadline = start.checked_add(grace + SUPERVISOR_EXTRA).unwrap_or(start + Duration::from_secs(86_400));
    // The connections are kept: a supervisor may leave once nobody is connected, but need not hear of it earlier.
    let asked: Vec<_> = dirs.iter().filter_map(|dir| Some((dir, ask(dir, grace).ok()?))).collect();
    for (dir, _connection) in &asked {
        // One that cannot be waited for is killed with what it supervises.
        let _ = wait(dir, deadline);
    }
}

fn ask(dir: &StepDir, grace: Duration) -> io::Result<UnixStream> {
    let mut stream = dir.connect()?;
    let grace_ms = u64::try_from(grace.as_millis()).unwrap_or(u64::MAX);
    stream.write_all(&ClientFrame::Stop { grace_ms }.to_bytes())?;
    Ok(stream)
}

/// The supervisor stays for its output to be fetched, so the end of a step is seen by its file.
fn wait(dir: &StepDir, deadline: Instant) -> io::Result<()> {
    let watch = inotify::init(inotify::CreateFlags::NONBLOCK | inotify::CreateFlags::CLOEXEC)?;
    inotify::add_watch(&watch, dir.path(), inotify::WatchFlags::MOVED_TO)?;
    let Some(supervisor) = supervisor(dir)? else { return Ok(()) };
    while dir.exit()?.is_none() {
        let left = deadline.saturating_duration_since(clock::now());
        if left.is_zero() {
            return Ok(());
        }
        let left =
            Timespec { tv_sec: i64::try_from(left.as_secs()).unwrap_or(i64::MAX), tv_nsec: left.subsec_nanos().into() };
        let mut fds = [PollFd::new(&watch, PollFlags::IN), PollFd::new(&supervisor, PollFlags::IN)];
        match poll(&mut fds, Some(&left)) {
            Ok(_) | Err(Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
        if !fds[1].revents().is_empty() {
            return Ok(());
        }
        // What the events say does not matter, only that they are taken.
        while rustix::io::read(&watch, &mut [0; 4096]).is_ok_and(|count| count > 0) {}
    }
    Ok(())
}

/// Readable when the supervisor has ended; `None` if it has.
fn supervisor(dir: &StepDir) -> io::Result<Option<OwnedFd>> {
    let Some(pid) = dir.pids()?.and_then(|pids| Pid::from_raw(pids.supervisor.pid)) else { return Ok(None) };
    let process = match pidfd_open(pid, PidfdFlags::empty()) {
        Ok(process) => process,
        Err(Errno::SRCH) => return Ok(None),
        Err(error) => return Err(error.into()),
    };
    // Only now is its pid nobody else's.
    Ok(dir.is_supervisor_alive()?.then_some(process))
}
