//! The frames between a step's supervisor and its clients on `ctl.sock`.
//!
//! ```text
//! frame   = length: u32 LE (of the rest) · tag: u8 · payload
//!
//! client -> supervisor                       supervisor -> client
//!   1 Attach  offset: u64 LE                   16 Output  offset: u64 LE · bytes
//!   2 Ack     offset: u64 LE                   17 Exit    JSON of `ExitStatus`
//!   3 Stop    grace in ms: u64 LE              18 Error   UTF-8 message
//!   4 Touch
//! ```
//!
//! - `Attach` asks for all output from `offset` on; it is pushed as it is produced. The connection that attached last
//!   streams, the one before gets an `Error`. `Exit` follows the last byte of output, on the attached connection.
//! - `Ack` says that everything below `offset` is stored elsewhere. Unacknowledged output is bounded: at the bound
//!   the command blocks.
//! - `Stop` ends the step: SIGTERM to its process group, SIGKILL to the whole tree after the grace period.
//! - Every frame of a client counts as a touch.
//! - The end of the connection without `Exit` means that the supervisor left: [`StepDir`](crate::StepDir) has the rest.
//!
//! A [`Decoder`] is fed with whatever a read returned, so blocking and async clients share it. It never panics, and
//! holds at most one frame more than it was fed.

use std::fmt;

use crate::supervise::ExitStatus;

/// The longest frame that a decoder accepts, without its length field.
pub const FRAME_MAX: usize = 1 << 20;

/// The most output bytes that a supervisor puts into one frame.
pub const OUTPUT_CHUNK_MAX: usize = 64 << 10;

const LENGTH_SIZE: usize = 4;
const ATTACH: u8 = 1;
const ACK: u8 = 2;
const STOP: u8 = 3;
const TOUCH: u8 = 4;
const OUTPUT: u8 = 16;
const EXIT: u8 = 17;
const ERROR: u8 = 18;

/// What a client says to a supervisor.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ClientFrame {
    /// Stream all output from `offset` on to this connection.
    Attach {
        /// The first byte wanted; not below the acknowledged offset.
        offset: u64,
    },
    /// Everything below `offset` may be forgotten.
    Ack {
        /// The first byte that is not acknowledged.
        offset: u64,
    },
    /// End the step.
    Stop {
        /// Milliseconds between SIGTERM and SIGKILL.
        grace_ms: u64,
    },
    /// The executor is alive.
    Touch,
}

/// What a supervisor says to a client.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ServerFrame {
    /// A piece of the output.
    Output {
        /// Where in the output the first byte is.
        offset: u64,
        /// At most [`OUTPUT_CHUNK_MAX`] bytes.
        bytes: Vec<u8>,
    },
    /// The step has ended, and all its output was sent.
    Exit {
        /// How it ended.
        status: ExitStatus,
    },
    /// The supervisor could not do what a frame asked for.
    Error {
        /// Why.
        message: String,
    },
}

/// A frame that goes in one direction of the protocol.
pub trait Frame: Sized {
    /// Appends the frame, with its length field, to `buffer`.
    fn encode(&self, buffer: &mut Vec<u8>);

    /// Reads a frame from its `body`: the tag and the payload, without the length field.
    ///
    /// # Errors
    /// [`ProtocolError`] if the body is not a frame of this direction.
    fn decode(body: &[u8]) -> Result<Self, ProtocolError>;

    /// The frame as bytes.
    fn to_bytes(&self) -> Vec<u8> {
        let mut buffer = Vec::new();
        self.encode(&mut buffer);
        buffer
    }
}

impl Frame for ClientFrame {
    fn encode(&self, buffer: &mut Vec<u8>) {
        match *self {
            ClientFrame::Attach { offset } => put(buffer, ATTACH, &[&offset.to_le_bytes()]),
            ClientFrame::Ack { offset } => put(buffer, ACK, &[&offset.to_le_bytes()]),
            ClientFrame::Stop { grace_ms } => put(buffer, STOP, &[&grace_ms.to_le_bytes()]),
            ClientFrame::Touch => put(buffer, TOUCH, &[]),
        }
    }

    fn decode(body: &[u8]) -> Result<Self, ProtocolError> {
        let (&tag, payload) = body.split_first().ok_or(ProtocolError::Empty)?;
        match tag {
            ATTACH => Ok(ClientFrame::Attach { offset: whole_u64(tag, payload)? }),
            ACK => Ok(ClientFrame::Ack { offset: whole_u64(tag, payload)? }),
            STOP => Ok(ClientFrame::Stop { grace_ms: whole_u64(tag, payload)? }),
            TOUCH if payload.is_empty() => Ok(ClientFrame::Touch),
            TOUCH => Err(ProtocolError::Malformed { tag }),
            tag => Err(ProtocolError::UnknownTag { tag }),
        }
    }
}

impl Frame for ServerFrame {
    fn encode(&self, buffer: &mut Vec<u8>) {
        match self {
            ServerFrame::Output { offset, bytes } => encode_output(buffer, *offset, bytes),
            ServerFrame::Exit { status } => {
                let json =
                    serde_json::to_vec(status).expect("an exit status has no map with keys that are not strings");
                put(buffer, EXIT, &[&json]);
            }
            ServerFrame::Error { message } => put(buffer, ERROR, &[message.as_bytes()]),
        }
    }

    fn decode(body: &[u8]) -> Result<Self, ProtocolError> {
        let (&tag, payload) = body.split_first().ok_or(ProtocolError::Empty)?;
        let malformed = ProtocolError::Malformed { tag };
        match tag {
            OUTPUT => {
                let (offset, bytes) = payload.split_first_chunk().ok_or(malformed)?;
                Ok(ServerFrame::Output { offset: u64::from_le_bytes(*offset), bytes: bytes.to_vec() })
            }
            EXIT => Ok(ServerFrame::Exit { status: serde_json::from_slice(payload).map_err(|_| malformed)? }),
            ERROR => Ok(ServerFrame::Error { message: String::from_utf8(payload.to_vec()).map_err(|_| malformed)? }),
            tag => Err(ProtocolError::UnknownTag { tag }),
        }
    }
}

/// Appends an `Output` frame without an owned copy of its bytes.
pub(crate) fn encode_output(buffer: &mut Vec<u8>, offset: u64, bytes: &[u8]) {
    put(buffer, OUTPUT, &[&offset.to_le_bytes(), bytes]);
}

pub(crate) fn put(buffer: &mut Vec<u8>, tag: u8, parts: &[&[u8]]) {
    let length = 1 + parts.iter().map(|part| part.len()).sum::<usize>();
    debug_assert!(length <= FRAME_MAX, "a frame is cut before it is encoded");
    let length = u32::try_from(length).expect("a frame is far smaller than 4 GiB");
    buffer.extend_from_slice(&length.to_le_bytes());
    buffer.push(tag);
    for part in parts {
        buffer.extend_from_slice(part);
    }
}

fn whole_u64(tag: u8, payload: &[u8]) -> Result<u64, ProtocolError> {
    let bytes = payload.try_into().map_err(|_| ProtocolError::Malformed { tag })?;
    Ok(u64::from_le_bytes(bytes))
}

/// Cuts a stream of bytes into frames.
///
/// ```
/// use runyard_toolbox::protocol::{ClientFrame, Decoder, Frame as _};
///
/// let mut decoder = Decoder::new();
/// let bytes = ClientFrame::Ack { offset: 7 }.to_bytes();
/// decoder.feed(&bytes[..5]);
/// assert_eq!(decoder.next::<ClientFrame>(), Ok(None));
/// decoder.feed(&bytes[5..]);
/// assert_eq!(decoder.next(), Ok(Some(ClientFrame::Ack { offset: 7 })));
/// ```
#[derive(Default)]
pub struct Decoder {
    buffer: Vec<u8>,
    start: usize,
}

impl Decoder {
    /// A decoder at the start of a connection.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds bytes that were read from the connection.
    pub fn feed(&mut self, bytes: &[u8]) {
        if self.start > 0 {
            self.buffer.drain(..self.start);
            self.start = 0;
        }
        self.buffer.extend_from_slice(bytes);
    }

    /// The next whole frame, or `None` until more bytes are fed.
    ///
    /// # Errors
    /// [`ProtocolError`] if the bytes are not a frame. What follows cannot be trusted: close the connection.
    #[expect(clippy::should_implement_trait, reason = "it is no iterator: `None` means not yet")]
    pub fn next<F: Frame>(&mut self) -> Result<Option<F>, ProtocolError> {
        let unread = &self.buffer[self.start..];
        let Some((length, rest)) = unread.split_first_chunk::<LENGTH_SIZE>() else { return Ok(None) };
        let length = u32::from_le_bytes(*length) as usize;
        if length > FRAME_MAX {
            return Err(ProtocolError::TooLong { length });
        }
        let Some(body) = rest.get(..length) else { return Ok(None) };
        let frame = F::decode(body)?;
        self.start += LENGTH_SIZE + length;
        Ok(Some(frame))
    }
}

impl fmt::Debug for Decoder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Decoder").field("unread", &(self.buffer.len() - self.start)).finish()
    }
}

/// Bytes on the socket that are not the protocol.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ProtocolError {
    /// A frame without a tag.
    #[error("a frame is empty")]
    Empty,
    /// A frame that is longer than [`FRAME_MAX`].
    #[error("a frame has {length} bytes, more than {FRAME_MAX}")]
    TooLong {
        /// What its length field says.
        length: usize,
    },
    /// A tag that this version does not know in this direction.
    #[error("a frame has the unknown tag {tag}")]
    UnknownTag {
        /// The tag.
        tag: u8,
    },
    /// A payload that does not fit its tag.
    #[error("the payload of a frame with tag {tag} is malformed")]
    Malformed {
        /// The tag.
        tag: u8,
    },
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::supervise::ExitReason;

    fn hex(bytes: &[u8]) -> String {
        bytes.iter().map(|byte| format!("{byte:02x}")).collect()
    }

    #[test]
    fn the_bytes_of_client_frames_are_frozen() {
        let golden = [
            (ClientFrame::Attach { offset: 0x0102 }, "09000000010201000000000000"),
            (ClientFrame::Ack { offset: u64::MAX }, "0900000002ffffffffffffffff"),
            (ClientFrame::Stop { grace_ms: 10_000 }, "09000000031027000000000000"),
            (ClientFrame::Touch, "0100000004"),
        ];
        for (frame, bytes) in golden {
            assert_eq!(hex(&frame.to_bytes()), bytes, "{frame:?}");
            assert_eq!(ClientFrame::decode(&frame.to_bytes()[4..]), Ok(frame));
        }
    }

    #[test]
    fn the_bytes_of_server_frames_are_frozen() {
        let status = ExitStatus {
            code: 143,
            signal: Some(15),
            reason: ExitReason::Stopped,
            message: None,
            output_end: 3,
            nothing_left: false,
        };
        let json = r#"{"code":143,"signal":15,"reason":"stopped","output_end":3}"#;
        let golden = [
            (ServerFrame::Output { offset: 1, bytes: b"hi".to_vec() }, "0b0000001001000000000000006869".to_owned()),
            (ServerFrame::Exit { status }, format!("{:02x}00000011{}", json.len() + 1, hex(json.as_bytes()))),
            (ServerFrame::Error { message: "no".into() }, "03000000126e6f".to_owned()),
        ];
        for (frame, bytes) in golden {
            assert_eq!(hex(&frame.to_bytes()), bytes, "{frame:?}");
            assert_eq!(ServerFrame::decode(&frame.to_bytes()[4..]), Ok(frame));
        }
    }

    #[test]
    fn what_is_no_frame_is_refused() {
        let refused = |bytes: &[u8]| {
            let mut decoder = Decoder::new();
            decoder.feed(bytes);
            decoder.next::<ClientFrame>().unwrap_err()
        };
        assert_eq!(refused(&[0, 0, 0, 0]), ProtocolError::Empty);
        assert_eq!(refused(&[0xff; 4]), ProtocolError::TooLong { length: u32::MAX as usize });
        assert_eq!(refused(&[1, 0, 0, 0, OUTPUT]), ProtocolError::UnknownTag { tag: OUTPUT });
        assert_eq!(refused(&[2, 0, 0, 0, ATTACH, 0]), ProtocolError::Malformed { tag: ATTACH });
        assert_eq!(refused(&[2, 0, 0, 0, TOUCH, 0]), ProtocolError::Malformed { tag: TOUCH });
    }

    proptest! {
        #[test]
        fn frames_survive_any_cut_of_the_stream(
            outputs in prop::collection::vec((any::<u64>(), prop::collection::vec(any::<u8>(), 0..200)), 0..8),
            cut in 1usize..64,
        ) {
            let sent: Vec<_> =
                outputs.into_iter().map(|(offset, bytes)| ServerFrame::Output { offset, bytes }).collect();
            let stream: Vec<u8> = sent.iter().flat_map(Frame::to_bytes).collect();
            let mut decoder = Decoder::new();
            let mut received: Vec<ServerFrame> = Vec::new();
            for piece in stream.chunks(cut) {
                decoder.feed(piece);
                while let Some(frame) = decoder.next().unwrap() {
                    received.push(frame);
                }
            }
            prop_assert_eq!(received, sent);
        }

        #[test]
        fn no_bytes_make_a_decoder_panic(bytes in prop::collection::vec(any::<u8>(), 0..100)) {
            let _ = ClientFrame::decode(&bytes);
            let _ = ServerFrame::decode(&bytes);
            let mut decoder = Decoder::new();
            decoder.feed(&bytes);
            while let Ok(Some(_)) = decoder.next::<ServerFrame>() {}
        }
    }
}
