//! How is everything that a store holds written out?
//!
//! Entry by entry, out of a snapshot: it holds the checkpoint that it reads, so nothing that is committed, checkpointed
//! or cleaned by this process meanwhile changes what comes out.

use std::{
    collections::{BTreeMap, VecDeque},
    sync::Arc,
};

use bytes::Bytes;
use futures::{StreamExt, TryStreamExt, stream, stream::BoxStream};

use super::lines::{Header, Trailer, encode, encode_entry};
use crate::{
    DataManager, Error, Result, Snapshot,
    store::{Cursor, StateHash, Store},
    wal::{WalDataManager, format, log::LogObjects},
};

impl WalDataManager {
    /// Everything that is visible in a snapshot, or now, as lines of JSON with their ends: a header, one line for each
    /// entry in the order of collections and keys, and a trailer with what [`import`](Self::import) checks. What the
    /// store keeps for itself is left out.
    ///
    /// What is held in memory does not depend on how much is exported. In a store that another process cleans, an
    /// export ends with [`Error::PositionExpired`] once that process is three checkpoints further on.
    pub fn export(&self, at: Option<Snapshot>) -> BoxStream<'static, Result<Bytes>> {
        let at = at.unwrap_or_else(|| self.snapshot());
        let (store, log) = (Arc::clone(&self.handle.store), self.handle.source.log.clone());
        stream::once(Export::begin(store, log, at))
            .map_ok(|(header, export)| {
                let rest = stream::try_unfold(Some(export), |export| async {
                    match export {
                        Some(export) => export.next().await.map(Some),
                        None => Ok(None),
                    }
                });
                stream::iter([Ok(header)]).chain(rest)
            })
            .try_flatten()
            .boxed()
    }
}

/// An export that came to somewhere.
struct Export {
    store: Arc<Store>,
    at: Snapshot,
    /// The collections that were not begun yet.
    left: VecDeque<String>,
    current: Option<(String, Cursor)>,
    counts: BTreeMap<String, u64>,
    hash: StateHash,
}

impl Export {
    async fn begin(store: Arc<Store>, log: LogObjects, at: Snapshot) -> Result<(Bytes, Self)> {
        let format = format::read(&log.storage, &log.layout).await?;
        let id = format.and_then(|format| format::store_id(&format)).ok_or_else(|| Error::Corrupt {
            object: log.layout.format().to_string(),
            reason: "it is missing".to_owned(),
        })?;
        let header = encode(&Header::new(id, log.layout.base_path().to_owned(), at.position()));
        let left = store.collections(&at)?.into();
        let (counts, hash) = (BTreeMap::new(), StateHash::default());
        Ok((header, Self { store, at, left, current: None, counts, hash }))
    }

    /// The next line, and what comes after it: nothing after the trailer.
    async fn next(mut self) -> Result<(Bytes, Option<Self>)> {
        loop {
            let Some((collection, cursor)) = &mut self.current else {
                let Some(next) = self.left.pop_front() else { break };
                let cursor = self.store.cursor(&self.at, &next)?;
                self.current = Some((next, cursor));
                continue;
            };
            let Some((key, value)) = self.store.next(&self.at, cursor).await? else {
                self.current = None;
                continue;
            };
            self.hash.entry(collection, &key, &value);
            match self.counts.get_mut(collection) {
                Some(count) => *count += 1,
                None => drop(self.counts.insert(collection.clone(), 1)),
            }
            let line = encode_entry(collection, &key, &value);
            return Ok((line, Some(self)));
        }
        let state_hash = hex(&self.hash.finish());
        Ok((encode(&Trailer { counts: self.counts, state_hash }), None))
    }
}

pub(super) fn hex(hash: &[u8]) -> String {
    hash.iter().map(|byte| format!("{byte:02x}")).collect()
}
