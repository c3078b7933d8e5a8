//! What does a store hold when it is opened?
//!
//! The format object first, then the newest checkpoint, then every batch of the log after it in order, read ahead; no
//! data file is read. Then a second look: had somebody gone on meanwhile and cleaned what was being read, it starts
//! over. Deterministic: the same objects give the same state, and no clock decides anything. A first start that died
//! anywhere left nothing, or a store without transactions. An older position is read back in the same way.

use std::sync::Arc;

use bytes::Bytes;
use futures::{StreamExt, TryStreamExt, stream};
use runyard_objectstorage::ListEntry;

use crate::{
    Error, Position, Result,
    base::Base,
    broken::{self, Broken},
    manifest::{
        Tip,
        newest::{self, Verified},
    },
    record::Hash,
    store::Store,
    system,
    table::DataFiles,
    wal::{clean::decide::MANIFESTS_KEPT, floor::FloorWatch, format, log::LogObjects},
};

/// How many log objects are read ahead.
const READ_AHEAD: usize = 32;

/// How often an opening starts over because checkpoints overtake it.
const ATTEMPTS_MAX: usize = 16;

/// Where a store is read from, and how.
#[derive(Clone, Debug)]
pub(crate) struct Source {
    pub(crate) log: LogObjects,
    pub(crate) floor: FloorWatch,
    pub(crate) files: DataFiles,
    pub(crate) history_transactions_max: u64,
    pub(crate) recent_bytes_max: usize,
}

/// What a store was found to hold.
#[derive(Debug)]
pub(crate) struct Recovered {
    pub(crate) store: Arc<Store>,
    pub(crate) base: Arc<Base>,
    /// The last batch that was applied.
    pub(crate) tip: Tip,
    /// The numbers and sizes of the batches after the checkpoint.
    pub(crate) batches: Vec<(u64, usize)>,
    /// Why the store is in maintenance mode; none: it is not.
    pub(crate) maintenance: Option<String>,
}

/// The format object of a store, or of a new one if `new_store_id` is given and there is none.
pub(crate) async fn format(log: &LogObjects, new_store_id: Option<[u8; 16]>) -> Result<Bytes> {
    if let Some(format) = format::read(&log.storage, &log.layout).await? {
        return Ok(format);
    }
    if !newest::numbers(log).await?.is_empty() || last_lsn(log, 0).await? > 0 {
        // Somebody else may have made the store since.
        return format::read(&log.storage, &log.layout).await?.ok_or_else(|| Error::Corrupt {
            object: log.layout.format().to_string(),
            reason: "it is missing, though the store has a log or checkpoints: bring it back from a backup".to_owned(),
        });
    }
    match new_store_id {
        Some(id) => format::create(&log.storage, &log.layout, id).await,
        None => {
            let reason = format!("there is no store at the base path `{}` to be read", log.layout.base_path());
            Err(Error::Refused { reason })
        }
    }
}

/// Goes back from a newest checkpoint that does not verify to the one before, and removes the damaged manifest.
pub(crate) async fn go_back(source: &Source, genesis: Hash) -> Result<()> {
    let numbers = newest::numbers(&source.log).await?;
    let Some(damaged) = numbers.last().copied() else { return Ok(()) };
    let Err(Error::Corrupt { .. }) = newest::read_chained(&source.log, damaged, genesis).await else { return Ok(()) };
    let before = base_of(source, numbers.iter().rev().nth(1).copied().unwrap_or_default(), genesis).await?;
    // Only once the log is known to lead on from there.
    let replayed = replay_all(source, before).await?;
    let key = source.log.layout.manifest(damaged);
    if replayed.store.import_pending() == Some(damaged) {
        let reason = "it may be the only one that has what was imported: bring it back from a backup, or import again, \
                      into a new store";
        return Err(Error::Corrupt { object: key.to_string(), reason: reason.to_owned() });
    }
    tracing::warn!(manifest = %key, "removing a checkpoint that does not verify, as the operator asked for");
    source.log.storage.delete(&key).await.map_err(Error::storage("removing a damaged checkpoint"))
}

/// Reads what a store holds.
pub(crate) async fn recover(source: &Source, genesis: Hash) -> Result<Recovered> {
    for _ in 0..ATTEMPTS_MAX {
        let number = newest::numbers(&source.log).await?.last().copied().unwrap_or_default();
        let result = read(source, number, genesis).await;
        if let Err(Error::Storage { .. }) = result {
            return result;
        }
        if is_still_whole(source, number, result.as_ref().ok()).await? {
            return result;
        }
        tracing::info!(manifest = number, "newer checkpoints came while the store was being read; starting over");
    }
    Err(Error::storage("opening the store")(runyard_objectstorage::Error::Unavailable {
        doing: "reading",
        name: source.log.layout.base_path().to_owned(),
        source: "newer checkpoints always came before the last one was read".into(),
    }))
}

/// Whether nothing that was read, or was missing, can have been cleaned meanwhile.
async fn is_still_whole(source: &Source, number: u64, recovered: Option<&Recovered>) -> Result<bool> {
    let floor = source.floor.list().await?;
    let newest = newest::numbers(&source.log).await?.last().copied().unwrap_or_default();
    Ok(match recovered {
        _ if broken::is(Broken::StaleManifestBelieved) => true,
        Some(recovered) => {
            floor.lsn <= recovered.base.manifest().tip.lsn + 1 && newest < number + MANIFESTS_KEPT as u64
        }
        None => newest == number,
    })
}

async fn read(source: &Source, number: u64, genesis: Hash) -> Result<Recovered> {
    let base = base_of(source, number, genesis).await?;
    replay_all(source, base).await
}

/// Reads what a store held at an older position, from the newest checkpoint at or before it that there still is.
///
/// # Errors
/// [`Error::PositionExpired`] if there is none, or the log after it was cleaned.
pub(crate) async fn read_back(source: &Source, position: Position, genesis: Hash) -> Result<Recovered> {
    let expired = |oldest: Position| Error::PositionExpired { position, oldest };
    let mut oldest = Position::ZERO;
    let mut base = None;
    let numbers = newest::numbers(&source.log).await?;
    for number in numbers.into_iter().rev() {
        // Gone since it was listed: so are those before it.
        let Some(Verified { manifest, .. }) = newest::read(&source.log, number).await? else { break };
        if manifest.position <= position {
            base = Some(Base::new(Arc::new(manifest), source.files.clone()));
            break;
        }
        oldest = manifest.position;
    }
    let base = base.unwrap_or_else(|| Base::empty(genesis));
    let first = base.manifest().tip.lsn + 1;
    let recovered = replay(source, base, position.lsn, position).await;
    // Whatever was read is only good if it cannot have been cleaned before.
    if first <= position.lsn && first < source.floor.list().await?.lsn {
        return Err(expired(oldest));
    }
    recovered
}

async fn replay_all(source: &Source, base: Arc<Base>) -> Result<Recovered> {
    let covered = base.manifest().tip.lsn;
    let last = last_lsn(&source.log, covered).await?;
    let last = if broken::is(Broken::RecoveryStopsEarly) { last.saturating_sub(1).max(covered) } else { last };
    replay(source, base, last, Position { lsn: last, index: u32::MAX }).await
}

/// The checkpoint of a number; 0 is the state of a store that has none.
async fn base_of(source: &Source, number: u64, genesis: Hash) -> Result<Arc<Base>> {
    if number == 0 {
        return Ok(Base::empty(genesis));
    }
    let Verified { manifest, .. } = newest::read_chained(&source.log, number, genesis).await?;
    Ok(Base::new(Arc::new(manifest), source.files.clone()))
}

/// Applies the log after a checkpoint up to a batch, and of that up to a position.
async fn replay(source: &Source, base: Arc<Base>, last: u64, until: Position) -> Result<Recovered> {
    let log = &source.log;
    let store = Store::new(Arc::clone(&base), source.history_transactions_max, source.recent_bytes_max);
    let mut tip = base.manifest().tip;
    let mut maintenance = base.manifest().maintenance.clone();
    let mut sizes = Vec::new();
    let found = stream::iter(tip.lsn + 1..=last).map(|lsn| log.read_existing(lsn)).buffered(READ_AHEAD);
    let mut found = std::pin::pin!(found);
    while let Some(found) = match found.try_next().await {
        Err(Error::Corrupt { .. }) if broken::is(Broken::DamageIsEnd) => None,
        next => next?,
    } {
        if found.previous != tip.hash && !broken::is(Broken::ChainUnchecked) {
            return Err(log.corrupt(found.lsn, "it does not follow on the batch before it"));
        }
        tip = Tip { lsn: found.lsn, hash: found.hash };
        sizes.push((found.lsn, found.bytes));
        let mut batch = found.into_batch();
        batch.transactions.retain(|logged| logged.committed.position <= until);
        system::follow_maintenance(&mut maintenance, &batch);
        store.apply(batch);
    }
    Ok(Recovered { store, base, tip, batches: sizes, maintenance })
}

/// The number of the last log object after `lsn`; `lsn` if there is none.
async fn last_lsn(log: &LogObjects, lsn: u64) -> Result<u64> {
    let layout = &log.layout;
    log.storage
        .list(layout.log_after(lsn))
        .try_fold(lsn, |last, entry| async move {
            Ok(match entry {
                ListEntry::Object(meta) => layout.lsn_of(&meta.key).unwrap_or(last).max(last),
                ListEntry::Prefix(_) => last,
            })
        })
        .await
        .map_err(Error::storage("listing the log"))
}
