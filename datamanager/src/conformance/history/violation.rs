//! What can be wrong with a history?

use std::fmt;

use bytes::Bytes;

use crate::Position;

/// Something that is wrong with a history. Operations are named by where they are in
/// [`History::operations`](super::History::operations).
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Violation {
    /// Positions of the log do not ascend.
    #[error("the log has {position} behind {previous}")]
    LogDisorder {
        /// The one before.
        previous: Position,
        /// The one that should be larger.
        position: Position,
    },
    /// What was acknowledged is not in the log.
    #[error("operation {operation} was acknowledged at {position}, and the log has nothing of it there")]
    Lost {
        /// The operation.
        operation: usize,
        /// Where it should be.
        position: Position,
    },
    /// Several operations were told the same position.
    #[error("operation {operation} was acknowledged at {position}, as operation {other} was")]
    SharedPosition {
        /// The operation.
        operation: usize,
        /// One that was told the same.
        other: usize,
        /// What they were told.
        position: Position,
    },
    /// What was refused is in the log.
    #[error("operation {operation} was refused, and the log has it at {position}")]
    RefusedAndCommitted {
        /// The operation.
        operation: usize,
        /// Where it is.
        position: Position,
    },
    /// The log has something that no operation wrote, or has it twice.
    #[error("no operation wrote what the log has at {position}")]
    Foreign {
        /// Where it is.
        position: Position,
    },
    /// A transaction has read what was not there at its place in the order.
    #[error("operation {operation} at {position} has read {read} at {entry}, and there was {was}")]
    Misread {
        /// The operation.
        operation: usize,
        /// Its place.
        position: Position,
        /// What it looked at.
        entry: Entry,
        /// What it was told.
        read: Value,
        /// What was there.
        was: Value,
    },
    /// What was acknowledged before another transaction began comes after it.
    #[error("operation {earlier} was acknowledged before operation {later} began, and comes after it")]
    Inversion {
        /// The one that was acknowledged.
        earlier: usize,
        /// The one that began later.
        later: usize,
    },
    /// A reader did not see what was acknowledged before it began.
    #[error("operation {earlier} was acknowledged before operation {reader} began, which did not see it")]
    Overlooked {
        /// The one that was acknowledged.
        earlier: usize,
        /// The one that only read.
        reader: usize,
    },
    /// What is there in the end is not what the log says.
    #[error("in the end there is {found} at {entry}, and the log says {logged}")]
    Content {
        /// The entry.
        entry: Entry,
        /// What the log says.
        logged: Value,
        /// What is there.
        found: Value,
    },
    /// An entry that is created once was written twice.
    #[error("{entry} is created once, and was written at {first} and at {second}")]
    NotUnique {
        /// The entry.
        entry: Entry,
        /// Who wrote it first.
        first: Position,
        /// Who wrote it again.
        second: Position,
    },
    /// Somebody was told that an entry is taken which nobody created.
    #[error("operation {operation} lost {entry} to somebody else, and nobody created it")]
    NobodyWon {
        /// The operation.
        operation: usize,
        /// The entry.
        entry: Entry,
    },
    /// No order of its operations explains what was read of an entry.
    #[error("{entry} is not linearizable: no order explains operation {operation}")]
    NotLinearizable {
        /// The entry.
        entry: Entry,
        /// The operation up to which the best order comes.
        operation: usize,
    },
    /// It was given up to look for an order: there are too many.
    #[error("whether {entry} is linearizable was not found out in {steps} steps")]
    Undecided {
        /// The entry.
        entry: Entry,
        /// After how many steps.
        steps: usize,
    },
}

impl Violation {
    /// The operations that it names.
    pub fn operations(&self) -> Vec<usize> {
        match *self {
            Self::Lost { operation, .. }
            | Self::RefusedAndCommitted { operation, .. }
            | Self::Misread { operation, .. }
            | Self::NobodyWon { operation, .. }
            | Self::NotLinearizable { operation, .. } => vec![operation],
            Self::SharedPosition { operation, other, .. } => vec![other, operation],
            Self::Inversion { earlier, later } => vec![earlier, later],
            Self::Overlooked { earlier, reader } => vec![earlier, reader],
            Self::LogDisorder { .. }
            | Self::Foreign { .. }
            | Self::Content { .. }
            | Self::NotUnique { .. }
            | Self::Undecided { .. } => Vec::new(),
        }
    }
}

/// An entry, by name.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Entry {
    /// The collection.
    pub collection: String,
    /// The key.
    pub key: Bytes,
}

impl Entry {
    pub(super) fn new(collection: &str, key: &Bytes) -> Self {
        Self { collection: collection.to_owned(), key: key.clone() }
    }
}

impl fmt::Display for Entry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "`{}/{}`", self.collection, self.key.escape_ascii())
    }
}

/// A value, or that there is none.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Value(pub Option<Bytes>);

impl Value {
    pub(super) fn new(value: Option<&Bytes>) -> Self {
        Self(value.cloned())
    }
}

impl fmt::Display for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Some(value) => write!(f, "`{}`", value.escape_ascii()),
            None => f.write_str("nothing"),
        }
    }
}
