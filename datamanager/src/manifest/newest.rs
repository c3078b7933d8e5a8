//! Which checkpoint is the newest, and is it whole?
//!
//! The one with the highest number. If it does not verify, nothing is guessed: to go back to the one before is the
//! decision of an operator, and loses nothing, because the log after the newest checkpoints is kept.

use futures::TryStreamExt;
use runyard_objectstorage::{GetRange, ListEntry, ObjectStorageExt};

use super::{Manifest, format};
use crate::{Error, Result, record::Hash, wal::log::LogObjects};

/// What to do about a newest checkpoint that does not verify.
pub(crate) const ADVICE: &str = "bring it back from a backup, or open the store once with `previous_manifest`, which goes back to \
                      the checkpoint before and takes what came after from the log";

/// A checkpoint, and the hash that the next one names it by.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Verified {
    pub(crate) manifest: Manifest,
    pub(crate) hash: Hash,
}

/// The numbers of all manifests, ascending.
pub(crate) async fn numbers(objects: &LogObjects) -> Result<Vec<u64>> {
    let number = |entry| match entry {
        ListEntry::Object(meta) => objects.layout.manifest_number_of(&meta.key),
        ListEntry::Prefix(_) => None,
    };
    let entries = objects.storage.list(objects.layout.manifests_after(0));
    let numbers = entries.try_filter_map(|entry| std::future::ready(Ok(number(entry)))).try_collect();
    numbers.await.map_err(Error::storage("listing the checkpoints"))
}

/// Reads a manifest; none if it does not exist.
pub(crate) async fn read(objects: &LogObjects, number: u64) -> Result<Option<Verified>> {
    let bytes = match objects.storage.get_bytes(&objects.layout.manifest(number)).await {
        Ok(bytes) => bytes,
        Err(error) if error.is_not_found() => return Ok(None),
        Err(runyard_objectstorage::Error::Corrupt { reason, .. }) => return Err(corrupt(objects, number, &reason)),
        Err(error) => return Err(Error::storage("reading a checkpoint")(error)),
    };
    let (manifest, hash) = format::decode(number, &bytes).map_err(|damage| corrupt(objects, number, damage))?;
    Ok(Some(Verified { manifest, hash }))
}

/// Reads a manifest that was listed, and checks that it follows on the one before.
pub(crate) async fn read_chained(objects: &LogObjects, number: u64, genesis: Hash) -> Result<Verified> {
    let missing = |number| corrupt(objects, number, "it is missing, though it was listed or another one follows it");
    let verified = read(objects, number).await?.ok_or_else(|| missing(number))?;
    let previous = match number {
        1 => genesis,
        _ => hash_of(objects, number - 1).await?.ok_or_else(|| missing(number - 1))?,
    };
    if verified.manifest.previous != previous {
        return Err(corrupt(objects, number, "it does not follow on the checkpoint before it"));
    }
    Ok(verified)
}

/// The hash of a manifest, which is the last thing in it; none if it does not exist.
async fn hash_of(objects: &LogObjects, number: u64) -> Result<Option<Hash>> {
    let range = GetRange::Suffix(size_of::<Hash>() as u64);
    match objects.storage.get_range_bytes(&objects.layout.manifest(number), range).await {
        Ok(bytes) => Ok(bytes[..].try_into().ok()),
        Err(error) if error.is_not_found() => Ok(None),
        Err(error) => Err(Error::storage("reading a checkpoint")(error)),
    }
}

fn corrupt(objects: &LogObjects, number: u64, reason: &str) -> Error {
    Error::Corrupt { object: objects.layout.manifest(number).to_string(), reason: format!("{reason}: {ADVICE}") }
}
