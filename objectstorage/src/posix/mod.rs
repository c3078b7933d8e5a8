//! Where do objects live on one machine? In a directory, as plain files.
//!
//! | file | question |
//! |---|---|
//! | `open.rs` | is this directory fit to be a storage? |
//! | `marker.rs` | which storage does a directory belong to? |
//! | `layout.rs` | which path belongs to which key? |
//! | `place.rs` | where does the object of a key lie, and what does an error there mean? |
//! | `root.rs` | how is a path reached without leaving the root? |
//! | `staging.rs` | where is an object until it is whole, and who removes it if it never is? |
//! | `calls.rs` | which system calls change what is on the disk? |
//! | `sync.rs` | what must reach the disk before a write is acknowledged? |
//! | `put.rs`, `get/`, `delete.rs` | how is an object written, read, removed? |
//! | `list.rs`, `walk.rs` | how are keys listed in order, without walking what was not asked for? |
//! | `power/` | what is left after the machine lost its power? For tests only. |
//!
//! [`posixflat`](super::posixflat) is the same with another layout. All of it is synchronous code on file descriptors; this file brings it onto tokio's blocking threads.

use std::{
    fmt, panic,
    path::{Path, PathBuf},
    sync::{Arc, OnceLock},
};

use async_trait::async_trait;
use futures::stream::BoxStream;
use tokio::task::{JoinHandle, spawn_blocking};

use crate::{
    Body, Error, GetObject, GetRange, ListEntry, ListRequest, ObjectKey, ObjectMeta, ObjectStorage, PutOptions, Result,
};

mod calls;
mod delete;
mod get;
pub(crate) mod layout;
mod list;
mod marker;
mod open;
pub(crate) mod place;
#[cfg(any(test, feature = "test-util"))]
pub(crate) mod power;
mod put;
mod root;
mod staging;
mod sync;
#[cfg(test)]
mod tests;
mod walk;

use calls::Calls;
use layout::{Layout, Tree};
use place::Place;

/// A storage in a directory: the key `a/b` is the file `<root>/a/b`.
///
/// Nothing is escaped, so the objects can be looked at, copied and backed up with any tool. That leaves three kinds
/// of valid keys without a place; writing them is [`Error::UnsupportedKey`], reading them [`Error::NotFound`]:
///
/// - a component of more than 255 bytes;
/// - `a` while `a/b` exists, and the other way round;
/// - below the root, the names `.runyard-staging` (objects that are being written) and `lost+found` (the
///   filesystem's own, if the root is a mount point).
///
/// # Several processes
/// may open the same directory: writes are atomic and creates have one winner between them, too.
///
/// # Durability
/// A synced write is on the disk when it returns: the file, the directory that names it, and every directory above
/// that this process has not yet seen to be on the disk. A file that cannot be synced is not published. If a directory
/// cannot be synced, the object is visible already and might not outlive a crash, and reading it back would prove
/// nothing; therefore the storage then refuses every further call with [`Error::Unusable`] until it is opened again.
/// Other processes do not hear of it: where they share the directory, the filesystem has to be one that stops by itself
/// when it cannot write its directories, as ext4, XFS and btrfs do.
///
/// A relaxed write syncs nothing. After a crash of the machine its object may be absent, cut short or zeroes, and so
/// may be the one that it replaced. A delete is not synced either: the object may be there again.
///
/// # Format
/// The first to open a directory marks it as this storage's, in `.runyard-staging/format`; a [`PosixFlatStorage`]
/// refuses it from then on, and this storage one of those. A directory without a mark is taken as it is, whoever wrote
/// its files.
///
/// [`PosixFlatStorage`]: crate::PosixFlatStorage
///
/// # Foreign files
/// Symbolic links below the root are never followed, so that nothing outside of it can be reached; an object at one is
/// [`Error::Corrupt`]. Listings pass over them, as over devices, sockets and names that are not UTF-8.
///
/// ```
/// use runyard_objectstorage::{ObjectKey, ObjectStorageExt, PosixStorage, PutMode};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let directory = tempfile::tempdir()?;
/// # let path = directory.path();
/// let storage = PosixStorage::open(path).await?;
/// storage.put_bytes(&ObjectKey::parse("log/1")?, "durable".into(), PutMode::Create).await?;
/// assert_eq!(std::fs::read(path.join("log/1"))?, b"durable");
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct PosixStorage {
    store: Arc<Store>,
}

/// The open directory, shared by the calls under way.
struct Store {
    path: PathBuf,
    layout: &'static dyn Layout,
    root: root::Root,
    staging: Arc<staging::Staging>,
    syncs: sync::Syncs,
    calls: Calls,
    /// Why the storage can no longer be trusted, once that is so.
    broken: OnceLock<String>,
}

impl PosixStorage {
    /// Opens the storage in the directory `root`, which is created if it does not exist.
    ///
    /// Removes what writers left half written when they died; those of other living processes are left alone.
    ///
    /// # Errors
    /// [`Error::Unusable`] if `root` is not a directory that this process may read and write, if it belongs to another
    /// storage, or if its filesystem lacks file locks or cannot sync a directory. The message says which, and what to
    /// do.
    pub async fn open(root: impl AsRef<Path>) -> Result<Self> {
        Self::open_layout(root.as_ref(), &Tree).await
    }

    /// The same with another layout.
    pub(crate) async fn open_layout(root: &Path, layout: &'static dyn Layout) -> Result<Self> {
        Self::open_with(root, layout, Calls::default()).await
    }

    async fn open_with(root: &Path, layout: &'static dyn Layout, calls: Calls) -> Result<Self> {
        let path = root.to_owned();
        let store = blocking("opening", path.display().to_string(), move || open::open(path, layout, calls)).await?;
        Ok(Self { store: Arc::new(store) })
    }

    /// The directory that it is in.
    pub(crate) fn path(&self) -> &Path {
        &self.store.path
    }

    async fn run<T: Send + 'static>(
        &self,
        doing: &'static str,
        key: &ObjectKey,
        work: impl FnOnce(&Arc<Store>) -> Result<T> + Send + 'static,
    ) -> Result<T> {
        let store = self.store.clone();
        blocking(doing, key.as_str(), move || {
            store.check_usable()?;
            work(&store)
        })
        .await
    }
}

impl Store {
    fn check_usable(&self) -> Result<()> {
        match self.broken.get() {
            None => Ok(()),
            Some(message) => Err(Error::Unusable { message: message.clone(), source: None }),
        }
    }
}

#[async_trait]
impl ObjectStorage for PosixStorage {
    async fn head(&self, key: &ObjectKey) -> Result<ObjectMeta> {
        let place = Place::to_read(self.store.layout, key)?;
        self.run("reading", key, move |store| store.head(&place)).await
    }

    async fn get(&self, key: &ObjectKey, range: GetRange) -> Result<GetObject> {
        let place = Place::to_read(self.store.layout, key)?;
        let opened = self.run("reading", key, move |store| store.open_object(&place, range)).await?;
        Ok(opened.into_object())
    }

    async fn put(&self, key: &ObjectKey, body: Body, options: PutOptions) -> Result<()> {
        let place = Place::to_write(self.store.layout, key)?;
        match body.into_bytes() {
            Ok(bytes) => self.run("writing", key, move |store| store.put_bytes(&place, &bytes, options)).await,
            Err(body) => {
                self.store.check_usable()?;
                put::put_stream(self.store.clone(), place, body.into_stream(), options).await
            }
        }
    }

    async fn delete(&self, key: &ObjectKey) -> Result<()> {
        // What has no place cannot be there.
        let Ok(place) = Place::to_write(self.store.layout, key) else { return Ok(()) };
        self.run("deleting", key, move |store| store.delete(&place)).await
    }

    fn list(&self, request: ListRequest) -> BoxStream<'static, Result<ListEntry>> {
        list::list(self.store.clone(), request)
    }
}

impl fmt::Debug for PosixStorage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PosixStorage({})", self.path().display())
    }
}

/// Runs filesystem calls where they may block. They run to their end even if nobody waits any longer.
async fn blocking<T: Send + 'static>(
    doing: &'static str,
    name: impl Into<String>,
    work: impl FnOnce() -> Result<T> + Send + 'static,
) -> Result<T> {
    joined(doing, name, spawn_blocking(work)).await
}

/// Waits for filesystem calls that were started before.
async fn joined<T>(doing: &'static str, name: impl Into<String>, handle: JoinHandle<Result<T>>) -> Result<T> {
    match handle.await {
        Ok(result) => result,
        Err(error) => match error.try_into_panic() {
            Ok(panic) => panic::resume_unwind(panic),
            // The runtime is shutting down.
            Err(error) => Err(Error::Unavailable { doing, name: name.into(), source: error.into() }),
        },
    }
}
