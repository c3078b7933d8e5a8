//! What does one transaction look like once it has a place in the order?

use bytes::Bytes;

use crate::{Action, Change, Committed, Position, Transaction};

/// A transaction in the log: what followers see of it, and the change groups that it took.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Logged {
    pub(crate) committed: Committed,
    pub(crate) groups: Vec<String>,
}

impl Logged {
    /// Gives a transaction its place, and with it the keys of its appends.
    pub(crate) fn new(position: Position, transaction: Transaction) -> Self {
        let mut appends = 0;
        let changes = transaction.actions.into_iter().map(|action| match action {
            Action::Put { collection, key, value } => Change { collection, key, value: Some(value) },
            Action::Delete { collection, key } => Change { collection, key, value: None },
            Action::Append { collection, value } => {
                let key = Bytes::copy_from_slice(&position.append_key(appends));
                appends += 1;
                Change { collection, key, value: Some(value) }
            }
        });
        Self { committed: Committed { position, changes: changes.collect() }, groups: transaction.reads.groups }
    }
}
