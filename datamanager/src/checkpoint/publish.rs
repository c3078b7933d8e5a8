//! Is a checkpoint the one that counts?
//!
//! Its manifest is created under the next number, and of several creators one succeeds. That is the fence: a checkpoint
//! that took too long is void, and its files are orphans that a cleaner removes.

use bytes::Bytes;
use runyard_objectstorage::{ObjectStorage, ObjectStorageExt, PutMode};

use crate::{
    Error, Result,
    broken::{self, Broken},
    layout::Layout,
    manifest::{Manifest, format::encode},
};

/// What became of a manifest.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Published {
    /// It is the next one.
    Ours,
    /// Somebody else's has its number: adopt that one.
    Foreign,
}

/// Creates a manifest.
///
/// # Errors
/// It is not known what became of it; doing it again with the same manifest is safe.
pub(crate) async fn publish(storage: &dyn ObjectStorage, layout: &Layout, manifest: &Manifest) -> Result<Published> {
    let key = layout.manifest(manifest.number);
    let bytes: Bytes = encode(manifest).0;
    let mode = if broken::is(Broken::ManifestOverwritten) { PutMode::Overwrite } else { PutMode::Create };
    let Err(error) = storage.put_bytes(&key, bytes.clone(), mode).await else { return Ok(Published::Ours) };
    // Also if it exists: a put that seemed to fail before may have been ours.
    match storage.get_bytes(&key).await {
        Ok(found) if found == bytes => Ok(Published::Ours),
        Ok(_) => Ok(Published::Foreign),
        Err(_) => Err(Error::storage("writing a manifest")(error)),
    }
}
