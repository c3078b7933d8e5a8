//! Is damage told, and never built on?
//!
//! After the last check of a world, one object of its storage is damaged. Whoever reads it must say which one it is, or
//! read everything as it was.

use std::{collections::BTreeMap, sync::Arc};

use bytes::Bytes;
use runyard_datamanager::{DataManager, Error, WalDataManager};
use runyard_objectstorage::{MemoryStorage, ObjectKey, ObjectStorage, ObjectStorageExt, PutMode};

use crate::{batch::forge_predecessor, random::Random, simulate::open_fresh, world::World};

/// What a store was before the damage.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Found {
    /// That of its state.
    pub(crate) hash: [u8; 32],
    /// Up to which batch its newest checkpoint goes.
    pub(crate) covered: u64,
}

/// Without its newest checkpoint, a store is the same: the one before is whole, and the log after it is there.
pub(crate) async fn go_back(world: &World, found: &Found) -> Result<(), String> {
    let copy = Arc::new(MemoryStorage::new());
    let objects = world.disk.objects().list_objects("").await.map_err(|error| error.to_string())?;
    let manifests = keys(world, "manifest").await?;
    let Some(newest) = manifests.last() else { return Ok(()) };
    for key in objects.into_iter().map(|meta| meta.key).filter(|key| key != newest) {
        let bytes = world.disk.objects().get_bytes(&key).await.map_err(|error| error.to_string())?;
        copy.put_bytes(&key, bytes, PutMode::Create).await.map_err(|error| error.to_string())?;
    }
    match read_all(world, copy).await {
        Ok(hash) if hash == found.hash => world.count("checkpoints that were gone back from"),
        other => return Err(format!("without `{newest}`, the store is {other:?}")),
    }
    Ok(())
}

/// Appends a batch that is well formed, but belongs to another log: nobody may apply it.
pub(crate) async fn append_forged(
    world: &World,
    log: &BTreeMap<u64, Bytes>,
    alive: Option<&WalDataManager>,
) -> Result<(), String> {
    let Some(((last, bytes), data)) = log.last_key_value().zip(alive) else { return Ok(()) };
    let (lsn, mut forged) = (last + 1, bytes.to_vec());
    forged[8..16].copy_from_slice(&lsn.to_le_bytes());
    let key = log_key(world, lsn);
    let put = world.disk.objects().put_bytes(&key, forge_predecessor(&forged), PutMode::Create).await;
    put.map_err(|error| error.to_string())?;
    match data.catch_up().await {
        Err(Error::Corrupt { object, .. }) if object == key.as_str() => Ok(()),
        other => Err(format!("a batch of another log was appended, and catching up said {other:?}")),
    }
}

/// Damages an object, or removes it.
pub(crate) async fn damage(world: &World, found: &Found) -> Result<(), String> {
    let random = &mut Random::new(world.profile.seed, 2);
    let kind = random.pick(&["log", "log", "manifest", "data", "data", "floor"]);
    let keys = keys(world, kind).await?;
    if keys.is_empty() {
        return Ok(());
    }
    let key = &keys[match random.chance(300) {
        true => keys.len() - 1,
        false => random.below(keys.len() as u64) as usize,
    }];
    let objects = world.disk.objects();
    let mut bytes = objects.get_bytes(key).await.map_err(|error| error.to_string())?.to_vec();
    let is_removed = match random.below(4) {
        0 => true,
        1 => {
            bytes.truncate(random.below(bytes.len() as u64) as usize);
            false
        }
        2 if kind == "log" => {
            bytes = forge_predecessor(&bytes).to_vec();
            false
        }
        _ => {
            let at = random.below(bytes.len() as u64) as usize;
            bytes[at] ^= 1 << random.below(8);
            false
        }
    };
    let done = match is_removed {
        true => objects.delete(key).await,
        false => objects.put_bytes(key, bytes.into(), PutMode::Overwrite).await,
    };
    done.map_err(|error| error.to_string())?;
    world.trace(|| format!("{key} is {}", if is_removed { "removed" } else { "damaged" }));
    let is_newest = Some(key) == keys.last();
    let must_be_told = match kind {
        // Without its last batch, a log is a log.
        "log" => *key >= log_key(world, found.covered + 1) && !(is_removed && is_newest),
        // And without its newest checkpoint or its floor, a store is one that has not come so far.
        "manifest" | "floor" => is_newest && !is_removed,
        _ => false,
    };
    // A checkpoint does not follow on one that is damaged.
    let names_it = |object: &str| {
        object == key.as_str() || kind == "manifest" && Some(object) == keys.last().map(ObjectKey::as_str)
    };
    let is_last_batch = kind == "log" && is_removed && is_newest;
    match read_all(world, Arc::clone(&world.disk) as _).await {
        Err(Error::Corrupt { object, .. }) if names_it(&object) => {
            world.count(match kind {
                "log" => "damaged logs that were told",
                "manifest" => "damaged checkpoints that were told",
                "data" => "damaged data files that were told",
                _ => "damaged floors that were told",
            });
            Ok(())
        }
        Ok(hash) if !must_be_told && (hash == found.hash || is_last_batch) => Ok(()),
        other => Err(format!("`{key}` was damaged, and the store is {other:?}")),
    }
}

/// Opens a store and reads everything in it.
async fn read_all(world: &World, storage: Arc<dyn ObjectStorage>) -> Result<[u8; 32], Error> {
    let data = open_fresh(world, storage).await?;
    data.state_hash(&data.snapshot()).await
}

/// The objects of a kind, ascending.
async fn keys(world: &World, kind: &str) -> Result<Vec<ObjectKey>, String> {
    let objects = world.disk.objects().list_objects("").await.map_err(|error| error.to_string())?;
    let of_kind = |key: &ObjectKey| world.disk.kind_of(key).is_some_and(|(of, _)| of == kind);
    Ok(objects.into_iter().map(|meta| meta.key).filter(of_kind).collect())
}

fn log_key(world: &World, lsn: u64) -> ObjectKey {
    world.disk.key(&format!("log/{lsn:020}"))
}
