//! How is the output of a step read over a bridge, also when the bridge breaks?

use std::{io, time::Duration};

use async_trait::async_trait;
use bytes::Bytes;
use runyard_toolbox::{
    bridge::protocol::{FromBridge, Reply, Request, ToBridge},
    protocol::{ClientFrame, ServerFrame},
};
use tokio::time::{Instant, Interval, MissedTickBehavior};

use super::{
    connection::Connection,
    pod::{BridgedPod, unexpected},
    pool::{ANSWERS_WITHIN, Bridges, within},
};
use crate::driver::{Attachment, DriverError, Result, StepEnd, StepEvent};

/// How long an engine may be away before the step is given up: long enough for its restart.
const PATIENCE: Duration = Duration::from_secs(30);

/// Between two attempts to reach into a pod: nothing tells when an engine is back. Doubled from the first to the last.
const RETRY_FIRST: Duration = Duration::from_millis(20);
const RETRY_LAST: Duration = Duration::from_secs(2);

pub(super) async fn attach(pod: &BridgedPod, step: u32, offset: u64) -> Result<Box<dyn Attachment>> {
    // A touch well before the supervisor misses it.
    let mut touches = tokio::time::interval((pod.lost_after / 5).max(Duration::from_millis(1)));
    touches.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let bridges = pod.bridges.clone();
    let mut attachment = BridgeAttachment { bridges, step, offset, state: State::Detached, trouble: None, touches };
    attachment.open().await?;
    Ok(Box::new(attachment))
}

struct BridgeAttachment {
    bridges: Bridges,
    step: u32,
    /// The next byte that is wanted.
    offset: u64,
    state: State,
    trouble: Option<Trouble>,
    touches: Interval,
}

enum State {
    Detached,
    Live { connection: Box<Connection>, since: Instant },
    Over(StepEnd),
}

/// The pod could not be reached since then.
struct Trouble {
    since: Instant,
    delay: Duration,
}

impl BridgeAttachment {
    /// Asks a bridge for the rest of the output.
    async fn open(&mut self) -> Result<()> {
        let request = Request::Attach { step: self.step, offset: self.offset };
        if let Some(mut connection) = self.bridges.take_idle()
            && let Ok(reply) = within(ANSWERS_WITHIN, connection.call(&request)).await
        {
            return self.opened(connection, reply);
        }
        let mut connection = match self.bridges.open().await {
            Err(DriverError::Gone { message }) => {
                self.state = State::Over(StepEnd::Lost { message });
                return Ok(());
            }
            opened => opened?,
        };
        let reply = within(ANSWERS_WITHIN, connection.call(&request)).await.map_err(failed)?;
        self.opened(connection, reply)
    }

    fn opened(&mut self, connection: Connection, reply: Reply) -> Result<()> {
        match reply {
            Reply::Done => {
                self.state = State::Live { connection: Box::new(connection), since: Instant::now() };
                Ok(())
            }
            Reply::NotStarted => {
                self.bridges.put_back(connection);
                Err(DriverError::NotStarted { step: self.step })
            }
            reply => Err(unexpected("reading the output of the step", &reply)),
        }
    }

    /// Waits before the next attempt, or gives up.
    async fn retry(&mut self, error: DriverError) -> Result<()> {
        let trouble = self.trouble.get_or_insert_with(|| Trouble { since: Instant::now(), delay: RETRY_FIRST });
        if trouble.since.elapsed() >= PATIENCE {
            return Err(error);
        }
        tracing::debug!(error = error.user_message(), "a pod cannot be reached; trying again");
        let delay = trouble.delay;
        trouble.delay = (delay * 2).min(RETRY_LAST);
        tokio::time::sleep(delay).await;
        Ok(())
    }

    /// Deals with a frame; the event that it means, if it means one.
    fn take(&mut self, frame: FromBridge) -> Result<Option<StepEvent>> {
        let end = match frame {
            FromBridge::Supervisor(ServerFrame::Output { offset, bytes }) => {
                self.offset = offset + bytes.len() as u64;
                return Ok(Some(StepEvent::Output { offset, bytes: Bytes::from(bytes) }));
            }
            FromBridge::Supervisor(ServerFrame::Exit { status }) => status.into(),
            FromBridge::Supervisor(ServerFrame::Error { message }) => return Err(failed(io::Error::other(message))),
            FromBridge::Reply(Reply::Lost { message }) => StepEnd::Lost { message },
            FromBridge::Reply(Reply::Failed { message }) => return Err(failed(io::Error::other(message))),
            other => return Err(failed(io::Error::other(format!("the bridge says {other:?}")))),
        };
        if let State::Live { connection, .. } = std::mem::replace(&mut self.state, State::Over(end)) {
            self.bridges.put_back(*connection);
        }
        Ok(None)
    }
}

fn failed(error: io::Error) -> DriverError {
    DriverError::failed("reading the output of the step", error)
}

#[async_trait]
impl Attachment for BridgeAttachment {
    async fn next(&mut self) -> Result<StepEvent> {
        loop {
            let received = match &mut self.state {
                State::Over(end) => return Ok(StepEvent::Ended(end.clone())),
                State::Detached => {
                    match self.open().await {
                        Ok(()) => {}
                        Err(error @ DriverError::Failed { .. }) => self.retry(error).await?,
                        Err(error) => return Err(error),
                    }
                    continue;
                }
                State::Live { connection, .. } => {
                    tokio::select! {
                        frame = connection.receiver.next() => frame,
                        _ = self.touches.tick() => {
                            connection.sender.queue_frame(&ToBridge::Supervisor(ClientFrame::Touch));
                            match connection.sender.flush().await {
                                Ok(()) => continue,
                                Err(error) => Err(error),
                            }
                        }
                    }
                }
            };
            match received {
                Ok(frame) => {
                    self.trouble = None;
                    if let Some(event) = self.take(frame)? {
                        return Ok(event);
                    }
                }
                Err(error) => {
                    let State::Live { since, .. } = std::mem::replace(&mut self.state, State::Detached) else {
                        continue;
                    };
                    if since.elapsed() > RETRY_LAST {
                        self.trouble = None;
                    }
                    self.retry(failed(error)).await?;
                }
            }
        }
    }

    async fn ack(&mut self, offset: u64) -> Result<()> {
        if let State::Live { connection, .. } = &mut self.state {
            connection.sender.queue_frame(&ToBridge::Supervisor(ClientFrame::Ack { offset }));
            // That the bridge has ended is found by `next`.
            let _ = connection.sender.flush().await;
        }
        Ok(())
    }
}
