//! Who has a store to itself?
//!
//! A process whose [coordinator](crate::coordinator::Coordinator::sole_holder) says so commits at its start that it has.
//! Every committer that comes to that place of the log refuses from there on, and says who has it; one that has not come
//! there finds its slot taken. A process that shares the store takes it back for all who share it, in the same way.

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use super::WalDataManager;
use crate::{
    Action, DataManager, Error, ReadSet, Result, Transaction,
    broken::{self, Broken},
    record::{BatchId, Logged},
    store::Batch,
    system::{OWNER, SYSTEM, System},
};

/// How often a claim is tried again because somebody else claims the store at the same time.
const ATTEMPTS_MAX: usize = 64;

/// What the entry says.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Owner {
    /// How often the store changed hands.
    epoch: u64,
    /// Who has it, in words; none: all who share it.
    holder: Option<String>,
    /// The id of the writer that claimed it.
    writer: String,
}

/// Whether a committer may go on.
#[derive(Debug)]
pub(crate) struct Ownership {
    writer: String,
    /// Whether this process claimed the store for itself.
    is_sole: bool,
    taken_over: Option<String>,
}

impl Ownership {
    pub(crate) fn new(id: BatchId) -> Self {
        Self { writer: hex(id), is_sole: false, taken_over: None }
    }

    /// Why nothing may be committed; none: everything may.
    pub(crate) fn taken_over(&self) -> Option<&str> {
        self.taken_over.as_deref()
    }

    /// Learns what a batch says.
    pub(crate) fn follow(&mut self, batch: &Batch) {
        let changes = batch.transactions.iter().flat_map(|logged| &logged.committed.changes);
        for change in changes.filter(|change| change.collection == SYSTEM && change.key == OWNER) {
            if let Some(value) = &change.value {
                self.read(value);
            }
        }
    }

    /// Learns what the entry says.
    pub(crate) fn read(&mut self, value: &[u8]) {
        // What cannot be read is nothing to stop for: damage is found by checksums.
        if let Ok(owner) = serde_json::from_slice(value) {
            self.learn(&owner);
        }
    }

    fn learn(&mut self, owner: &Owner) {
        if owner.writer == self.writer {
            (self.is_sole, self.taken_over) = (owner.holder.is_some(), None);
        } else if owner.holder.is_some() || self.is_sole {
            let by = owner.holder.as_deref().unwrap_or("processes that share it through a coordinator");
            self.taken_over = Some(format!(
                "the store was taken over by {by} (epoch {}): end this process, or give it a store of its own; \
                 processes that are to share one need a coordinator of several processes, such as etcd",
                owner.epoch
            ));
        }
    }
}

/// Whether a transaction claims the store.
pub(crate) fn claims(logged: &Logged) -> bool {
    logged.committed.changes.iter().any(|change| change.collection == SYSTEM && change.key == OWNER)
}

fn hex(id: BatchId) -> String {
    id.writer.iter().map(|byte| format!("{byte:02x}")).collect()
}

impl WalDataManager {
    /// Claims the store for a process that is to have it to itself, or for all who share it if one has it to itself.
    pub(super) async fn claim(&self, writer: [u8; 16], holder: Option<String>) -> Result<()> {
        let writer = hex(BatchId { writer, number: 0 });
        let key = Bytes::from_static(OWNER);
        let mut attempt = 1;
        loop {
            let at = self.snapshot();
            let current = match self.get_own(&at, OWNER).await {
                // It was cleaned since; the newest checkpoint has been gone over to.
                Err(Error::PositionExpired { .. }) if attempt < ATTEMPTS_MAX => {
                    attempt += 1;
                    continue;
                }
                read => read?,
            };
            let current: Option<Owner> = current.and_then(|value| serde_json::from_slice(&value).ok());
            if holder.is_none() && current.as_ref().is_none_or(|owner| owner.holder.is_none()) {
                return Ok(());
            }
            let epoch = current.map_or(0, |owner| owner.epoch) + 1;
            let owner = Owner { epoch, holder: holder.clone(), writer: writer.clone() };
            let value = serde_json::to_vec(&owner).expect("text and numbers have a form in JSON");
            let collection = SYSTEM.to_owned();
            let keys = match broken::is(Broken::OwnerUnread) {
                true => Vec::new(),
                false => vec![(collection.clone(), key.clone())],
            };
            let reads = ReadSet { position: at.position(), keys, ..ReadSet::default() };
            let actions = vec![Action::Put { collection, key: key.clone(), value: value.into() }];
            match self.commit_own(Transaction { reads, actions }).await {
                Ok(_) => return Ok(()),
                // Nobody commits anything then, so there is nobody to keep from it.
                Err(Error::Maintenance { .. }) => return Ok(()),
                Err(error) if error.is_conflict() && attempt < ATTEMPTS_MAX => attempt += 1,
                Err(error) => return Err(error),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn owner(holder: Option<&str>, writer: u8) -> Owner {
        let writer = hex(BatchId { writer: [writer; 16], number: 0 });
        Owner { epoch: 3, holder: holder.map(str::to_owned), writer }
    }

    #[test]
    fn a_store_is_lost_to_whoever_has_it_alone_and_by_whoever_had_it_alone() {
        for (ours, theirs, lost) in
            [(None, None, false), (None, Some("b"), true), (Some("a"), None, true), (Some("a"), Some("b"), true)]
        {
            let mut ownership = Ownership::new(BatchId { writer: [1; 16], number: 0 });
            ownership.learn(&owner(ours, 1));
            assert_eq!(ownership.taken_over(), None);
            ownership.learn(&owner(theirs, 2));
            assert_eq!(ownership.taken_over().is_some(), lost, "{ours:?} {theirs:?}");
            assert!(!lost || ownership.taken_over().unwrap().contains("epoch 3"));
            // Who claims it again has it.
            ownership.learn(&owner(ours, 1));
            assert_eq!(ownership.taken_over(), None);
        }
    }

    #[test]
    fn an_entry_is_what_it_was() {
        let value = serde_json::to_string(&owner(Some("process 7 on a"), 0x1f)).unwrap();
        assert_eq!(value, r#"{"epoch":3,"holder":"process 7 on a","writer":"1f1f1f1f1f1f1f1f1f1f1f1f1f1f1f1f"}"#);
    }
}
