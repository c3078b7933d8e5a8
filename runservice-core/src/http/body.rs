//! What do bodies look like that are not JSON as a whole?

use std::{
    convert::Infallible,
    sync::{
        Arc,
        atomic::{AtomicU8, Ordering},
    },
};

use axum::{
    body::{Body, Bytes},
    http::header,
    response::{IntoResponse, Response},
};
use futures::{Stream, StreamExt};
use runyard_executor_core::{
    contract::{ByteStream, StreamError},
    http::{
        frames,
        wire::{KEEP_ALIVE, Problem},
    },
};
use serde::Serialize;

use super::problem::Failed;
use crate::Error;

/// The media type of lines of JSON.
pub(super) const JSON_LINES: &str = "application/x-ndjson";

/// A line of JSON, with its end.
pub(super) fn line(value: &impl Serialize) -> Bytes {
    let mut line = serde_json::to_vec(value).expect("what is said is plain data");
    line.push(b'\n');
    line.into()
}

/// Lines that come when they come.
pub(super) fn lines(lines: impl Stream<Item = Bytes> + Send + 'static) -> Response {
    let head = [
        (header::CONTENT_TYPE, JSON_LINES),
        (header::CACHE_CONTROL, "no-cache"),
        // A proxy that gathers an answer before it passes it on would gather this one for ever.
        (header::HeaderName::from_static("x-accel-buffering"), "no"),
    ];
    (head, Body::from_stream(lines.map(Ok::<_, Infallible>))).into_response()
}

/// `items`, and `keep_alive` when nothing came for a while: silence tells nobody that the other side is gone, and what
/// stands between ends idle connections.
pub(super) fn kept_alive(
    items: impl Stream<Item = Bytes> + Send + Unpin + 'static,
    keep_alive: Bytes,
) -> impl Stream<Item = Bytes> + Send + 'static {
    futures::stream::unfold((items, keep_alive), |(mut items, keep_alive)| async move {
        match tokio::time::timeout(KEEP_ALIVE, items.next()).await {
            Ok(None) => None,
            Ok(Some(item)) => Some((item, (items, keep_alive))),
            Err(_) => Some((keep_alive.clone(), (items, keep_alive))),
        }
    })
}

/// An archive, in frames.
pub(super) fn archive(archive: ByteStream) -> Response {
    ([(header::CONTENT_TYPE, frames::MEDIA_TYPE)], Body::from_stream(frames::encode(archive))).into_response()
}

/// How an upload went, apart from what became of it.
#[derive(Clone, Debug, Default)]
pub(super) struct Upload(Arc<AtomicU8>);

const BROKEN: u8 = 1;
const TOO_LARGE: u8 = 2;

impl Upload {
    /// The archive of a body. What is not complete, or has more than `bytes_max`, ends with an error.
    pub(super) fn begin(body: Body, bytes_max: u64) -> (ByteStream, Self) {
        let upload = Self::default();
        let (state, mut bytes) = (Arc::clone(&upload.0), 0);
        let archive = frames::decode(body.into_data_stream()).map(move |piece| {
            let piece = piece.inspect_err(|_| state.store(BROKEN, Ordering::Release))?;
            bytes += piece.len() as u64;
            if bytes > bytes_max {
                state.store(TOO_LARGE, Ordering::Release);
                return Err(StreamError::from("the archive is too large"));
            }
            Ok(piece)
        });
        (archive.boxed(), upload)
    }

    /// Why an upload failed: what is the network's fault is not the archive's.
    pub(super) fn failed(&self, error: impl Into<Failed>, bytes_max: u64) -> Failed {
        match self.0.load(Ordering::Acquire) {
            BROKEN => Problem::new(503, "unavailable", "Broke off", "the upload broke off: send it again").into(),
            TOO_LARGE => {
                Error::TooLarge { message: format!("the archive has more than the {bytes_max} bytes that are taken") }
                    .into()
            }
            _ => error.into(),
        }
    }
}
