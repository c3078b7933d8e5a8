//! How is a long response read line by line?

use std::{collections::VecDeque, time::Duration};

use bytes::{Bytes, BytesMut};
use futures::{StreamExt as _, stream::BoxStream};

use super::wire::LINE_BYTES_MAX;
use crate::contract::StreamError;

/// Cuts what comes into lines. A line that does not end is none.
#[derive(Debug, Default)]
pub struct Splitter {
    open: BytesMut,
    /// How much of the open line was looked through.
    searched: usize,
}

impl Splitter {
    /// Takes in what came; returns the lines that ended, without their ends. Empty ones are left out.
    ///
    /// # Errors
    /// If a line is longer than [`LINE_BYTES_MAX`].
    pub fn push(&mut self, came: &[u8]) -> Result<Vec<Bytes>, StreamError> {
        self.open.extend_from_slice(came);
        let mut lines = Vec::new();
        while let Some(at) = self.open[self.searched..].iter().position(|byte| *byte == b'\n') {
            let line = self.open.split_to(self.searched + at + 1).freeze();
            self.searched = 0;
            if line.len() > 1 {
                lines.push(line.slice(..line.len() - 1));
            }
        }
        self.searched = self.open.len();
        if self.searched > LINE_BYTES_MAX {
            return Err(format!("a line is longer than {LINE_BYTES_MAX} bytes").into());
        }
        Ok(lines)
    }
}

/// Reads the lines of a response. Silence is an error.
pub struct Lines {
    body: BoxStream<'static, Result<Bytes, StreamError>>,
    splitter: Splitter,
    ready: VecDeque<Bytes>,
    silence_max: Duration,
}

impl Lines {
    /// The lines of a response, of which something comes at least every `silence_max`.
    pub fn new(response: reqwest::Response, silence_max: Duration) -> Self {
        let body = response.bytes_stream().map(|piece| piece.map_err(StreamError::from)).boxed();
        Self { body, splitter: Splitter::default(), ready: VecDeque::new(), silence_max }
    }

    /// The next line that is not empty; none at the end.
    ///
    /// # Errors
    /// If the connection breaks, or nothing comes for too long.
    ///
    /// # Cancel safety
    /// Dropping the future loses nothing.
    pub async fn next(&mut self) -> Result<Option<Bytes>, StreamError> {
        loop {
            if let Some(line) = self.ready.pop_front() {
                return Ok(Some(line));
            }
            let next = tokio::time::timeout(self.silence_max, self.body.next());
            let came = next.await.map_err(|_| format!("nothing came for {} s", self.silence_max.as_secs()))?;
            match came {
                Some(came) => self.ready.extend(self.splitter.push(&came?)?),
                None => return Ok(None),
            }
        }
    }
}

impl std::fmt::Debug for Lines {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Lines").field("ready", &self.ready.len()).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_whole_however_they_come() {
        let text = b"one\n\ntwo\nthree";
        for length in 1..=text.len() {
            let mut splitter = Splitter::default();
            let lines: Vec<Bytes> =
                text.chunks(length).flat_map(|came| splitter.push(came).expect("short lines")).collect();
            assert_eq!(lines, ["one", "two"], "in pieces of {length}");
        }
    }
}
