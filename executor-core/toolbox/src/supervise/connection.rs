//! One client of a supervisor: what it sent, and what it is still to be sent. Never blocks.

use std::io::{self, Read as _, Write as _};
use std::os::unix::net::UnixStream;

use super::ExitStatus;
use super::spool::Spool;
use crate::protocol::{ClientFrame, Decoder, Frame as _, OUTPUT_CHUNK_MAX, ServerFrame, encode_output};

/// What waits for a slow client, at most (plus one frame); the rest waits in the spool.
const UNSENT_MAX: usize = 256 << 10;

pub(crate) struct Connection {
    stream: UnixStream,
    decoder: Decoder,
    unsent: Vec<u8>,
    sent: usize,
    /// The next byte of output to send, if this client is the one that streams.
    streaming_from: Option<u64>,
    exit_sent: bool,
    open: bool,
}

impl Connection {
    pub(crate) fn new(stream: UnixStream) -> io::Result<Self> {
        stream.set_nonblocking(true)?;
        Ok(Self {
            stream,
            decoder: Decoder::new(),
            unsent: Vec::new(),
            sent: 0,
            streaming_from: None,
            exit_sent: false,
            open: true,
        })
    }

    pub(crate) fn stream(&self) -> &UnixStream {
        &self.stream
    }

    pub(crate) fn is_open(&self) -> bool {
        self.open
    }

    /// Whether bytes wait for the socket to take them.
    pub(crate) fn has_unsent(&self) -> bool {
        self.sent < self.unsent.len()
    }

    pub(crate) fn is_streaming(&self) -> bool {
        self.streaming_from.is_some()
    }

    /// Whether this client was sent all that it is to get.
    pub(crate) fn is_served(&self) -> bool {
        !self.has_unsent() && (self.exit_sent || !self.is_streaming())
    }

    /// The frames that have arrived. What a client sent before it closed the connection is returned too.
    pub(crate) fn receive(&mut self) -> Vec<ClientFrame> {
        let mut buffer = [0; 4096];
        loop {
            match self.stream.read(&mut buffer) {
                Ok(0) => self.open = false,
                Ok(count) => {
                    self.decoder.feed(&buffer[..count]);
                    continue;
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(_) => self.open = false,
            }
            return self.frames();
        }
    }

    fn frames(&mut self) -> Vec<ClientFrame> {
        let mut frames = Vec::new();
        loop {
            match self.decoder.next() {
                Ok(Some(frame)) => frames.push(frame),
                Ok(None) => return frames,
                Err(error) => {
                    self.say(error.to_string());
                    self.flush();
                    self.open = false;
                    return frames;
                }
            }
        }
    }

    pub(crate) fn stream_from(&mut self, offset: u64) {
        self.streaming_from = Some(offset);
        self.exit_sent = false;
    }

    /// Another client streams from now on.
    pub(crate) fn displace(&mut self) {
        if self.streaming_from.take().is_some() && !self.exit_sent {
            self.say("another client has attached to this step".into());
        }
    }

    pub(crate) fn say(&mut self, message: String) {
        ServerFrame::Error { message }.encode(&mut self.unsent);
    }

    /// Sends as much as the socket takes: of the output, and after its end the exit status if there is one.
    pub(crate) fn push(&mut self, spool: &mut Spool, exit: Option<&ExitStatus>) -> io::Result<()> {
        self.unsent.drain(..self.sent);
        self.sent = 0;
        loop {
            let added = self.fill(spool, exit)?;
            self.flush();
            if !added || !self.open || self.has_unsent() {
                return Ok(());
            }
        }
    }

    fn fill(&mut self, spool: &mut Spool, exit: Option<&ExitStatus>) -> io::Result<bool> {
        let mut added = false;
        // A client that acknowledges what it was not sent does not want it.
        self.streaming_from = self.streaming_from.map(|offset| offset.max(spool.acknowledged()));
        let mut chunk = vec![0; if self.lags(spool) { OUTPUT_CHUNK_MAX } else { 0 }];
        while let Some(offset) = self.streaming_from
            && offset < spool.end()
            && self.unsent.len() - self.sent < UNSENT_MAX
        {
            let count = spool.read(offset, &mut chunk)?;
            encode_output(&mut self.unsent, offset, &chunk[..count]);
            self.streaming_from = Some(offset + count as u64);
            added = true;
        }
        if let Some(status) = exit
            && !self.exit_sent
            && self.streaming_from == Some(spool.end())
        {
            ServerFrame::Exit { status: status.clone() }.encode(&mut self.unsent);
            self.exit_sent = true;
            added = true;
        }
        Ok(added)
    }

    fn lags(&self, spool: &Spool) -> bool {
        self.streaming_from.is_some_and(|offset| offset < spool.end())
    }

    fn flush(&mut self) {
        while self.has_unsent() {
            match self.stream.write(&self.unsent[self.sent..]) {
                Ok(count) => self.sent += count,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return,
                Err(_) => {
                    self.open = false;
                    return;
                }
            }
        }
        self.unsent.clear();
        self.sent = 0;
    }
}
