//! How does a long answer survive a connection that breaks? It goes on where it was, a bounded number of times in a row.

use std::time::{Duration, SystemTime};

use bytes::Bytes;
use futures::{StreamExt, TryStreamExt, stream, stream::BoxStream};
use reqwest::{Method, Response};
use runyard_executor_core::{
    contract::StreamError,
    http::{CallError, Endpoint, Patience, UploadError, lines},
};

use crate::{
    Error, ErrorKind, EventSequence, LogRef, LogRequest, Result, SequencedEvent,
    http::{
        body::JSON_LINES,
        management::views::{EventLine, EventsQuery, Imported, LogQuery},
        problem::remote,
    },
};

const READING_LOG: &str = "reading a log";
const FOLLOWING: &str = "following events";
const IMPORTING: &str = "importing into the database";
const EXPORTING: &str = "exporting the database";

fn broken(doing: &'static str, source: StreamError) -> Error {
    let message = format!("the connection broke while {doing}");
    Error::Remote { doing, kind: ErrorKind::Unavailable, message, source }
}

/// The bytes of a response. Nothing may come for as long as a step says nothing.
fn bytes(response: Response) -> BoxStream<'static, Result<Bytes, StreamError>> {
    response.bytes_stream().map_err(|error| error.without_url().into()).boxed()
}

pub(super) async fn export(endpoint: &Endpoint) -> Result<BoxStream<'static, Result<Bytes>>> {
    let request = || endpoint.request(Method::GET, &["data", "export"]);
    let response = endpoint.open_retried(request).await.map_err(remote(EXPORTING))?;
    Ok(bytes(response).map_err(|source| broken(EXPORTING, source)).boxed())
}

pub(super) async fn import(endpoint: &Endpoint, export: BoxStream<'static, Result<Bytes>>) -> Result<u64> {
    let request = endpoint.request(Method::POST, &["data", "import"]).header("content-type", JSON_LINES);
    let source = export.map_err(StreamError::from).boxed();
    let answer = endpoint.upload(request, source).await.map_err(|error| match error {
        UploadError::Call(error) => remote(IMPORTING)(error),
        UploadError::Source(why) => broken(IMPORTING, why.into()),
    })?;
    let imported: Imported = serde_json::from_slice(&answer).map_err(|error| broken(IMPORTING, error.into()))?;
    Ok(imported.entries)
}

struct LogReader {
    endpoint: Endpoint,
    request: LogRequest,
    body: Option<BoxStream<'static, Result<Bytes, StreamError>>>,
    patience: Patience,
    why: Option<StreamError>,
}

pub(super) async fn log(endpoint: Endpoint, request: LogRequest) -> Result<BoxStream<'static, Result<Bytes>>> {
    // The first answer says whether there is such a log.
    let body = Some(bytes(open_log(&endpoint, &request).await?));
    let patience = endpoint.patience();
    let reader = LogReader { endpoint, request, body, patience, why: None };
    let read = stream::unfold(Some(reader), async |reader| {
        let mut reader = reader?;
        match reader.next().await {
            Ok(None) => None,
            Ok(Some(piece)) => Some((Ok(piece), Some(reader))),
            Err(error) => Some((Err(error), None)),
        }
    });
    Ok(read.boxed())
}

async fn open_log(endpoint: &Endpoint, request: &LogRequest) -> Result<Response> {
    let LogRequest { log: LogRef { run, task, attempt, step }, offset, follow } = request.clone();
    let query = LogQuery { task, step, attempt, offset, follow };
    let request = || endpoint.request(Method::GET, &["runs", run.as_str(), "logs"]).query(&query);
    endpoint.open_retried(request).await.map_err(remote(READING_LOG))
}

impl LogReader {
    async fn next(&mut self) -> Result<Option<Bytes>> {
        loop {
            let Some(body) = &mut self.body else {
                if !self.patience.wait().await {
                    return Err(broken(READING_LOG, self.why.take().unwrap_or_else(|| "it ended".into())));
                }
                self.body = Some(bytes(open_log(&self.endpoint, &self.request).await?));
                continue;
            };
            match body.next().await {
                None => return Ok(None),
                Some(Ok(piece)) => {
                    self.request.offset += piece.len() as u64;
                    self.patience.reset();
                    return Ok(Some(piece));
                }
                Some(Err(error)) => {
                    self.why = Some(error);
                    self.body = None;
                }
            }
        }
    }
}

struct EventReader {
    endpoint: Endpoint,
    after: EventSequence,
    lines: Option<lines::Lines>,
    patience: Patience,
    is_first: bool,
    why: Option<StreamError>,
}

pub(super) fn events(endpoint: Endpoint, after: EventSequence) -> BoxStream<'static, Result<SequencedEvent>> {
    let patience = endpoint.patience();
    let reader = EventReader { endpoint, after, lines: None, patience, is_first: true, why: None };
    let read = stream::unfold(Some(reader), async |reader| {
        let mut reader = reader?;
        match reader.next().await {
            Ok(event) => Some((Ok(event), Some(reader))),
            Err(error) => Some((Err(error), None)),
        }
    });
    read.boxed()
}

impl EventReader {
    async fn next(&mut self) -> Result<SequencedEvent> {
        loop {
            let Some(lines) = &mut self.lines else {
                self.connect().await?;
                continue;
            };
            match lines.next().await {
                Ok(Some(line)) => {
                    self.patience.reset();
                    match serde_json::from_slice(&line) {
                        Ok(EventLine::Event { sequence, time, event }) => {
                            let sequence = sequence.parse()?;
                            let time = SystemTime::UNIX_EPOCH + Duration::from_millis(time);
                            self.after = sequence;
                            return Ok(SequencedEvent { sequence, time, event });
                        }
                        Ok(EventLine::Problem { problem }) => {
                            let problem = CallError::Problem(Box::new(problem));
                            if !problem.is_retryable() {
                                return Err(remote(FOLLOWING)(problem));
                            }
                            self.why = Some(problem.into());
                            self.lines = None;
                        }
                        // Such as an event that this version does not know: nothing is left out in silence.
                        Err(error) => return Err(misunderstood(error)),
                    }
                }
                ended => {
                    self.why = ended.err().or_else(|| Some("the connection ended".into()));
                    self.lines = None;
                }
            }
        }
    }

    async fn connect(&mut self) -> Result<()> {
        if !std::mem::take(&mut self.is_first) && !self.patience.wait().await {
            return Err(broken(FOLLOWING, self.why.take().unwrap_or_else(|| "it ended".into())));
        }
        let query = EventsQuery { after: Some(self.after.to_string()) };
        let request = || self.endpoint.request(Method::GET, &["events"]).query(&query);
        let response = self.endpoint.open_retried(request).await.map_err(remote(FOLLOWING))?;
        self.lines = Some(lines::Lines::new(response, self.endpoint.numbers().silence_max));
        Ok(())
    }
}

fn misunderstood(error: serde_json::Error) -> Error {
    Error::Remote {
        doing: FOLLOWING,
        kind: ErrorKind::Unexpected,
        message: "the server tells of an event that this version does not understand".to_owned(),
        source: error.into(),
    }
}
