//! Where do objects live on one machine, if every key must work? In a directory, under escaped names.
//!
//! | file | question |
//! |---|---|
//! | `escape.rs` | how is any key written as a path, so that paths order as keys do? |
//!
//! Everything but the names is [`posix`](super::posix).

use std::{borrow::Cow, fmt, path::Path};

use async_trait::async_trait;
use futures::stream::BoxStream;

use crate::{
    Body, Error, GetObject, GetRange, ListEntry, ListRequest, ObjectKey, ObjectMeta, ObjectStorage, PosixStorage,
    PutOptions, Result,
    posix::layout::{Directory, Format, Layout, Obstacle},
};

mod escape;
#[cfg(test)]
mod tests;

/// What fuzz targets see of the escaping; no part of the interface.
#[cfg(feature = "test-util")]
#[doc(hidden)]
pub mod escaping {
    use super::escape;

    /// The path of the object with the key `text`.
    pub fn object_path(text: &str) -> String {
        escape::object_path(text)
    }

    /// The text of an object's path, if it is one.
    pub fn object_text(path: &str) -> Option<String> {
        escape::object_text(path)
    }

    /// What the paths of all keys that begin with `text` begin with.
    pub fn beginning(text: &str) -> String {
        escape::beginning(text)
    }

    /// The text that everything below a directory begins with, if it is one.
    pub fn directory_text(path: &str) -> Option<String> {
        escape::directory_text(path)
    }
}

/// A storage in a directory that holds every key: `a` beside `a/b`, and components of any length.
///
/// Otherwise it is [`PosixStorage`]: what is said there about several processes, durability and foreign files holds
/// here as well. The price is that the names of the files are escaped, and that a component of 80 bytes or more takes
/// a directory for each 80 bytes.
///
/// # Names
/// An object's file ends with `#` and a component's directory with `.d`; after 80 bytes of a component, a directory
/// that ends with `+` holds the rest of it. Lower-case letters, digits, `-`, `_` and `` ` `` are themselves and `.` is
/// `..`; every other byte is two hexadecimal digits after `%` (bytes below `-`), `=` (`:` to `^`, with the capital
/// letters) or `~` (from `{`). Names in the order of their bytes are keys in the order of theirs.
///
/// | key | file |
/// |---|---|
/// | `a` | `a#` |
/// | `a/b` | `a.d/b#` |
/// | `Log/v1.2` | `=4cog.d/v1..2#` |
/// | 100 times `x` | 80 times `x`, `+/`, 20 times `x`, `#` |
///
/// None of the files of a [`PosixStorage`] has such a name, so its directory would look empty. It is refused: by its
/// mark, and without one by the first file of another name. Move the objects through the two storages instead.
///
/// ```
/// use runyard_objectstorage::{ObjectKey, ObjectStorageExt, PosixFlatStorage, PutMode};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let directory = tempfile::tempdir()?;
/// # let path = directory.path();
/// let storage = PosixFlatStorage::open(path).await?;
/// for key in ["a", "a/b", &"long".repeat(256)] {
///     storage.put_bytes(&ObjectKey::parse(key)?, "durable".into(), PutMode::Create).await?;
/// }
/// assert_eq!(std::fs::read(path.join("a.d/b#"))?, b"durable");
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct PosixFlatStorage(PosixStorage);

impl PosixFlatStorage {
    /// Opens the storage in the directory `root`, which is created if it does not exist.
    ///
    /// Removes what writers left half written when they died; those of other living processes are left alone.
    ///
    /// # Errors
    /// Those of [`PosixStorage::open`].
    pub async fn open(root: impl AsRef<Path>) -> Result<Self> {
        Ok(Self(PosixStorage::open_layout(root.as_ref(), &Flat).await?))
    }

    /// `storage` has the layout [`Flat`].
    #[cfg(any(test, feature = "test-util"))]
    pub(crate) fn from_posix(storage: PosixStorage) -> Self {
        Self(storage)
    }
}

#[async_trait]
impl ObjectStorage for PosixFlatStorage {
    async fn head(&self, key: &ObjectKey) -> Result<ObjectMeta> {
        self.0.head(key).await
    }

    async fn get(&self, key: &ObjectKey, range: GetRange) -> Result<GetObject> {
        self.0.get(key, range).await
    }

    async fn put(&self, key: &ObjectKey, body: Body, options: PutOptions) -> Result<()> {
        self.0.put(key, body, options).await
    }

    async fn delete(&self, key: &ObjectKey) -> Result<()> {
        self.0.delete(key).await
    }

    fn list(&self, request: ListRequest) -> BoxStream<'static, Result<ListEntry>> {
        self.0.list(request)
    }
}

impl fmt::Debug for PosixFlatStorage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PosixFlatStorage({})", self.0.path().display())
    }
}

/// The path is the escaped key.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Flat;

impl Layout for Flat {
    fn format(&self) -> Format {
        Format::PosixFlat
    }

    fn path<'k>(&self, key: &'k ObjectKey) -> Result<Cow<'k, str>, &'static str> {
        Ok(Cow::Owned(escape::object_path(key.as_str())))
    }

    fn key(&self, path: &str) -> Option<ObjectKey> {
        ObjectKey::parse(&escape::object_text(path)?).ok()
    }

    fn directory(&self, path: &str) -> Directory {
        if escape::goes_on(path) {
            return Directory::Part;
        }
        escape::directory_text(path).map_or(Directory::Foreign, Directory::Prefix)
    }

    fn beginning(&self, text: &str) -> Option<String> {
        // No text leads elsewhere: every name has a mark.
        Some(escape::beginning(text))
    }

    fn position(&self, text: &str) -> String {
        escape::object_path(text)
    }

    fn refusal(&self, key: &ObjectKey, obstacle: Obstacle) -> Error {
        let key = key.clone();
        match obstacle {
            Obstacle::LongName => Error::UnsupportedKey {
                key,
                reason: "the filesystem takes no names of 242 bytes; keep the storage on another one",
            },
            Obstacle::NoDirectory | Obstacle::FullDirectory => {
                Error::Corrupt { key, reason: "something that is not of this storage is in its path".to_owned() }
            }
        }
    }
}
