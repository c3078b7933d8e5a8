//! How is the output of a step read: from its supervisor while that serves, from its files afterwards?

use std::{io, time::Duration};

use async_trait::async_trait;
use bytes::Bytes;
use runyard_toolbox::{
    OutputSource, SpoolChunks, StepDir,
    protocol::{ClientFrame, Decoder, Frame as _, ServerFrame},
};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::UnixStream,
    time::{Interval, MissedTickBehavior},
};

use super::{pod::ProcessPod, stop};
use crate::driver::{Attachment, DriverError, Result, StepEnd, StepEvent};

const READ_BYTES: usize = 128 << 10;

pub(super) async fn attach(pod: &ProcessPod, step: u32, offset: u64) -> Result<Box<dyn Attachment>> {
    let found = pod.steps().find(step).map_err(|error| DriverError::failed(format!("opening step {step}"), error))?;
    let Some(dir) = found else { return Err(DriverError::NotStarted { step }) };
    // A touch well before the supervisor misses it.
    let mut touches = tokio::time::interval((pod.lost_after() / 5).max(Duration::from_millis(1)));
    touches.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut attachment = ProcessAttachment { pod: pod.clone(), dir, offset, state: State::Detached, touches };
    attachment.open().await.map_err(failed)?;
    Ok(Box::new(attachment))
}

fn failed(error: io::Error) -> DriverError {
    DriverError::failed("reading the output of the step", error)
}

struct ProcessAttachment {
    pod: ProcessPod,
    dir: StepDir,
    offset: u64,
    state: State,
    touches: Interval,
}

enum State {
    Detached,
    Live { stream: UnixStream, decoder: Decoder, buffer: Vec<u8> },
    Files { chunks: SpoolChunks, output_end: Option<u64>, end: StepEnd },
}

impl ProcessAttachment {
    /// Finds out where the rest of the output is.
    async fn open(&mut self) -> io::Result<()> {
        let dir = self.dir.clone();
        let source = tokio::task::spawn_blocking(move || dir.output_source()).await.map_err(io::Error::other)??;
        match source {
            OutputSource::Supervisor(stream) => {
                stream.set_nonblocking(true)?;
                let mut stream = UnixStream::from_std(stream)?;
                // That it has left meanwhile is found when it is read from.
                let _ = stream.write_all(&ClientFrame::Attach { offset: self.offset }.to_bytes()).await;
                self.state = State::Live { stream, decoder: Decoder::new(), buffer: vec![0; READ_BYTES] };
                Ok(())
            }
            OutputSource::Ended(status) => self.read_files(Some(status.output_end), status.into()),
            OutputSource::Gone => {
                stop::kill_all(&self.pod).await?;
                let message = "the supervisor of the step is gone".to_owned();
                self.read_files(None, StepEnd::Lost { message })
            }
        }
    }

    fn read_files(&mut self, output_end: Option<u64>, end: StepEnd) -> io::Result<()> {
        // Whoever has everything asks for no byte, whatever is still there.
        let from = output_end.map_or(self.offset, |output_end| self.offset.min(output_end));
        let chunks = self.dir.read_spool(from)?;
        self.state = State::Files { chunks, output_end, end };
        Ok(())
    }

    /// The next event if there is one; none if the supervisor has left.
    async fn live_event(&mut self) -> io::Result<Option<StepEvent>> {
        let State::Live { stream, decoder, buffer } = &mut self.state else { return Ok(None) };
        loop {
            match decoder.next::<ServerFrame>().map_err(io::Error::other)? {
                Some(ServerFrame::Output { offset, bytes }) => {
                    self.offset = offset + bytes.len() as u64;
                    return Ok(Some(StepEvent::Output { offset, bytes: Bytes::from(bytes) }));
                }
                Some(ServerFrame::Exit { status }) => return Ok(Some(StepEvent::Ended(status.into()))),
                Some(ServerFrame::Error { message }) => return Err(io::Error::other(message)),
                None => {}
            }
            tokio::select! {
                count = stream.read(buffer) => match count {
                    Ok(0) | Err(_) => return Ok(None),
                    Ok(count) => decoder.feed(&buffer[..count]),
                },
                _ = self.touches.tick() => {
                    // A small frame: if the socket does not take it at once, the supervisor is busy with us anyway.
                    let _ = stream.try_write(&ClientFrame::Touch.to_bytes());
                }
            }
        }
    }
}

#[async_trait]
impl Attachment for ProcessAttachment {
    async fn next(&mut self) -> Result<StepEvent> {
        loop {
            match &mut self.state {
                State::Detached => self.open().await.map_err(failed)?,
                State::Live { .. } => match self.live_event().await.map_err(failed)? {
                    Some(event) => return Ok(event),
                    None => self.state = State::Detached,
                },
                State::Files { chunks, output_end, end } => {
                    let wanted = output_end.is_none_or(|output_end| self.offset < output_end);
                    let Some(chunk) = chunks.next().filter(|_| wanted) else {
                        return Ok(StepEvent::Ended(end.clone()));
                    };
                    let chunk = chunk.map_err(failed)?;
                    self.offset = chunk.offset + chunk.bytes.len() as u64;
                    return Ok(StepEvent::Output { offset: chunk.offset, bytes: Bytes::from(chunk.bytes) });
                }
            }
        }
    }

    async fn ack(&mut self, offset: u64) -> Result<()> {
        if let State::Live { stream, .. } = &mut self.state {
            // A supervisor that has left needs no acknowledgement; `next` finds that out.
            let _ = stream.write_all(&ClientFrame::Ack { offset }.to_bytes()).await;
        }
        Ok(())
    }
}
