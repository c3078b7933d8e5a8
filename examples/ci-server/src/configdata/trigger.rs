//! Which pushes are still to become runs?
//!
//! A trigger is written in the transaction of its push and removed when its runs exist, so a crash between the two
//! loses nothing.

use std::fmt;

use bytes::Bytes;
use futures::{StreamExt, stream, stream::BoxStream};
use runyard_datamanager::{Collection, DataManagerExt, KeyRange};
use serde::{Deserialize, Serialize};

use super::{ConfigData, ObjectId, ProjectId, RefName, Result};
use crate::ids::hex;

/// Appended to, so their order is the order of the pushes.
pub(super) const TRIGGERS: Collection<Trigger> = Collection::new("triggers");

/// A branch or tag that was created or updated.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Trigger {
    pub(crate) project: ProjectId,
    #[serde(rename = "ref")]
    pub(crate) name: RefName,
    /// None: the ref was created.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) old: Option<ObjectId>,
    /// What it points at now: a commit, or an annotated tag.
    pub(crate) new: ObjectId,
}

/// Names a trigger; never used twice. Its text is hexadecimal.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct TriggerKey(Bytes);

impl fmt::Display for TriggerKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&hex(&self.0))
    }
}

impl fmt::Debug for TriggerKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
    }
}

impl ConfigData {
    /// All triggers, in the order of their pushes.
    #[cfg(test)]
    pub(crate) async fn triggers(&self) -> Result<Vec<(TriggerKey, Trigger)>> {
        let rows = self.data.read_all(&self.data.snapshot(), &TRIGGERS, KeyRange::all()).await?;
        Ok(rows.into_iter().map(|(key, trigger)| (TriggerKey(key), trigger)).collect())
    }

    /// All triggers that there are, then each new one as soon as its push is committed.
    pub(crate) async fn follow_triggers(&self) -> Result<BoxStream<'static, Result<(TriggerKey, Trigger)>>> {
        let at = self.data.snapshot();
        let present = self.data.read_all(&at, &TRIGGERS, KeyRange::all()).await?;
        let present = present.into_iter().map(|(key, trigger)| Ok((TriggerKey(key), trigger)));
        let new = self.data.follow(at.position()).flat_map(|committed| {
            let new: Vec<Result<_>> = match committed {
                Err(error) => vec![Err(error.into())],
                Ok(committed) => committed
                    .changes
                    .into_iter()
                    .filter(|change| change.collection == TRIGGERS.name())
                    .filter_map(|change| {
                        let decoded = TRIGGERS.decode(&change.key, &change.value?);
                        Some(decoded.map(|trigger| (TriggerKey(change.key), trigger)).map_err(Into::into))
                    })
                    .collect(),
            };
            stream::iter(new)
        });
        Ok(stream::iter(present).chain(new).boxed())
    }

    /// Waits until a project has no trigger: the runs of every push so far exist.
    pub(crate) async fn triggers_handled(&self, project: &ProjectId) -> Result<()> {
        let mut changes = self.data.follow(self.data.snapshot().position());
        loop {
            let triggers = self.data.read_all(&self.data.snapshot(), &TRIGGERS, KeyRange::all()).await?;
            if !triggers.iter().any(|(_, trigger)| trigger.project == *project) {
                return Ok(());
            }
            let Some(change) = changes.next().await else { return Ok(()) };
            change?;
        }
    }

    /// Forgets a trigger whose runs exist.
    pub(crate) async fn remove_trigger(&self, key: &TriggerKey) -> Result<()> {
        let removed = self.data.transact(|tx| {
            let key = key.0.clone();
            async move { tx.delete(&TRIGGERS, key).await }
        });
        removed.await?;
        Ok(())
    }
}
