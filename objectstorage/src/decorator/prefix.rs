//! How do two users of one storage keep apart? Each gets the part below a prefix, and sees nothing else.

use async_trait::async_trait;
use futures::{StreamExt, TryStreamExt, stream::BoxStream};

use crate::{
    Body, Error, GetObject, GetRange, InvalidKey, ListEntry, ListRequest, ObjectKey, ObjectMeta, ObjectStorage,
    PutOptions, Result,
};

/// The part of another storage that lies below a prefix, as a storage of its own.
///
/// With the prefix `rundata`, the key `log/1` is the object `rundata/log/1` of the inner storage. Callers see only
/// their own keys, in listings and in errors. A key that the prefix makes longer than 1,024 bytes is
/// [`Error::UnsupportedKey`].
///
/// ```
/// use runyard_objectstorage::{MemoryStorage, ObjectKey, ObjectStorageExt, PrefixStorage, PutMode};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> runyard_objectstorage::Result<()> {
/// let whole = MemoryStorage::new();
/// let part = PrefixStorage::new(whole.clone(), "rundata")?;
/// part.put_bytes(&ObjectKey::parse("log/1")?, "entry".into(), PutMode::Create).await?;
/// assert!(whole.exists(&ObjectKey::parse("rundata/log/1")?).await?);
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug)]
pub struct PrefixStorage<S> {
    inner: S,
    /// With the slash that separates it from a key; empty for the whole storage.
    base: String,
}

impl<S: ObjectStorage> PrefixStorage<S> {
    /// The part of `inner` below `prefix`; an empty prefix is all of it.
    ///
    /// # Errors
    /// [`InvalidKey`] if the prefix is neither empty nor a key; it has no slash at its end.
    pub fn new(inner: S, prefix: &str) -> Result<Self, InvalidKey> {
        let base = if prefix.is_empty() { String::new() } else { format!("{}/", ObjectKey::parse(prefix)?) };
        Ok(Self { inner, base })
    }

    /// The storage around which this is.
    pub fn inner(&self) -> &S {
        &self.inner
    }

    fn inner_key(&self, key: &ObjectKey) -> Result<ObjectKey> {
        if self.base.is_empty() {
            return Ok(key.clone());
        }
        ObjectKey::parse(&format!("{}{key}", self.base)).map_err(|_| Error::UnsupportedKey {
            key: key.clone(),
            reason: "below this storage's prefix, it is longer than 1,024 bytes",
        })
    }
}

#[async_trait]
impl<S: ObjectStorage> ObjectStorage for PrefixStorage<S> {
    async fn head(&self, key: &ObjectKey) -> Result<ObjectMeta> {
        let Ok(inner_key) = self.inner_key(key) else { return Err(Error::NotFound { key: key.clone() }) };
        let meta = self.inner.head(&inner_key).await.map_err(|error| outer_error(error, &self.base))?;
        Ok(ObjectMeta { key: key.clone(), ..meta })
    }

    async fn get(&self, key: &ObjectKey, range: GetRange) -> Result<GetObject> {
        let Ok(inner_key) = self.inner_key(key) else { return Err(Error::NotFound { key: key.clone() }) };
        let object = self.inner.get(&inner_key, range).await.map_err(|error| outer_error(error, &self.base))?;
        let base = self.base.clone();
        Ok(GetObject {
            meta: ObjectMeta { key: key.clone(), ..object.meta },
            range: object.range,
            stream: object.stream.map_err(move |error| outer_error(error, &base)).boxed(),
        })
    }

    async fn put(&self, key: &ObjectKey, body: Body, options: PutOptions) -> Result<()> {
        let inner_key = self.inner_key(key)?;
        self.inner.put(&inner_key, body, options).await.map_err(|error| outer_error(error, &self.base))
    }

    async fn delete(&self, key: &ObjectKey) -> Result<()> {
        let Ok(inner_key) = self.inner_key(key) else { return Ok(()) };
        self.inner.delete(&inner_key).await.map_err(|error| outer_error(error, &self.base))
    }

    fn list(&self, request: ListRequest) -> BoxStream<'static, Result<ListEntry>> {
        let base = self.base.clone();
        let below = |name: String| format!("{base}{name}");
        let inner_request = ListRequest {
            prefix: below(request.prefix),
            start_after: request.start_after.map(below),
            depth: request.depth,
        };
        let entries = self.inner.list(inner_request);
        entries.map(move |entry| outer_entry(entry.map_err(|error| outer_error(error, &base))?, &base)).boxed()
    }
}

fn outer_entry(entry: ListEntry, base: &str) -> Result<ListEntry> {
    Ok(match entry {
        ListEntry::Object(meta) => ListEntry::Object(ObjectMeta { key: outer_key(meta.key, base), ..meta }),
        ListEntry::Prefix(prefix) => ListEntry::Prefix(outer_name(prefix, base)),
    })
}

fn outer_key(key: ObjectKey, base: &str) -> ObjectKey {
    key.as_str().strip_prefix(base).and_then(|outer| ObjectKey::parse(outer).ok()).unwrap_or(key)
}

fn outer_name(name: String, base: &str) -> String {
    name.strip_prefix(base).map(str::to_owned).unwrap_or(name)
}

/// The same error with the caller's key.
fn outer_error(mut error: Error, base: &str) -> Error {
    match &mut error {
        Error::NotFound { key }
        | Error::AlreadyExists { key }
        | Error::UnsupportedKey { key, .. }
        | Error::SizeMismatch { key, .. }
        | Error::TooLarge { key, .. }
        | Error::CreateTooLarge { key, .. }
        | Error::RangeNotSatisfiable { key, .. }
        | Error::Body { key, .. }
        | Error::Corrupt { key, .. } => *key = outer_key(key.clone(), base),
        Error::Full { name, .. } | Error::PermissionDenied { name, .. } | Error::Unavailable { name, .. } => {
            *name = outer_name(std::mem::take(name), base);
        }
        Error::InvalidKey(_) | Error::Unusable { .. } => {}
    }
    error
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{KEY_BYTES_MAX, MemoryStorage, ObjectStorageExt, PutMode};

    fn key(key: &str) -> ObjectKey {
        ObjectKey::parse(key).unwrap()
    }

    #[tokio::test]
    async fn neighbours_are_neither_seen_nor_touched() {
        let whole = MemoryStorage::new();
        for neighbour in ["a", "a-b", "aa/x", "a0", "b"] {
            whole.put_bytes(&key(neighbour), "theirs".into(), PutMode::Create).await.unwrap();
        }
        let part = PrefixStorage::new(whole.clone(), "a").unwrap();
        part.put_bytes(&key("x"), "ours".into(), PutMode::Create).await.unwrap();
        assert_eq!(part.list_objects("").await.unwrap(), [ObjectMeta::new(key("x"), 4)]);
        part.delete(&key("b")).await.unwrap();
        assert_eq!(whole.len(), 6);
        assert!(whole.exists(&key("a/x")).await.unwrap());
    }

    #[tokio::test]
    async fn errors_carry_the_key_of_the_caller() {
        let part = PrefixStorage::new(MemoryStorage::new(), "base/path").unwrap();
        let error = part.get_bytes(&key("log/1")).await.unwrap_err();
        assert_eq!(error.key(), Some(&key("log/1")));
        let io = std::io::Error::other("gone");
        let error = outer_error(Error::from_io(io, "listing", "base/path/log/"), "base/path/");
        assert!(error.to_string().contains("`log/`"), "{error}");
    }

    #[tokio::test]
    async fn a_key_that_the_prefix_makes_too_long_is_refused_and_never_found() {
        let part = PrefixStorage::new(MemoryStorage::new(), "base").unwrap();
        let long = key(&"k".repeat(KEY_BYTES_MAX - 4));
        let error = part.put_bytes(&long, "x".into(), PutMode::Create).await.unwrap_err();
        assert!(matches!(&error, Error::UnsupportedKey { key, .. } if *key == long), "{error}");
        assert!(!part.exists(&long).await.unwrap());
        part.delete(&long).await.unwrap();
    }

    #[test]
    fn a_prefix_is_empty_or_a_key() {
        assert!(PrefixStorage::new(MemoryStorage::new(), "").is_ok());
        for refused in ["a/", "/a", "..", "a/../b"] {
            assert!(PrefixStorage::new(MemoryStorage::new(), refused).is_err(), "{refused}");
        }
    }
}
