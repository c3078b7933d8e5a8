//! When does the command end, and when is nothing left below it?
//!
//! As the subreaper of its step the supervisor is the parent of every orphan, so the tree is gone exactly when it has
//! no child left. A thread waits for children and wakes the event loop.

use std::io;
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread;

use rustix::event::{EventfdFlags, eventfd};
use rustix::io::Errno;
use rustix::process::{Pid, WaitOptions, WaitStatus, wait};

/// A child of the supervisor that ended: the command, or an orphan below it.
#[derive(Debug)]
pub(crate) struct Reaped {
    pub(crate) pid: i32,
    pub(crate) code: i32,
    pub(crate) signal: Option<i32>,
    /// Whether it was the last process of the tree.
    pub(crate) last: bool,
}

/// The children of the supervisor, as the event loop sees them.
pub(crate) struct Tree {
    reaped: Receiver<Reaped>,
    wake: Arc<OwnedFd>,
}

impl Tree {
    /// Waits for the children from now on. Start the command first: a fork is cheap while there is one thread.
    pub(crate) fn watch() -> io::Result<Self> {
        let wake = Arc::new(eventfd(0, EventfdFlags::NONBLOCK | EventfdFlags::CLOEXEC)?);
        let (sender, reaped) = channel();
        let waker = Arc::clone(&wake);
        thread::Builder::new().name("reaper".into()).spawn(move || {
            // An error other than "no child" does not exist for this call.
            let _ = reap(&sender, &waker);
        })?;
        Ok(Self { reaped, wake })
    }

    /// Readable when something was reaped.
    pub(crate) fn wake(&self) -> &OwnedFd {
        &self.wake
    }

    /// What was reaped since the last call.
    pub(crate) fn reaped(&self) -> Vec<Reaped> {
        // Not blocking: a spurious call finds nothing to reset.
        let _ = rustix::io::read(&self.wake, &mut [0; 8]);
        self.reaped.try_iter().collect()
    }
}

fn reap(sender: &Sender<Reaped>, wake: &OwnedFd) -> io::Result<()> {
    let mut next = wait_for_child(WaitOptions::empty())?;
    while let Some((pid, status)) = next {
        let waiting = wait_for_child(WaitOptions::NOHANG);
        let last = matches!(&waiting, Err(Errno::CHILD));
        let signal = status.terminating_signal();
        let code = status.exit_status().or(signal.map(|signal| 128 + signal)).unwrap_or(-1);
        if sender.send(Reaped { pid: pid.as_raw_nonzero().get(), code, signal, last }).is_err() {
            return Ok(());
        }
        rustix::io::write(wake, &1u64.to_ne_bytes())?;
        next = match waiting? {
            Some(ended) => Some(ended),
            None => wait_for_child(WaitOptions::empty())?,
        };
    }
    Ok(())
}

fn wait_for_child(options: WaitOptions) -> Result<Option<(Pid, WaitStatus)>, Errno> {
    loop {
        match wait(options) {
            Err(Errno::INTR) => {}
            result => return result,
        }
    }
}
