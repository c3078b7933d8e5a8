//! How are runs, tasks and executors named across the contract?
//!
//! Each name is a type of its own, so that a task id does not compile where a run id is asked for.

use std::{fmt, sync::Arc};

use serde::{Deserialize, Serialize, Serializer};
use sha2::{Digest, Sha256};

/// The longest id, in bytes.
pub const ID_BYTES_MAX: usize = 64;

/// The longest name of a run, a task or a step, in bytes.
pub const NAME_BYTES_MAX: usize = 100;

/// Why a string is not an id or a name.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{text}` is not a valid {kind}: {reason}")]
pub struct InvalidName {
    /// The refused string, shortened to its first 100 characters.
    pub text: String,
    /// What it was to be ("run id").
    pub kind: &'static str,
    /// The rule that it breaks, as a phrase.
    pub reason: &'static str,
}

/// Ids become parts of file names and of object keys, so the alphabet is the one that needs no escaping anywhere.
fn broken_id_rule(text: &str) -> Option<&'static str> {
    if text.is_empty() {
        return Some("it is empty");
    }
    if text.len() > ID_BYTES_MAX {
        return Some("it is longer than 64 bytes");
    }
    let allowed = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-' || byte == b'_';
    (!text.bytes().all(allowed)).then_some("it may contain only a-z, 0-9, `-` and `_`")
}

fn broken_name_rule(text: &str) -> Option<&'static str> {
    if text.is_empty() {
        return Some("it is empty");
    }
    (text.len() > NAME_BYTES_MAX).then_some("it is longer than 100 bytes")
}

macro_rules! name_type {
    ($(#[$docs:meta])* $type:ident, $kind:literal, $rule:ident) => {
        $(#[$docs])*
        ///
        /// Cheap to clone: copies share their text.
        #[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Deserialize)]
        #[cfg_attr(feature = "http", derive(schemars::JsonSchema), schemars(with = "String"))]
        #[serde(try_from = "String")]
        pub struct $type(Arc<str>);

        impl $type {
            /// Checks `text` against the rules of the type.
            ///
            /// # Errors
            /// [`InvalidName`] names the rule that is broken.
            pub fn parse(text: impl Into<String>) -> Result<Self, InvalidName> {
                let text = text.into();
                match $rule(&text) {
                    None => Ok(Self(text.into())),
                    Some(reason) => {
                        Err(InvalidName { text: text.chars().take(100).collect(), kind: $kind, reason })
                    }
                }
            }

            /// The name as text.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl TryFrom<String> for $type {
            type Error = InvalidName;

            fn try_from(text: String) -> Result<Self, InvalidName> {
                Self::parse(text)
            }
        }

        impl From<$type> for String {
            fn from(name: $type) -> Self {
                name.as_str().to_owned()
            }
        }

        impl Serialize for $type {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.serialize_str(&self.0)
            }
        }

        impl std::str::FromStr for $type {
            type Err = InvalidName;

            fn from_str(text: &str) -> Result<Self, InvalidName> {
                Self::parse(text)
            }
        }

        impl fmt::Display for $type {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl fmt::Debug for $type {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{}({:?})", stringify!($type), self.0)
            }
        }

        impl AsRef<str> for $type {
            fn as_ref(&self) -> &str {
                &self.0
            }
        }
    };
}

name_type! {
    /// Names one execution of a run config. At most 64 bytes of `a-z`, `0-9`, `-` and `_`.
    RunId, "run id", broken_id_rule
}
name_type! {
    /// Names one task of one run, or of several runs that share it after a restart. Same alphabet as [`RunId`].
    TaskId, "task id", broken_id_rule
}
name_type! {
    /// Names an executor; it keeps its id on disk. Same alphabet as [`RunId`].
    ExecutorId, "executor id", broken_id_rule
}
name_type! {
    /// What a definition calls a task: 1 to 100 bytes, any characters, unique in its run.
    TaskName, "task name", broken_name_rule
}

impl RunId {
    /// The id of the trace that everything about the run belongs to, in whichever process it happens: 32 hexadecimal
    /// digits, as W3C Trace Context has it. It follows from the id of the run, so nobody has to hand it on.
    pub fn trace_id(&self) -> String {
        let hash: [u8; 32] = Sha256::digest(self.as_str()).into();
        hash[..16].iter().map(|byte| format!("{byte:02x}")).collect()
    }

    /// A span for what a process does about the run; nothing is computed if nobody collects it.
    pub fn span(&self, doing: &'static str) -> tracing::Span {
        let span = tracing::info_span!("run", doing, run = %self, trace_id = tracing::field::Empty);
        if !span.is_disabled() {
            span.record("trace_id", self.trace_id());
        }
        span
    }
}

/// Names a stream of output inside a task: its setup, or one of its steps.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "http", derive(schemars::JsonSchema), schemars(with = "String"))]
#[serde(try_from = "String", into = "String")]
pub enum StepRef {
    /// Everything that happens before the first step.
    Setup,
    /// The step at this index, counted from 0.
    Step(u32),
}

impl fmt::Display for StepRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Setup => f.write_str("setup"),
            Self::Step(index) => write!(f, "{index}"),
        }
    }
}

impl std::str::FromStr for StepRef {
    type Err = InvalidName;

    fn from_str(text: &str) -> Result<Self, InvalidName> {
        if text == "setup" {
            return Ok(Self::Setup);
        }
        text.parse().map(Self::Step).map_err(|_| InvalidName {
            text: text.chars().take(100).collect(),
            kind: "step",
            reason: "it is neither `setup` nor the index of a step",
        })
    }
}

impl TryFrom<String> for StepRef {
    type Error = InvalidName;

    fn try_from(text: String) -> Result<Self, InvalidName> {
        text.parse()
    }
}

impl From<StepRef> for String {
    fn from(step: StepRef) -> Self {
        step.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_take_only_what_needs_no_escaping() {
        for good in ["a", "run-1", "0_z"] {
            assert_eq!(RunId::parse(good).expect(good).as_str(), good);
        }
        for bad in ["", "A", "a/b", "a.b", "ü", &"x".repeat(65)] {
            RunId::parse(bad).expect_err(bad);
        }
    }

    #[test]
    fn a_step_reference_reads_back_as_written() {
        for step in [StepRef::Setup, StepRef::Step(0), StepRef::Step(41)] {
            assert_eq!(step.to_string().parse::<StepRef>(), Ok(step));
        }
        "one".parse::<StepRef>().expect_err("not a step");
    }
}
