//! Was everything right that the processes of a shared store were told?
//!
//! For whoever runs a data manager under load and faults: each process records what it asked and what it was told, as
//! [`Operation`]s on a clock that all share. Afterwards [`History::check`] compares them with each other, with all that
//! was committed, and with what is there in the end. Pure: plain data in, everything that is wrong out.
//!
//! | file | what is right |
//! |---|---|
//! | `resolve` | what was acknowledged is in the log, once and whole; what was refused is not; nobody else wrote |
//! | `replay` | in the order of the log, every transaction has read what was there: transactions are serializable |
//! | `time` | what was acknowledged before another began comes before it: that order is the one in which things happened |
//! | `names` | of those who create a name exactly one wins |
//! | `linearize` | each key by itself is linearizable, found by a search that looks at no position |
//!
//! The log is a witness, and the first four verify it: they take a time that grows with the history alone. The last one
//! would find wrong positions that agree with each other.
//!
//! ```
//! # #[cfg(feature = "conformance")]
//! # {
//! use std::time::Duration;
//!
//! use bytes::Bytes;
//! use runyard_datamanager::{
//!     Action, Change, Committed, Position,
//!     conformance::history::{History, Operation, Outcome},
//! };
//!
//! let (at, key) = (Position { lsn: 1, index: 0 }, Bytes::from("a"));
//! let put = Action::Put { collection: "c".into(), key: key.clone(), value: "1".into() };
//! let outcome = Outcome::Acknowledged { position: at, returned: Duration::from_millis(5) };
//! let operation = Operation { writes: vec![put], ..Operation::new(0, Duration::ZERO, outcome) };
//! let change = Change { collection: "c".into(), key, value: Some("1".into()) };
//! let mut history = History {
//!     operations: vec![operation],
//!     log: vec![Committed { position: at, changes: vec![change] }],
//!     ..History::default()
//! };
//! // It was acknowledged, it is in the log, and it is not there in the end.
//! assert_eq!(history.check().unwrap_err().len(), 1);
//! history.content.insert(("c".into(), "a".into()), "1".into());
//! assert_eq!(history.check().map(|checked| checked.committed), Ok(1));
//! # }
//! ```

mod linearize;
mod names;
mod replay;
mod resolve;
#[cfg(test)]
mod tests;
mod time;
mod violation;

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use bytes::Bytes;

use crate::{Action, Committed, Position};

pub use violation::{Entry, Value, Violation};

/// What a transaction that was tried once asked for, and what was said of it. A retry is an operation of its own.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Operation {
    /// Which process asked. One that was restarted is another one.
    pub process: u64,
    /// When it was begun, before its snapshot was taken; on a clock that all processes share.
    pub invoked: Duration,
    /// What was said of it.
    pub outcome: Outcome,
    /// What it has read, all of it from one snapshot, and none of it its own writes. All of it is in its read set.
    pub reads: Vec<Read>,
    /// What it wrote. If the outcome is unknown, no other operation may write the same.
    pub writes: Vec<Action>,
    /// Whether it looked into the log before it took its snapshot, so that it must see what any process was told before,
    /// not just its own. Only counts if it wrote nothing: a commit looks by itself.
    pub caught_up: bool,
}

impl Operation {
    /// One that reads and writes nothing.
    pub fn new(process: u64, invoked: Duration, outcome: Outcome) -> Self {
        Self { process, invoked, outcome, reads: Vec::new(), writes: Vec::new(), caught_up: false }
    }
}

/// An entry that was read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Read {
    /// The collection.
    pub collection: String,
    /// The key.
    pub key: Bytes,
    /// What was there; none if nothing.
    pub value: Option<Bytes>,
}

/// What was said of an operation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It is committed, or has read.
    Acknowledged {
        /// Where: what it wrote is there, or its snapshot was from there if it wrote nothing.
        position: Position,
        /// When it was said.
        returned: Duration,
    },
    /// Something that it read had changed, and nothing of it is committed.
    Conflict,
    /// Nothing of it is committed, for another reason.
    Failed,
    /// Nothing was said, or that it is not known: it is committed wholly or not at all, any time after it was begun.
    Unknown,
}

/// What several processes did with a store, from its first transaction on.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct History {
    /// What they did, in any order.
    pub operations: Vec<Operation>,
    /// Everything that was committed, as [`follow`](crate::DataManager::follow) yields it from the beginning. What the
    /// store commits for itself is empty there, and ignored.
    pub log: Vec<Committed>,
    /// What is there in the end: values by collection and key.
    pub content: BTreeMap<(String, Bytes), Bytes>,
    /// The collections whose entries are only ever created, by transactions that read nothing but that there is none.
    pub created_once: BTreeSet<String>,
}

/// What a history that is right consists of.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Checked {
    /// Operations that were acknowledged and wrote something.
    pub committed: usize,
    /// Operations that were acknowledged and only read.
    pub only_read: usize,
    /// Operations of which nothing was said, and which are in the log.
    pub found: usize,
    /// Operations of which nothing was said, and which are not.
    pub not_found: usize,
    /// Operations that conflicted or failed.
    pub refused: usize,
    /// Keys that are linearizable by themselves.
    pub keys: usize,
    /// Names that were created once.
    pub names: usize,
}

impl History {
    /// Checks it.
    ///
    /// # Errors
    /// Everything that is wrong with it, as far as it can be said: what comes of one mistake may be found more than once.
    pub fn check(&self) -> Result<Checked, Vec<Violation>> {
        let mut violations = Vec::new();
        let places = resolve::places(self, &mut violations);
        replay::check(self, &places, &mut violations);
        time::check(self, &places, &mut violations);
        let names = names::check(self, &mut violations);
        let keys = linearize::check(&self.operations, &mut violations);
        if !violations.is_empty() {
            return Err(violations);
        }
        let mut checked = Checked { keys, names, ..Checked::default() };
        for (operation, place) in self.operations.iter().zip(&places) {
            *match operation.outcome {
                Outcome::Acknowledged { .. } if operation.writes.is_empty() => &mut checked.only_read,
                Outcome::Acknowledged { .. } => &mut checked.committed,
                Outcome::Conflict | Outcome::Failed => &mut checked.refused,
                Outcome::Unknown if place.is_some() => &mut checked.found,
                Outcome::Unknown => &mut checked.not_found,
            } += 1;
        }
        Ok(checked)
    }
}
