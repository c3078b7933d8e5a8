//! The frames between an executor and a `bridge` in a pod.
//!
//! Framed as on the socket of a supervisor (see [`crate::protocol`]), over whatever stream in and stream out the
//! executor has: the standard input and output of a program that it starts in a container, say.
//!
//! ```text
//! executor -> bridge                               bridge -> executor
//!   32 Part         a piece of a request's JSON      48 Hello   JSON of `Hello`, first of all
//!   33 Request      its last piece                   49 Output  bytes of a tool
//!   34 Input        bytes for a tool                 50 Reply   JSON of `Reply`
//!   35 EndOfInput
//!   1 to 4          for the supervisor attached to   16 to 18   from the supervisor attached to
//! ```
//!
//! One request after the other: each is answered by one `Reply`, and where a step is attached to there is more (see
//! [`Request::Attach`]). What is left of a request when its stream ends is ended with it; what was started as a step goes on.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::SuperviseSpec;
use crate::protocol::{ClientFrame, Frame, ProtocolError, ServerFrame, put};

/// The version of the frames and of what is in them. Both sides have to be of the same.
pub const BRIDGE_VERSION: u32 = 1;

/// The most bytes of one piece of anything.
pub const PIECE_MAX: usize = 64 << 10;

const PART: u8 = 32;
const REQUEST: u8 = 33;
const INPUT: u8 = 34;
const END_OF_INPUT: u8 = 35;
const HELLO: u8 = 48;
const OUTPUT: u8 = 49;
const REPLY: u8 = 50;

/// What an executor says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ToBridge {
    /// A piece of the JSON of a [`Request`] that is not its last.
    Part(Vec<u8>),
    /// The last piece.
    Request(Vec<u8>),
    /// Bytes for the standard input of a tool.
    Input(Vec<u8>),
    /// The input of a tool is complete.
    EndOfInput,
    /// For the supervisor that is attached to.
    Supervisor(ClientFrame),
}

/// What a bridge says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FromBridge {
    /// It is there.
    Hello(Hello),
    /// Bytes from the standard output of a tool.
    Output(Vec<u8>),
    /// How a request ended.
    Reply(Reply),
    /// From the supervisor that is attached to.
    Supervisor(ServerFrame),
}

/// Who speaks.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hello {
    /// [`BRIDGE_VERSION`] of the program that speaks.
    pub version: u32,
}

/// What a bridge is asked to do.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Request {
    /// Start a step: [`Reply::Done`], [`Reply::AlreadyStarted`].
    Start {
        /// Its number.
        step: u32,
        /// What its shell reads.
        command: String,
        /// The rest; its environment is added to that of the pod.
        spec: Box<SuperviseSpec>,
    },
    /// Send the output of a step: [`Reply::NotStarted`]; or [`Reply::Done`] at once, then the frames of its supervisor up to
    /// its `Exit`, or what there is of them and [`Reply::Lost`].
    Attach {
        /// Its number.
        step: u32,
        /// The first byte that is wanted.
        offset: u64,
    },
    /// End what runs in the pod: [`Reply::Done`].
    Stop {
        /// Milliseconds between SIGTERM and SIGKILL.
        grace_ms: u64,
    },
    /// Make a directory and its parents, for a user: [`Reply::Dir`].
    MakeDir {
        /// Where; a leading `~` is the user's home.
        path: String,
        /// Who; none: the bridge's own user.
        user: Option<String>,
    },
    /// Run a subcommand of the toolbox as a user, with what `Input` brings: `Output`, then [`Reply::ToolEnded`].
    Tool {
        /// The subcommand and its arguments.
        args: Vec<String>,
        /// Where; none: the user's home.
        working_dir: Option<String>,
        /// Added to the environment of the pod.
        environment: BTreeMap<String, String>,
        /// Who; none: the bridge's own user.
        user: Option<String>,
    },
}

/// How a request ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Reply {
    /// As it was asked for.
    Done,
    /// A directory is there.
    Dir {
        /// Its absolute path.
        path: String,
    },
    /// The step was started before.
    AlreadyStarted,
    /// The step was never started, and what was prepared of it is withdrawn.
    NotStarted,
    /// All output that there is was sent; how the step ended is not known, and nothing of it runs any more.
    Lost {
        /// Why, for the task's user.
        message: String,
    },
    /// A tool has ended.
    ToolEnded {
        /// Whether it succeeded.
        success: bool,
        /// What it wrote to its standard error, cut if it is long.
        said: String,
    },
    /// What was asked for cannot be done in this pod, by the doing of the task: an unknown user.
    Refused {
        /// Why, for the task's user.
        message: String,
    },
    /// Something else broke.
    Failed {
        /// What.
        message: String,
    },
}

impl Frame for ToBridge {
    fn encode(&self, buffer: &mut Vec<u8>) {
        match self {
            Self::Part(bytes) => put(buffer, PART, &[bytes]),
            Self::Request(bytes) => put(buffer, REQUEST, &[bytes]),
            Self::Input(bytes) => put(buffer, INPUT, &[bytes]),
            Self::EndOfInput => put(buffer, END_OF_INPUT, &[]),
            Self::Supervisor(frame) => frame.encode(buffer),
        }
    }

    fn decode(body: &[u8]) -> Result<Self, ProtocolError> {
        let (&tag, payload) = body.split_first().ok_or(ProtocolError::Empty)?;
        Ok(match tag {
            PART => Self::Part(payload.to_vec()),
            REQUEST => Self::Request(payload.to_vec()),
            INPUT => Self::Input(payload.to_vec()),
            END_OF_INPUT if payload.is_empty() => Self::EndOfInput,
            END_OF_INPUT => return Err(ProtocolError::Malformed { tag }),
            _ => Self::Supervisor(ClientFrame::decode(body)?),
        })
    }
}

impl Frame for FromBridge {
    fn encode(&self, buffer: &mut Vec<u8>) {
        match self {
            Self::Hello(hello) => put(buffer, HELLO, &[&json(hello)]),
            Self::Output(bytes) => put(buffer, OUTPUT, &[bytes]),
            Self::Reply(reply) => put(buffer, REPLY, &[&json(reply)]),
            Self::Supervisor(frame) => frame.encode(buffer),
        }
    }

    fn decode(body: &[u8]) -> Result<Self, ProtocolError> {
        let (&tag, payload) = body.split_first().ok_or(ProtocolError::Empty)?;
        let malformed = ProtocolError::Malformed { tag };
        Ok(match tag {
            HELLO => Self::Hello(serde_json::from_slice(payload).map_err(|_| malformed)?),
            OUTPUT => Self::Output(payload.to_vec()),
            REPLY => Self::Reply(serde_json::from_slice(payload).map_err(|_| malformed)?),
            _ => Self::Supervisor(ServerFrame::decode(body)?),
        })
    }
}

fn json<T: Serialize>(value: &T) -> Vec<u8> {
    serde_json::to_vec(value).expect("a frame has no map with keys that are not strings")
}

impl Request {
    /// The frames that say it.
    #[must_use]
    pub fn to_frames(&self) -> Vec<u8> {
        let json = json(self);
        let mut pieces = json.chunks(PIECE_MAX).peekable();
        let mut buffer = Vec::with_capacity(json.len() + 64);
        while let Some(piece) = pieces.next() {
            put(&mut buffer, if pieces.peek().is_some() { PART } else { REQUEST }, &[piece]);
        }
        buffer
    }
}

/// Appends an `Output` frame without an owned copy of its bytes.
pub(super) fn encode_output(buffer: &mut Vec<u8>, bytes: &[u8]) {
    put(buffer, OUTPUT, &[bytes]);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::Decoder;

    fn sent(request: &Request) -> Vec<ToBridge> {
        let mut decoder = Decoder::new();
        decoder.feed(&request.to_frames());
        std::iter::from_fn(|| decoder.next().unwrap()).collect()
    }

    #[test]
    fn a_long_request_comes_in_parts() {
        let request = |length| Request::MakeDir { path: "x".repeat(length), user: None };
        assert!(matches!(&sent(&request(10))[..], [ToBridge::Request(_)]));
        let long = request(2 * PIECE_MAX);
        let mut whole = Vec::new();
        for (index, frame) in sent(&long).into_iter().enumerate() {
            match frame {
                ToBridge::Part(piece) if index < 2 => whole.extend(piece),
                ToBridge::Request(piece) if index == 2 => whole.extend(piece),
                other => panic!("{other:?} at {index}"),
            }
        }
        assert_eq!(serde_json::from_slice::<Request>(&whole).unwrap(), long);
    }

    #[test]
    fn frames_of_both_directions_survive_the_stream() {
        let to = [
            ToBridge::Input(b"abc".to_vec()),
            ToBridge::EndOfInput,
            ToBridge::Supervisor(ClientFrame::Ack { offset: 7 }),
        ];
        for frame in to {
            assert_eq!(ToBridge::decode(&frame.to_bytes()[4..]), Ok(frame));
        }
        let from = [
            FromBridge::Hello(Hello { version: BRIDGE_VERSION }),
            FromBridge::Output(b"abc".to_vec()),
            FromBridge::Reply(Reply::ToolEnded { success: false, said: "no".into() }),
            FromBridge::Supervisor(ServerFrame::Output { offset: 3, bytes: b"x".to_vec() }),
        ];
        for frame in from {
            assert_eq!(FromBridge::decode(&frame.to_bytes()[4..]), Ok(frame));
        }
        assert_eq!(ToBridge::decode(&[99]), Err(ProtocolError::UnknownTag { tag: 99 }));
    }
}
