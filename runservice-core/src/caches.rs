//! Where are cache entries kept, and which one is restored?

use runyard_datamanager::{DataManagerExt, KeyRange};
use runyard_executor_core::contract::{ByteStream, CacheHit, CachePut};
use runyard_objectstorage::{Body, Durability, GetRange, PutMode, PutOptions, PutSize};

use crate::{
    Error, Result,
    layout::{self, CACHE_COUNTERS, CACHES},
    rows::CacheRow,
    service::Core,
};

impl Core {
    pub(crate) async fn cache_exists(&self, scope: &str, key: &str) -> Result<bool> {
        let at = self.data.snapshot();
        Ok(self.data.read(&at, &CACHES, layout::cache_key(scope, key)).await?.is_some())
    }

    /// Stores an entry unless the key has one.
    pub(crate) async fn put_cache(&self, scope: &str, key: &str, archive: ByteStream) -> Result<CachePut> {
        if self.cache_exists(scope, key).await? {
            return Ok(CachePut::Exists);
        }
        let id = self.ids.object();
        let object = layout::cache_object(&id);
        // A cache entry can be made again, so it need not survive a crash of the machine.
        let options = PutOptions { size: PutSize::Unknown, durability: Durability::Relaxed, mode: PutMode::Create };
        self.storage
            .put(&object, Body::stream(archive), options)
            .await
            .map_err(Error::storage("storing a cache entry"))?;
        let size = self.storage.head(&object).await.map_err(Error::storage("storing a cache entry"))?.size;
        let row_key = layout::cache_key(scope, key);
        let stored = self.clock.now();
        let (put, _) = self
            .data
            .transact(|tx| {
                let (row_key, id) = (&row_key, id.clone());
                async move {
                    if tx.get(&CACHES, row_key).await?.is_some() {
                        return Ok::<_, Error>(CachePut::Exists);
                    }
                    let sequence = tx.get(&CACHE_COUNTERS, scope).await?.unwrap_or(0) + 1;
                    tx.put(&CACHE_COUNTERS, scope, &sequence).await?;
                    tx.put(&CACHES, row_key, &CacheRow { sequence, object: id, size, stored }).await?;
                    Ok(CachePut::Stored)
                }
            })
            .await?;
        if put == CachePut::Exists {
            self.storage.delete(&object).await.map_err(Error::storage("dropping a cache entry"))?;
        }
        Ok(put)
    }

    /// Opens the entry that the first matching key leads to: an exact match, else the newest with that prefix.
    pub(crate) async fn get_cache(&self, scope: &str, keys: &[String]) -> Result<Option<CacheHit>> {
        for key in keys {
            let Some((key, row)) = self.find_cache(scope, key).await? else { continue };
            match self.storage.get(&layout::cache_object(&row.object), GetRange::Full).await {
                Ok(object) => {
                    let archive = futures::StreamExt::boxed(futures::TryStreamExt::map_err(object.stream, Into::into));
                    return Ok(Some(CacheHit { key, size: object.meta.size, archive }));
                }
                // The row is durable and the object is not: after a crash of the machine it may be gone.
                Err(error) if error.is_not_found() => self.forget_cache(scope, &key, &row).await?,
                Err(error) => return Err(Error::storage("opening a cache entry")(error)),
            }
        }
        Ok(None)
    }

    async fn find_cache(&self, scope: &str, key: &str) -> Result<Option<(String, CacheRow)>> {
        let at = self.data.snapshot();
        let prefix = layout::cache_key(scope, key);
        if let Some(row) = self.data.read(&at, &CACHES, &prefix).await? {
            return Ok(Some((key.to_owned(), row)));
        }
        let candidates = self.data.read_all(&at, &CACHES, KeyRange::prefix(&prefix)).await?;
        let newest = candidates.into_iter().max_by_key(|(_, row)| row.sequence);
        Ok(newest.map(|(row_key, row)| {
            let key = row_key.get(scope.len() + 1..).unwrap_or_default();
            (String::from_utf8_lossy(key).into_owned(), row)
        }))
    }

    async fn forget_cache(&self, scope: &str, key: &str, gone: &CacheRow) -> Result<()> {
        let row_key = layout::cache_key(scope, key);
        self.data
            .transact(|tx| {
                let row_key = &row_key;
                async move {
                    if tx.get(&CACHES, row_key).await?.as_ref() == Some(gone) {
                        tx.delete(&CACHES, row_key).await?;
                    }
                    Ok::<_, Error>(())
                }
            })
            .await?;
        Ok(())
    }
}
