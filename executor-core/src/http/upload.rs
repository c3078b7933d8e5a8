//! How does something long get to the run service, such as an archive, and when has that failed?
//!
//! Three parts may be slow: whoever makes it, for as long as that takes; the network, which has to take something now and
//! then; and the run service, once it has everything.

use std::{
    pin::Pin,
    sync::{Arc, Mutex},
    task::{Context, Poll},
    time::Duration,
};

use bytes::Bytes;
use futures::{Stream, StreamExt as _};
use reqwest::RequestBuilder;
use tokio::sync::watch;

use super::{
    endpoint::{CallError, Endpoint},
    frames,
};
use crate::contract::{ByteStream, StreamError};

/// Why something long did not arrive.
#[derive(Debug)]
pub enum UploadError {
    /// It could not be read to its end; what whoever makes it says.
    Source(String),
    /// The run service said no, or nothing.
    Call(CallError),
}

/// Whom the upload waits for.
#[derive(Clone, Copy, Debug)]
enum Waits {
    Source,
    Network,
    Answer,
}

/// Sends an archive in frames; returns the body of the answer.
pub(super) async fn upload_archive(
    endpoint: &Endpoint,
    request: RequestBuilder,
    archive: ByteStream,
) -> Result<Bytes, UploadError> {
    let request = request.header("content-type", frames::MEDIA_TYPE);
    upload(endpoint, request, archive, frames::encode).await
}

/// Sends `source` as `encode` makes a body of it; returns the body of the answer.
pub(super) async fn upload(
    endpoint: &Endpoint,
    request: RequestBuilder,
    source: ByteStream,
    encode: fn(ByteStream) -> ByteStream,
) -> Result<Bytes, UploadError> {
    let failure = Arc::new(Mutex::new(None));
    let noted = Arc::clone(&failure);
    let source = source.map(move |piece| {
        piece.inspect_err(|error| {
            *noted.lock().expect("no panic happens while it is locked") = Some(error.to_string());
        })
    });
    let waits = watch::Sender::new(Waits::Network);
    let watching = waits.subscribe();
    let body = Paced { body: encode(source.boxed()), waits };
    let request = request.body(reqwest::Body::wrap_stream(body));
    let never = Duration::MAX;
    let answer = async {
        let response = endpoint.open_within(request, never).await?;
        response.bytes().await.map_err(|error| endpoint.broken(error.without_url().into()))
    };
    let answer = tokio::select! {
        answer = answer => answer,
        why = stalled(watching, endpoint) => Err(endpoint.broken(why)),
    };
    answer.map_err(|error| match failure.lock().expect("no panic happens while it is locked").take() {
        Some(message) => UploadError::Source(message),
        None => UploadError::Call(error),
    })
}

/// Completes when the network or the run service has taken too long.
async fn stalled(mut waits: watch::Receiver<Waits>, endpoint: &Endpoint) -> StreamError {
    let settings = endpoint.numbers();
    loop {
        let now = *waits.borrow_and_update();
        let limit = match now {
            Waits::Source => Duration::MAX,
            Waits::Network => settings.silence_max,
            Waits::Answer => settings.store_timeout,
        };
        let not_stored = || format!("what was sent was not stored within {} s", settings.store_timeout.as_secs());
        match tokio::time::timeout(limit, waits.changed()).await {
            Ok(Ok(())) => {}
            Ok(Err(_)) => {
                // The body is read to its end, or the answer is on its way already.
                tokio::time::sleep(settings.store_timeout).await;
                return not_stored().into();
            }
            Err(_) if matches!(now, Waits::Network) => {
                return format!("the network took nothing for {} s", limit.as_secs()).into();
            }
            Err(_) => return not_stored().into(),
        }
    }
}

/// Says whom an upload waits for.
struct Paced {
    body: ByteStream,
    waits: watch::Sender<Waits>,
}

impl Stream for Paced {
    type Item = Result<Bytes, StreamError>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let polled = self.body.poll_next_unpin(context);
        self.waits.send_replace(match &polled {
            Poll::Pending => Waits::Source,
            Poll::Ready(Some(_)) => Waits::Network,
            Poll::Ready(None) => Waits::Answer,
        });
        polled
    }
}
