//! What does a store hold when it is opened?
//!
//! The format object first, then every batch of the log in order, read ahead. Deterministic: the same objects give
//! the same state, and no clock decides anything. A first start that died anywhere left nothing, or a store without
//! transactions.

use std::sync::Arc;

use futures::{StreamExt, TryStreamExt, stream};
use runyard_objectstorage::ListEntry;

use crate::{
    Error, Result,
    base::Base,
    broken::{self, Broken},
    manifest::{Manifest, Tip},
    store::Store,
    wal::{format, log::LogObjects},
};

/// How many log objects are read ahead.
const READ_AHEAD: usize = 16;

/// Brings an empty state to what the storage holds; makes a new store if there is none.
pub(crate) async fn recover(log: &LogObjects, store: &Arc<Store>, new_store_id: [u8; 16]) -> Result<Tip> {
    let mut format = format::read(&log.storage, &log.layout).await?;
    let last = last_lsn(log).await?.saturating_sub(u64::from(broken::is(Broken::RecoveryStopsEarly)));
    if format.is_none() && last > 0 {
        // Another process has made the store meanwhile: what its log follows on was written before the log.
        format = format::read(&log.storage, &log.layout).await?;
    }
    let format = match format {
        Some(format) => format,
        None if last > 0 => {
            return Err(Error::Corrupt {
                object: log.layout.format().to_string(),
                reason: "it is missing, though the store has a log: bring it back from a backup".to_owned(),
            });
        }
        None => format::create(&log.storage, &log.layout, new_store_id).await?,
    };
    store.reset(Base::new(Arc::new(Manifest::empty(format::genesis(&format)))));
    let mut tip = store.tip();
    let mut batches = stream::iter(1..=last).map(|lsn| log.read_existing(lsn)).buffered(READ_AHEAD);
    while let Some(found) = match batches.try_next().await {
        Err(Error::Corrupt { .. }) if broken::is(Broken::DamageIsEnd) => None,
        next => next?,
    } {
        if found.previous != tip.hash && !broken::is(Broken::ChainUnchecked) {
            return Err(log.corrupt(found.lsn, "it does not follow on the batch before it"));
        }
        tip = Tip { lsn: found.lsn, hash: found.hash };
        store.apply(found.into_batch());
    }
    Ok(tip)
}

/// The number of the last log object; 0 if there is none.
async fn last_lsn(log: &LogObjects) -> Result<u64> {
    let layout = &log.layout;
    log.storage
        .list(layout.log_after(0))
        .try_fold(0, |last, entry| async move {
            Ok(match entry {
                ListEntry::Object(meta) => layout.lsn_of(&meta.key).unwrap_or(last).max(last),
                ListEntry::Prefix(_) => last,
            })
        })
        .await
        .map_err(Error::storage("listing the log"))
}
