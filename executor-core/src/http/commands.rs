//! What is an executor told, whatever happens to the connection?
//!
//! A connection that breaks or falls silent is dropped and taken up again, under the same epoch: the run service then
//! tells all that is open again, and what is told twice does no harm.

use futures::{StreamExt as _, stream, stream::BoxStream};
use reqwest::Method;

use super::{
    endpoint::{CallError, Endpoint, Patience},
    errors::client_error,
    lines::Lines,
    wire::{Commands, Line},
};
use crate::contract::{ClientError, Command, Result};

const DOING: &str = "reading commands";

/// The commands of one registration.
struct Reader {
    endpoint: Endpoint,
    who: Commands,
    /// None: the connection is to be taken up again.
    lines: Option<Lines>,
    patience: Patience,
    /// Why the last connection ended.
    broken: CallError,
    ended: bool,
}

/// The stream of a registration, of which the first line was read.
pub(super) fn stream(endpoint: Endpoint, who: Commands, lines: Lines) -> BoxStream<'static, Result<Command>> {
    let (patience, broken) = (endpoint.patience(), endpoint.broken("the connection ended".into()));
    let reader = Reader { endpoint, who, lines: Some(lines), patience, broken, ended: false };
    stream::unfold(reader, async |mut reader| {
        let next = reader.next().await?;
        Some((next, reader))
    })
    .boxed()
}

/// What a line means, if it is one that this version knows.
pub(super) fn line(bytes: &[u8]) -> Option<Line> {
    serde_json::from_slice(bytes)
        .inspect_err(|error| tracing::warn!(%error, "the run service says something that is not understood"))
        .ok()
}

impl Reader {
    async fn next(&mut self) -> Option<Result<Command>> {
        loop {
            if self.ended {
                return None;
            }
            let Some(lines) = &mut self.lines else {
                match self.resume().await {
                    Ok(()) => continue,
                    Err(ClientError::Replaced { .. }) => return None,
                    Err(error) => {
                        self.ended = true;
                        return Some(Err(error));
                    }
                }
            };
            match lines.next().await {
                Ok(Some(bytes)) => {
                    self.patience.reset();
                    match line(&bytes) {
                        Some(Line::Command { command }) => return Some(Ok(command)),
                        Some(Line::Replaced) => return None,
                        Some(Line::Connected { .. } | Line::Alive) | None => {}
                    }
                }
                Ok(None) => self.lines = None,
                Err(source) => {
                    self.broken = self.endpoint.broken(source);
                    self.lines = None;
                }
            }
        }
    }

    /// Takes the connection up again.
    async fn resume(&mut self) -> Result<()> {
        while self.patience.wait().await {
            tracing::info!(executor = %self.who.executor, error = &self.broken as &dyn std::error::Error, "reconnecting");
            let request = self.endpoint.request(Method::GET, &["commands"]).query(&self.who);
            match self.endpoint.open(request).await {
                Ok(response) => {
                    self.lines = Some(Lines::new(response, self.endpoint.numbers().silence_max));
                    return Ok(());
                }
                Err(error) if error.is_retryable() => self.broken = error,
                Err(error) => return Err(client_error(DOING)(error)),
            }
        }
        let broken = std::mem::replace(&mut self.broken, self.endpoint.broken("the connection ended".into()));
        Err(client_error(DOING)(broken))
    }
}
