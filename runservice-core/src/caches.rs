//! Where are cache entries kept, and which one is restored?

use std::time::Duration;

use runyard_datamanager::{DataManagerExt, KeyRange};
use runyard_executor_core::contract::{ByteStream, CacheHit, CachePut};
use runyard_objectstorage::{Body, Durability, GetRange, PutMode, PutOptions, PutSize};

use crate::{
    Error, Result,
    archives::limited,
    layout::{self, CACHE_COUNTERS, CACHES, CHORES},
    model::RunConfig,
    rows::{CacheRow, Chore},
    service::Core,
};

/// An entry's last use is noted once in so long: a note is a commit, and what restores it waits for nothing else.
const USE_NOTED_AFTER: Duration = Duration::from_secs(60 * 60);

/// The namespaces of a run's cache entries.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct CacheScopes {
    /// What it writes, and looks into first.
    write: String,
    /// What it only reads, if that is another one.
    read: Option<String>,
}

impl CacheScopes {
    pub(crate) fn of(config: &RunConfig) -> Self {
        let (write, read) = (config.cache_write_group(), config.cache_group());
        let read = (read != write).then_some(read);
        Self { write, read }
    }

    fn all(&self) -> impl Iterator<Item = &str> {
        std::iter::once(self.write.as_str()).chain(self.read.as_deref())
    }
}

/// An entry that was found.
struct Found<'a> {
    scope: &'a str,
    key: String,
    row: CacheRow,
}

impl Core {
    pub(crate) async fn cache_exists(&self, scopes: &CacheScopes, key: &str) -> Result<bool> {
        let at = self.data.snapshot();
        Ok(self.data.read(&at, &CACHES, layout::cache_key(&scopes.write, key)).await?.is_some())
    }

    /// Stores an entry unless the key has one.
    pub(crate) async fn put_cache(&self, scopes: &CacheScopes, key: &str, archive: ByteStream) -> Result<CachePut> {
        if self.cache_exists(scopes, key).await? {
            return Ok(CachePut::Exists);
        }
        let id = self.ids.object();
        let object = layout::cache_object(&id);
        // A cache entry can be made again, so it need not survive a crash of the machine.
        let options = PutOptions { size: PutSize::Unknown, durability: Durability::Relaxed, mode: PutMode::Create };
        let archive = Body::stream(limited(archive, self.settings.archive_bytes_max));
        self.storage.put(&object, archive, options).await.map_err(Error::storage("storing a cache entry"))?;
        let size = self.storage.head(&object).await.map_err(Error::storage("storing a cache entry"))?.size;
        let (scope, stored) = (scopes.write.as_str(), self.clock.now());
        let row_key = layout::cache_key(scope, key);
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
                    tx.put(&CACHES, row_key, &CacheRow { sequence, object: id, size, stored, used: None }).await?;
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
    pub(crate) async fn get_cache(&self, scopes: &CacheScopes, keys: &[String]) -> Result<Option<CacheHit>> {
        for key in keys {
            while let Some(Found { scope, key, row }) = self.find_cache(scopes, key).await? {
                match self.storage.get(&layout::cache_object(&row.object), GetRange::Full).await {
                    Ok(object) if object.meta.size == row.size => {
                        self.note_use(scope, &key, &row).await?;
                        let archive = futures::TryStreamExt::map_err(object.stream, Into::into);
                        return Ok(Some(CacheHit { key, size: row.size, archive: futures::StreamExt::boxed(archive) }));
                    }
                    // The row is durable and the object is not: after a crash of the machine it may be gone, or a part.
                    Ok(_) => self.drop_cache(scope, &key, &row).await?,
                    Err(error) if error.is_not_found() => self.drop_cache(scope, &key, &row).await?,
                    Err(error) => return Err(Error::storage("opening a cache entry")(error)),
                }
            }
        }
        Ok(None)
    }

    /// A prefix never leaves its scope, and an exact match in any scope is nearer than a prefix in the first.
    async fn find_cache<'a>(&self, scopes: &'a CacheScopes, key: &str) -> Result<Option<Found<'a>>> {
        let at = self.data.snapshot();
        for scope in scopes.all() {
            if let Some(row) = self.data.read(&at, &CACHES, layout::cache_key(scope, key)).await? {
                return Ok(Some(Found { scope, key: key.to_owned(), row }));
            }
        }
        for scope in scopes.all() {
            let range = KeyRange::prefix(layout::cache_key(scope, key));
            let candidates = self.data.read_all(&at, &CACHES, range).await?;
            if let Some((row_key, row)) = candidates.into_iter().max_by_key(|(_, row)| row.sequence) {
                let key = row_key.get(scope.len() + 1..).unwrap_or_default();
                return Ok(Some(Found { scope, key: String::from_utf8_lossy(key).into_owned(), row }));
            }
        }
        Ok(None)
    }

    async fn note_use(&self, scope: &str, key: &str, row: &CacheRow) -> Result<()> {
        let now = self.clock.now();
        if now.duration_since(row.unused_since()).is_ok_and(|unused| unused >= USE_NOTED_AFTER) {
            let used = CacheRow { used: Some(now), ..row.clone() };
            self.replace_cache(&layout::cache_key(scope, key), row, Some(used)).await?;
        }
        Ok(())
    }

    async fn drop_cache(&self, scope: &str, key: &str, row: &CacheRow) -> Result<()> {
        self.replace_cache(&layout::cache_key(scope, key), row, None).await.map(drop)
    }

    /// Writes another row in place of one, or none, unless somebody else was faster; whether it was.
    pub(crate) async fn replace_cache(&self, row_key: &[u8], old: &CacheRow, new: Option<CacheRow>) -> Result<bool> {
        let replace = |tx: runyard_datamanager::Tx| {
            let new = new.clone();
            async move {
                if tx.get(&CACHES, row_key).await?.as_ref() != Some(old) {
                    return Ok::<_, Error>(false);
                }
                match new {
                    Some(new) => tx.put(&CACHES, row_key, &new).await?,
                    None => {
                        tx.delete(&CACHES, row_key).await?;
                        let chore = Chore::DropCache { object: old.object.clone() };
                        tx.put(&CHORES, layout::chore_key(&chore), &chore).await?;
                    }
                }
                Ok(true)
            }
        };
        Ok(self.data.transact(replace).await?.0)
    }
}
