//! How does output get from a step into its log?
//!
//! At once: what is there is sent; while it is on its way, what comes is gathered. What the run service has stored is
//! acknowledged to the step's spool, so nothing else needs to remember it.

use std::{fs, io, path::PathBuf};

use bytes::Bytes;
use futures::future::{BoxFuture, FutureExt as _, OptionFuture};

use super::{
    context::Context,
    home::write_atomically,
    outbox::{Outbox, broken_off},
    task_log::TaskLog,
};
use crate::{
    contract::{ClientError, HeldTask, LogEnd, StepRef},
    driver::{Attachment, DriverError, Pod, StepEnd, StepEvent},
};

/// The most that one append carries, and that is gathered while one is on its way.
const APPEND_BYTES_MAX: usize = 1 << 20;

/// Where output comes from.
pub(super) enum Source<'a> {
    Pod { pod: &'a dyn Pod, step: u32 },
    Log(&'a TaskLog),
}

impl Source<'_> {
    async fn open(&self, offset: u64) -> Result<Box<dyn Attachment>, DriverError> {
        match self {
            Self::Pod { pod, step } => pod.attach(*step, offset).await,
            Self::Log(log) => Ok(log.attach(offset)),
        }
    }
}

/// An output that has ended and is stored.
#[derive(Debug)]
pub(super) struct Pumped {
    pub(super) end: StepEnd,
    pub(super) log: LogEnd,
}

/// Why output could not be pumped to its end.
#[derive(Debug, thiserror::Error)]
pub(super) enum PumpError {
    #[error(transparent)]
    Client(#[from] ClientError),
    #[error(transparent)]
    Driver(#[from] DriverError),
}

/// Pumps an output to its end. `resumed`: an executor may have pumped a part of it before.
///
/// # Cancel safety
/// Nothing is lost; pump again with `resumed`.
pub(super) async fn pump(
    context: &Context,
    held: &HeldTask,
    step: StepRef,
    source: Source<'_>,
    resumed: bool,
) -> Result<Pumped, PumpError> {
    let appender = Appender { context, held, step };
    let stored = if resumed { appender.append(0, Bytes::new()).await? } else { 0 };
    let mut outbox = Outbox::new(context.settings.log_bytes_max, stored);
    // A file is read from its beginning, for the hash; the beginning of a command's output is not kept.
    let mut from = match source {
        Source::Log(_) => 0,
        Source::Pod { .. } => stored.max(appender.dropped().map_err(log_file)?),
    };
    loop {
        let attachment = source.open(from).await?;
        outbox.restart(from);
        match pass_on(attachment, &mut outbox, appender).await {
            Ok(end) => return Ok(Pumped { end, log: outbox.log_end() }),
            Err(PumpError::Client(ClientError::LogGap { stored, .. })) => {
                // What was sent but not yet stored is gone there; it is still in the spool.
                tracing::warn!(task = %held.task, %step, stored, "the run service asks for a part of a log again");
                outbox.store(stored);
                from = stored;
            }
            Err(error) => return Err(error),
        }
    }
}

/// Ends a log of which nothing more can be read, with a mark.
pub(super) async fn break_off(
    context: &Context,
    held: &HeldTask,
    step: StepRef,
    why: &str,
) -> Result<LogEnd, ClientError> {
    let appender = Appender { context, held, step };
    let stored = appender.append(0, Bytes::new()).await?;
    let bytes = appender.append(stored, broken_off(why).into()).await?;
    Ok(LogEnd { bytes, sha256: None })
}

async fn pass_on(
    mut attachment: Box<dyn Attachment>,
    outbox: &mut Outbox,
    appender: Appender<'_>,
) -> Result<StepEnd, PumpError> {
    let mut end = None;
    let mut sending: OptionFuture<BoxFuture<'_, Result<u64, ClientError>>> = None.into();
    let mut is_sending = false;
    loop {
        if !is_sending {
            if outbox.waiting() > 0 {
                let (offset, bytes) = outbox.take(APPEND_BYTES_MAX);
                sending = Some(appender.append(offset, bytes)).into();
                is_sending = true;
            } else if let Some(end) = &end {
                if outbox.is_stored() {
                    return Ok(StepEnd::clone(end));
                }
                // Everything was sent, and the run service has not yet stored all of it.
                sending = Some(appender.ask_later(outbox.end())).into();
                is_sending = true;
            }
        }
        tokio::select! {
            Some(stored) = &mut sending, if is_sending => {
                is_sending = false;
                let acknowledged = outbox.store(stored?);
                if end.is_none() {
                    acknowledge(&mut *attachment, outbox, acknowledged, appender).await?;
                }
            }
            event = attachment.next(), if end.is_none() && outbox.waiting() < APPEND_BYTES_MAX => match event? {
                StepEvent::Output { offset, bytes } => {
                    outbox.receive(offset, &bytes).map_err(|gap| DriverError::failed("reading the output", gap))?;
                    // What is dropped is not sent, so nothing else would acknowledge it.
                    if outbox.is_cut() && outbox.is_stored() {
                        let acknowledged = outbox.store(0);
                        acknowledge(&mut *attachment, outbox, acknowledged, appender).await?;
                    }
                }
                StepEvent::Ended(how) => {
                    if let StepEnd::Lost { message } = &how {
                        outbox.break_off(message);
                    }
                    end = Some(how);
                }
            },
        }
    }
}

async fn acknowledge(
    attachment: &mut dyn Attachment,
    outbox: &Outbox,
    offset: u64,
    appender: Appender<'_>,
) -> Result<(), PumpError> {
    if outbox.is_cut() {
        appender.set_dropped(offset).map_err(log_file)?;
    }
    Ok(attachment.ack(offset).await?)
}

fn log_file(error: io::Error) -> PumpError {
    DriverError::failed("remembering how much of an output was dropped", error).into()
}

/// Appends to one log.
#[derive(Clone, Copy)]
struct Appender<'a> {
    context: &'a Context,
    held: &'a HeldTask,
    step: StepRef,
}

impl<'a> Appender<'a> {
    fn append(self, offset: u64, bytes: Bytes) -> BoxFuture<'a, Result<u64, ClientError>> {
        let append = move |fence| {
            let bytes = bytes.clone();
            async move { self.context.client.append_log(&fence, self.step, offset, bytes).await }
        };
        async move { self.context.call(self.held, append).await }.boxed()
    }

    /// How much of the output was acknowledged although the log is full. The length of the log does not tell, and
    /// what is acknowledged must not be asked for again.
    fn dropped(self) -> io::Result<u64> {
        match fs::read_to_string(self.dropped_file()) {
            Ok(text) => text.parse().map_err(io::Error::other),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(0),
            Err(error) => Err(error),
        }
    }

    /// Remembers that, before it is acknowledged.
    fn set_dropped(self, offset: u64) -> io::Result<()> {
        write_atomically(&self.dropped_file(), offset.to_string().as_bytes())
    }

    fn dropped_file(self) -> PathBuf {
        self.context.logs(self.held).join(format!("{}.dropped", self.step))
    }

    fn ask_later(self, offset: u64) -> BoxFuture<'a, Result<u64, ClientError>> {
        async move {
            self.context.backoff().wait(&self.context.random).await;
            self.append(offset, Bytes::new()).await
        }
        .boxed()
    }
}
