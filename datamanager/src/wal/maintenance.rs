//! How does everybody stop writing, in every process at once?
//!
//! An entry of the log says that the store is being maintained. From its place on, every committer that has seen it
//! refuses everything else, and one that has not seen it yet finds its slot taken. So nothing is committed between the
//! beginning and the end of a maintenance but the end.

use bytes::Bytes;

use super::WalDataManager;
use crate::{
    Action, DataManager, Error, Position, ReadSet, Result, Transaction,
    system::{self, System},
};

impl WalDataManager {
    /// Begins maintenance: every other transaction is refused in every process, with this reason, until
    /// [`leave_maintenance`](Self::leave_maintenance). It outlasts this process.
    ///
    /// # Errors
    /// [`Error::Maintenance`] if the store is in maintenance already.
    pub async fn enter_maintenance(&self, reason: &str) -> Result<Position> {
        self.set_maintenance(Some(reason)).await
    }

    /// Ends maintenance, whoever began it. An import that is under way is refused then.
    pub async fn leave_maintenance(&self) -> Result<Position> {
        self.set_maintenance(None).await
    }

    async fn set_maintenance(&self, reason: Option<&str>) -> Result<Position> {
        let (collection, key) = (system::SYSTEM.to_owned(), Bytes::from_static(system::MAINTENANCE));
        loop {
            self.catch_up().await?;
            if reason.is_none() && self.handle.store.import_pending().is_some() {
                // With the next checkpoint, whoever imports comes too late.
                self.checkpoint().await?;
                continue;
            }
            let at = self.snapshot();
            let current = self.get_own(&at, system::MAINTENANCE).await?;
            let action = match (&current, reason) {
                (Some(current), Some(_)) => {
                    return Err(Error::Maintenance { reason: String::from_utf8_lossy(current).into_owned() });
                }
                (None, None) => return Ok(at.position()),
                (None, Some(reason)) => {
                    let value = Bytes::copy_from_slice(reason.as_bytes());
                    Action::Put { collection: collection.clone(), key: key.clone(), value }
                }
                (Some(_), None) => Action::Delete { collection: collection.clone(), key: key.clone() },
            };
            let import = Action::Delete { collection: collection.clone(), key: Bytes::from_static(system::IMPORT) };
            let keys =
                vec![(collection.clone(), key.clone()), (collection.clone(), Bytes::from_static(system::IMPORT))];
            let reads = ReadSet { position: at.position(), keys, ..ReadSet::default() };
            match self.commit_unchecked(Transaction { reads, actions: vec![action, import] }).await {
                // Somebody else began or ended one.
                Err(error) if error.is_conflict() => {}
                result => return result,
            }
        }
    }
}
