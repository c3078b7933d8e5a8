//! One bridge: what was said and is not sent yet, what has come and is not read yet.

use std::{fmt, io, pin::Pin};

use bytes::{Buf as _, Bytes, BytesMut};
use futures::{StreamExt as _, stream::BoxStream};
use runyard_toolbox::{
    bridge::protocol::{FromBridge, Reply, Request, ToBridge},
    protocol::{Decoder, Frame as _},
};
use tokio::io::{AsyncWrite, AsyncWriteExt as _};

/// The streams of a bridge that was started.
pub struct Streams {
    /// Its standard input.
    pub input: Pin<Box<dyn AsyncWrite + Send>>,
    /// Its standard output; an error says what it wrote to its standard error.
    pub output: BoxStream<'static, io::Result<Bytes>>,
}

/// Dropped in the midst of a request, it ends what is left of that.
pub(super) struct Connection {
    pub(super) sender: Sender,
    pub(super) receiver: Receiver,
}

pub(super) struct Sender {
    input: Pin<Box<dyn AsyncWrite + Send>>,
    unsent: BytesMut,
}

pub(super) struct Receiver {
    output: BoxStream<'static, io::Result<Bytes>>,
    decoder: Decoder,
}

impl Connection {
    pub(super) fn new(streams: Streams) -> Self {
        Self {
            sender: Sender { input: streams.input, unsent: BytesMut::new() },
            receiver: Receiver { output: streams.output, decoder: Decoder::new() },
        }
    }

    pub(super) async fn request(&mut self, request: &Request) -> io::Result<()> {
        self.sender.queue(&request.to_frames());
        self.sender.flush().await
    }

    /// Asks, and waits for the reply of a request that has nothing else.
    pub(super) async fn call(&mut self, request: &Request) -> io::Result<Reply> {
        self.request(request).await?;
        match self.receiver.next().await? {
            FromBridge::Reply(reply) => Ok(reply),
            other => Err(io::Error::other(format!("the bridge answers with {other:?}"))),
        }
    }
}

impl Sender {
    /// To be sent by the next [`flush`](Self::flush).
    pub(super) fn queue(&mut self, bytes: &[u8]) {
        self.unsent.extend_from_slice(bytes);
    }

    pub(super) fn queue_frame(&mut self, frame: &ToBridge) {
        self.queue(&frame.to_bytes());
    }

    /// # Cancel safety
    /// What is not sent when the future is dropped is sent by the next one.
    pub(super) async fn flush(&mut self) -> io::Result<()> {
        while !self.unsent.is_empty() {
            let count = self.input.write(&self.unsent).await?;
            if count == 0 {
                return Err(io::ErrorKind::WriteZero.into());
            }
            self.unsent.advance(count);
        }
        self.input.flush().await
    }
}

impl Receiver {
    /// The next frame. The end of the stream is an error.
    ///
    /// # Cancel safety
    /// Dropping the future loses nothing.
    pub(super) async fn next(&mut self) -> io::Result<FromBridge> {
        loop {
            if let Some(frame) = self.decoder.next().map_err(io::Error::other)? {
                return Ok(frame);
            }
            match self.output.next().await {
                Some(piece) => self.decoder.feed(&piece?),
                None => return Err(io::Error::new(io::ErrorKind::UnexpectedEof, "the bridge has ended")),
            }
        }
    }
}

impl fmt::Debug for Streams {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Streams").finish_non_exhaustive()
    }
}

impl fmt::Debug for Connection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Connection").field("unsent", &self.sender.unsent.len()).finish_non_exhaustive()
    }
}
