//! Which pushes are still to become runs?
//!
//! A trigger is written in the transaction of its push and removed when its runs exist, so a crash between the two
//! loses nothing.

use bytes::Bytes;
use runyard_datamanager::{Collection, DataManagerExt, KeyRange};
use serde::{Deserialize, Serialize};

use super::{ConfigData, ObjectId, ProjectId, RefName, Result};

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

impl ConfigData {
    /// All triggers with their keys, in the order of their pushes.
    pub(crate) async fn triggers(&self) -> Result<Vec<(Bytes, Trigger)>> {
        Ok(self.data.read_all(&self.data.snapshot(), &TRIGGERS, KeyRange::all()).await?)
    }
}
