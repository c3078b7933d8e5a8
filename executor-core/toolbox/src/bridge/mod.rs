//! `bridge STEPS_DIR POD`: does what an executor asks for over one stream in and one stream out.
//!
//! An executor that has no way into a pod but to start programs in it starts this one, and keeps it: a further step then
//! costs no start of a program. When the streams end the bridge ends, and steps go on without it.

mod attach;
mod empty;
pub mod protocol;
mod requests;
mod tool;

use std::io::{self, Write as _};
use std::os::fd::{AsFd as _, OwnedFd};
use std::path::Path;

use rustix::event::{PollFd, PollFlags, poll};
use rustix::io::Errno;

use self::protocol::{BRIDGE_VERSION, FromBridge, Hello, Reply, Request, ToBridge};
use self::requests::Pod;
use crate::protocol::{Decoder, Frame as _};

/// The variable that marks every process that a bridge starts for a pod.
pub const POD_VARIABLE: &str = "RUNYARD_POD";

/// A request is not longer than this.
const REQUEST_MAX: usize = 64 << 20;

/// Serves the executor until its stream ends.
pub(crate) fn run(steps_dir: &Path, pod: &str) -> io::Result<()> {
    match serve(&Pod::new(steps_dir, pod)) {
        // That is how an executor ends which was in the midst of something.
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        served => served,
    }
}

fn serve(pod: &Pod) -> io::Result<()> {
    let mut link = Link::new();
    link.say(&FromBridge::Hello(Hello { version: BRIDGE_VERSION }))?;
    while let Some(request) = link.request()? {
        if !pod.serve(request, &mut link)? {
            return Ok(());
        }
    }
    Ok(())
}

/// The streams to the executor.
struct Link {
    input: io::Stdin,
    output: io::Stdout,
    decoder: Decoder,
    buffer: Vec<u8>,
}

impl Link {
    fn new() -> Self {
        Self { input: io::stdin(), output: io::stdout(), decoder: Decoder::new(), buffer: vec![0; 64 << 10] }
    }

    fn say(&mut self, frame: &FromBridge) -> io::Result<()> {
        self.send(&frame.to_bytes())
    }

    fn reply(&mut self, reply: Reply) -> io::Result<()> {
        self.say(&FromBridge::Reply(reply))
    }

    fn send(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.output.write_all(bytes)?;
        self.output.flush()
    }

    /// A frame that has already arrived.
    fn arrived(&mut self) -> io::Result<Option<ToBridge>> {
        self.decoder.next().map_err(io::Error::other)
    }

    /// Reads once; false at the end of the stream.
    fn read(&mut self) -> io::Result<bool> {
        // Unbuffered: what `poll` does not see would be waited for in vain.
        let count = rustix::io::retry_on_intr(|| rustix::io::read(self.input.as_fd(), &mut self.buffer[..]))?;
        self.decoder.feed(&self.buffer[..count]);
        Ok(count > 0)
    }

    /// The next frame; none at the end of the stream.
    fn next(&mut self) -> io::Result<Option<ToBridge>> {
        loop {
            if let Some(frame) = self.arrived()? {
                return Ok(Some(frame));
            }
            if !self.read()? {
                return Ok(None);
            }
        }
    }

    /// Waits until a process has ended, or the stream; whether it was the process. Nothing is said to us meanwhile.
    fn is_open_until(&mut self, process: &OwnedFd) -> io::Result<bool> {
        loop {
            let mut fds = [PollFd::new(process, PollFlags::IN), PollFd::new(&self.input, PollFlags::IN)];
            match poll(&mut fds, None) {
                Ok(_) => {}
                Err(Errno::INTR) => continue,
                Err(error) => return Err(error.into()),
            }
            let [process_ended, readable] = fds.map(|fd| !fd.revents().is_empty());
            if process_ended {
                return Ok(true);
            }
            if readable && !self.read()? {
                return Ok(false);
            }
        }
    }

    /// The next request; none at the end of the stream.
    fn request(&mut self) -> io::Result<Option<Request>> {
        let mut json = Vec::new();
        while let Some(frame) = self.next()? {
            let last = match frame {
                ToBridge::Part(piece) => {
                    json.extend(piece);
                    false
                }
                ToBridge::Request(piece) => {
                    json.extend(piece);
                    true
                }
                // An acknowledgement that crossed the end of the step, and the like.
                ToBridge::Supervisor(_) => false,
                ToBridge::Input(_) | ToBridge::EndOfInput => return Err(io::Error::other("input without a request")),
            };
            if json.len() > REQUEST_MAX {
                return Err(io::Error::other("a request is too long"));
            }
            if last {
                return serde_json::from_slice(&json).map(Some).map_err(io::Error::other);
            }
        }
        Ok(None)
    }
}
