//! Where are the packs? In the object storage, one object per push.

use std::{path::Path, sync::Arc};

use futures::TryStreamExt;
use runyard_objectstorage::{
    Body, BodyError, Durability, GetRange, ObjectKey, ObjectStorage, PutMode, PutOptions, PutSize,
};
use tokio::io::AsyncWriteExt;
use tokio_util::io::ReaderStream;

use super::{Error, Result};
use crate::{
    configdata::{ObjectId, Pack, ProjectId},
    ids::Ids,
};

/// How much of a pack is read from the disk at once, in bytes.
const READ_BYTES: usize = 128 * 1024;

/// The packs of all projects.
#[derive(Clone, Debug)]
pub(super) struct Packs {
    storage: Arc<dyn ObjectStorage>,
    ids: Arc<Ids>,
}

impl Packs {
    pub(super) fn new(storage: Arc<dyn ObjectStorage>, ids: Arc<Ids>) -> Self {
        Self { storage, ids }
    }

    /// Stores a pack from a file, durable when the call returns. It counts once its row is committed; until then it is
    /// an object that nobody reads.
    pub(super) async fn store(&self, project: &ProjectId, checksum: ObjectId, file: &Path) -> Result<Pack> {
        let opened = tokio::fs::File::open(file).await.map_err(Error::io("opening", file))?;
        let size = opened.metadata().await.map_err(Error::io("reading", file))?.len();
        let pack = Pack { id: self.ids.uuid(), checksum, size };
        let body = Body::stream(ReaderStream::with_capacity(opened, READ_BYTES).map_err(BodyError::from));
        let options = PutOptions { size: PutSize::Exact(size), durability: Durability::Synced, mode: PutMode::Create };
        let stored = self.storage.put(&object_key(project, &pack), body, options).await;
        stored.map_err(|source| Error::Storage { doing: "storing the pack of a push", source })?;
        Ok(pack)
    }

    /// Writes a pack to a new file that survives a crash.
    pub(super) async fn fetch(&self, project: &ProjectId, pack: &Pack, file: &Path) -> Result<()> {
        let failed = |source| Error::Storage { doing: "reading a pack", source };
        let mut object = self.storage.get(&object_key(project, pack), GetRange::Full).await.map_err(failed)?;
        let mut opened = tokio::fs::File::create(file).await.map_err(Error::io("creating", file))?;
        while let Some(piece) = object.stream.try_next().await.map_err(failed)? {
            opened.write_all(&piece).await.map_err(Error::io("writing", file))?;
        }
        opened.flush().await.map_err(Error::io("writing", file))?;
        opened.sync_all().await.map_err(Error::io("writing", file))
    }
}

fn object_key(project: &ProjectId, pack: &Pack) -> ObjectKey {
    let key = format!("git/{project}/packs/{}", pack.id);
    ObjectKey::parse(&key).expect("ids are parts of a key")
}
