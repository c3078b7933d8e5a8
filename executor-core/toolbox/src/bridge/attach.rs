//! How does the output of a step reach the executor: from its supervisor while that serves, from its files afterwards?

use std::io::{self, Read as _, Write as _};
use std::os::unix::net::UnixStream;

use rustix::event::{PollFd, PollFlags, poll};
use rustix::io::Errno;

use super::Link;
use super::protocol::{FromBridge, Reply, ToBridge};
use super::requests::Pod;
use crate::protocol::{ClientFrame, Decoder, Frame as _, OUTPUT_CHUNK_MAX, ServerFrame, encode_output};
use crate::{ExitStatus, OutputSource, StepDir};

/// Serves a request to attach; false if the stream to the executor has ended.
pub(super) fn serve(pod: &Pod, step: u32, mut offset: u64, link: &mut Link) -> io::Result<bool> {
    let failed = |link: &mut Link, error: io::Error| {
        link.reply(Reply::Failed { message: error.to_string() })?;
        Ok(true)
    };
    let dir = match pod.steps.find(step) {
        Ok(Some(dir)) => dir,
        Ok(None) => {
            link.reply(Reply::NotStarted)?;
            return Ok(true);
        }
        Err(error) => return failed(link, error),
    };
    link.reply(Reply::Done)?;
    loop {
        match dir.output_source() {
            Ok(OutputSource::Supervisor(stream)) => match relay(stream, &mut offset, link)? {
                Relayed::Exit => return Ok(true),
                Relayed::ExecutorGone => return Ok(false),
                Relayed::SupervisorGone => {}
            },
            Ok(OutputSource::Ended(status)) => {
                return match send_files(&dir, offset, Some(&status), link)? {
                    Ok(()) => {
                        link.say(&FromBridge::Supervisor(ServerFrame::Exit { status }))?;
                        Ok(true)
                    }
                    Err(error) => failed(link, error),
                };
            }
            Ok(OutputSource::Gone) => {
                if let Err(error) = pod.kill() {
                    return failed(link, error);
                }
                return match send_files(&dir, offset, None, link)? {
                    Ok(()) => {
                        link.reply(Reply::Lost { message: "the supervisor of the step is gone".to_owned() })?;
                        Ok(true)
                    }
                    Err(error) => failed(link, error),
                };
            }
            Err(error) => return failed(link, error),
        }
    }
}

enum Relayed {
    Exit,
    ExecutorGone,
    SupervisorGone,
}

/// Passes frames on in both directions. `offset` follows what the executor was sent.
fn relay(mut supervisor: UnixStream, offset: &mut u64, link: &mut Link) -> io::Result<Relayed> {
    if supervisor.write_all(&ClientFrame::Attach { offset: *offset }.to_bytes()).is_err() {
        return Ok(Relayed::SupervisorGone);
    }
    let mut decoder = Decoder::new();
    let mut buffer = vec![0; 128 << 10];
    loop {
        while let Some(frame) = link.arrived()? {
            let ToBridge::Supervisor(frame) = frame else {
                return Err(io::Error::other("a request came before the one before it had ended"));
            };
            // What it does not take is of no use to it; that it has left is found when it is read from.
            let _ = supervisor.write_all(&frame.to_bytes());
        }
        let mut fds = [PollFd::new(&supervisor, PollFlags::IN), PollFd::new(&link.input, PollFlags::IN)];
        match poll(&mut fds, None) {
            Ok(_) => {}
            Err(Errno::INTR) => continue,
            Err(error) => return Err(error.into()),
        }
        let [supervisor_ready, executor_ready] = fds.map(|fd| !fd.revents().is_empty());
        if executor_ready && !link.read()? {
            return Ok(Relayed::ExecutorGone);
        }
        if supervisor_ready {
            match supervisor.read(&mut buffer) {
                Ok(0) => return Ok(Relayed::SupervisorGone),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(_) => return Ok(Relayed::SupervisorGone),
                Ok(count) => decoder.feed(&buffer[..count]),
            }
            while let Some(frame) = decoder.next::<ServerFrame>().map_err(io::Error::other)? {
                if let ServerFrame::Output { offset: at, bytes } = &frame {
                    *offset = at + bytes.len() as u64;
                }
                let is_last = matches!(frame, ServerFrame::Exit { .. } | ServerFrame::Error { .. });
                link.say(&FromBridge::Supervisor(frame))?;
                if is_last {
                    return Ok(Relayed::Exit);
                }
            }
        }
    }
}

/// Sends what is in the spool. The outer error is the executor's stream, the inner one the spool's.
fn send_files(dir: &StepDir, offset: u64, status: Option<&ExitStatus>, link: &mut Link) -> io::Result<io::Result<()>> {
    // Whoever has everything asks for no byte, whatever is still there.
    if status.is_some_and(|status| offset >= status.output_end) {
        return Ok(Ok(()));
    }
    let chunks = match dir.read_spool(offset) {
        Ok(chunks) => chunks,
        Err(error) => return Ok(Err(error)),
    };
    let mut frames = Vec::new();
    for chunk in chunks {
        let chunk = match chunk {
            Ok(chunk) => chunk,
            Err(error) => return Ok(Err(error)),
        };
        let mut at = chunk.offset;
        for piece in chunk.bytes.chunks(OUTPUT_CHUNK_MAX) {
            frames.clear();
            encode_output(&mut frames, at, piece);
            link.send(&frames)?;
            at += piece.len() as u64;
        }
    }
    Ok(Ok(()))
}
