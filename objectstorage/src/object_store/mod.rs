//! How is any store of the crate `object_store` a storage? Features `object-store` and `s3`.
//!
//! | file | question |
//! |---|---|
//! | `name.rs` | under which name is a key stored? |
//! | `probe.rs` | what can a store do, and if it cannot be used, why? |
//! | `put.rs` | by which requests is an object written? |
//! | `parts.rs` | into which parts is a body cut? |
//! | `upload.rs` | how does an upload in parts end, if it does not end well? |
//! | `create.rs` | whose object is it that a create met? |
//! | `get.rs` | how is a range asked for? |
//! | `list.rs` | how are keys listed in order? |
//! | `error.rs` | what does an error of a store mean to our callers? |

use std::{fmt, sync::Arc, time::Duration};

use async_trait::async_trait;
use futures::stream::BoxStream;
use object_store::{ObjectStore, ObjectStoreExt, list::PaginatedListStore};
use serde::{Deserialize, Serialize};
use tokio::time::timeout;

use crate::{
    Body, Error, GetObject, GetRange, ListEntry, ListRequest, ObjectKey, ObjectMeta, ObjectStorage, PutOptions, Result,
};

mod create;
mod error;
mod get;
mod list;
mod name;
mod parts;
mod probe;
mod put;
#[cfg(test)]
mod tests;
mod upload;

use create::PutIds;
use error::{DELETING, Target, from_store};
use name::path_of;
use parts::OBJECT_BYTES_MAX;
pub use probe::{Capabilities, ConditionalCreate};

/// The numbers of an [`ObjectStoreStorage`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
#[non_exhaustive]
pub struct ObjectStoreSettings {
    /// The most bytes of an object of unknown size; at most 5 TiB. Default: 1 GiB. Above 80,000 MiB, it makes parts
    /// larger than 8 MiB, and two of them are in memory.
    pub unknown_size_max: u64,
    /// Whether a store is refused that offers no atomic create. Default: yes. If not, such a store refuses creates.
    pub requires_atomic_create: bool,
    /// Below which prefix the probe object is written while the storage is opened; no slash at its end. Default: none.
    pub probe_prefix: String,
    /// How long opening may take. Default: 30 s.
    pub open_timeout: Duration,
}

impl Default for ObjectStoreSettings {
    fn default() -> Self {
        Self {
            unknown_size_max: 1 << 30,
            requires_atomic_create: true,
            probe_prefix: String::new(),
            open_timeout: Duration::from_secs(30),
        }
    }
}

/// A storage in any `object_store::ObjectStore`: GCS, Azure, memory, one of your own. For S3, there is `S3Storage`.
///
/// # Names
/// Keys are stored as they are, but for spaces, ASCII control characters and U+0080, which are escaped so that order
/// and prefixes are those of the keys (see the source of `name.rs`). Objects under names that no key is stored as are
/// not listed; objects of others in the same bucket that end with a slash (the "folders" of web consoles) are not told
/// from keys: let the bucket, or the prefix below which this is used, be ours alone.
///
/// # Writes
/// Up to 8 MiB are one request. What is larger is uploaded in parts of 8 MiB, or as large as it takes for 10,000 to be
/// enough, two of which are in memory. An upload that fails or is dropped is aborted, in a task that takes a minute at
/// most; a bucket should nevertheless have a rule that removes incomplete uploads, for processes that were killed.
/// Objects are durable when the store says so: [`Durability`](crate::Durability) makes no difference.
///
/// [`PutMode::Create`](crate::PutMode::Create) takes at most 8 MiB, else it is [`Error::CreateTooLarge`]: there is no
/// conditional upload. An object that is created carries an id as metadata, by which a repeated request knows its own.
///
/// # Listings
/// With [`open_paginated`](Self::open_paginated), a listing holds a page of the server in memory. Without, it holds
/// what was asked for, because such a store may list in any order.
///
/// ```
/// use std::sync::Arc;
///
/// use object_store::memory::InMemory;
/// use runyard_objectstorage::{ObjectKey, ObjectStorageExt, ObjectStoreStorage, PutMode};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> runyard_objectstorage::Result<()> {
/// let storage = ObjectStoreStorage::open(Arc::new(InMemory::new()), Default::default()).await?;
/// let key = ObjectKey::parse("log/1")?;
/// storage.put_bytes(&key, "entry".into(), PutMode::Create).await?;
/// assert_eq!(storage.get_bytes(&key).await?, "entry");
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct ObjectStoreStorage {
    inner: Arc<Inner>,
}

struct Inner {
    store: Arc<dyn ObjectStore>,
    /// The same store, if it lists pages by raw prefix.
    pages: Option<Arc<dyn PaginatedListStore>>,
    settings: ObjectStoreSettings,
    capabilities: Capabilities,
    ids: PutIds,
}

impl ObjectStoreStorage {
    /// Opens a storage in `store`, and finds out what it can do, with a probe object that is removed.
    ///
    /// # Errors
    /// [`Error::Unusable`] says why this store cannot be used, and what to do.
    pub async fn open(store: Arc<dyn ObjectStore>, settings: ObjectStoreSettings) -> Result<Self> {
        let place = store.to_string();
        Self::open_at(store, None, settings, &place).await
    }

    /// The same for a store that lists pages by raw prefix, as those of the large clouds do.
    ///
    /// # Errors
    /// [`Error::Unusable`] says why this store cannot be used, and what to do.
    pub async fn open_paginated<S>(store: Arc<S>, settings: ObjectStoreSettings) -> Result<Self>
    where
        S: ObjectStore + PaginatedListStore,
    {
        let place = store.to_string();
        Self::open_at(store.clone(), Some(store), settings, &place).await
    }

    pub(crate) async fn open_at(
        store: Arc<dyn ObjectStore>,
        pages: Option<Arc<dyn PaginatedListStore>>,
        settings: ObjectStoreSettings,
        place: &str,
    ) -> Result<Self> {
        let unusable = |message| Error::Unusable { message, source: None };
        if settings.unknown_size_max > OBJECT_BYTES_MAX {
            return Err(unusable(format!("`unknown_size_max` is more than {OBJECT_BYTES_MAX}, the largest object")));
        }
        let ids = PutIds::new();
        let probed = timeout(settings.open_timeout, probe::probe(&*store, &ids, &settings.probe_prefix, place)).await;
        let capabilities = probed.map_err(|_| {
            let waited = settings.open_timeout;
            unusable(format!(
                "{place} did not answer within {waited:?}: check the endpoint, the network and where credentials come from"
            ))
        })??;
        let inner = Inner { store, pages, settings, capabilities, ids };
        if inner.settings.requires_atomic_create {
            inner.check_atomic_create().map_err(|error| unusable(format!("{place} cannot be used: {error}")))?;
        }
        Ok(Self { inner: Arc::new(inner) })
    }

    /// What the store was found to do when it was opened.
    pub fn capabilities(&self) -> Capabilities {
        self.inner.capabilities
    }
}

impl Inner {
    fn check_atomic_create(&self) -> Result<()> {
        let reason = match self.capabilities.conditional_create {
            ConditionalCreate::Honoured => return Ok(()),
            ConditionalCreate::Refused => "it refuses to create an object only if it is absent",
            ConditionalCreate::Ignored => "of several creators of one object, it lets more than one succeed",
        };
        let message = format!("{reason} (`If-None-Match: *` on S3); use a server, or a version of it, that does");
        Err(Error::Unusable { message, source: None })
    }
}

#[async_trait]
impl ObjectStorage for ObjectStoreStorage {
    async fn head(&self, key: &ObjectKey) -> Result<ObjectMeta> {
        let Ok(path) = path_of(key) else { return Err(Error::NotFound { key: key.clone() }) };
        get::head(&*self.inner.store, key, &path).await
    }

    async fn get(&self, key: &ObjectKey, range: GetRange) -> Result<GetObject> {
        let Ok(path) = path_of(key) else { return Err(Error::NotFound { key: key.clone() }) };
        get::get(&*self.inner.store, key, &path, range).await
    }

    async fn put(&self, key: &ObjectKey, body: Body, options: PutOptions) -> Result<()> {
        put::put(&self.inner, key, body, options).await
    }

    async fn delete(&self, key: &ObjectKey) -> Result<()> {
        let Ok(path) = path_of(key) else { return Ok(()) };
        match self.inner.store.delete(&path).await {
            Ok(()) | Err(object_store::Error::NotFound { .. }) => Ok(()),
            Err(error) => Err(from_store(error, DELETING, Target::Key(key))),
        }
    }

    fn list(&self, request: ListRequest) -> BoxStream<'static, Result<ListEntry>> {
        list::list(self.inner.clone(), request)
    }
}

impl fmt::Debug for ObjectStoreStorage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ObjectStoreStorage({})", self.inner.store)
    }
}
