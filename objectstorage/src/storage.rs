//! The trait that every storage implements, and the values that it speaks in.
//!
//! Only what a backend must do natively is here; conveniences are in [`ObjectStorageExt`](crate::ObjectStorageExt).

use std::fmt;

use async_trait::async_trait;
use bytes::Bytes;
use futures::{StreamExt, stream, stream::BoxStream};

use crate::{ObjectKey, Result};

/// What a body's stream may fail with; becomes the source of [`Error::Body`](crate::Error::Body).
pub type BodyError = Box<dyn std::error::Error + Send + Sync>;

/// A storage of immutable byte sequences under keys: atomic whole-object writes, range reads, ordered listings.
///
/// It is object-safe: hosts and services hold an `Arc<dyn ObjectStorage>`. Writers of a storage of their own prove it
/// with one call to the conformance suite (feature `conformance`).
#[async_trait]
pub trait ObjectStorage: Send + Sync + fmt::Debug + 'static {
    /// Reads what is known of an object without its content.
    ///
    /// # Errors
    /// [`Error::NotFound`](crate::Error::NotFound) if it does not exist.
    async fn head(&self, key: &ObjectKey) -> Result<ObjectMeta>;

    /// Opens an object for reading.
    ///
    /// The stream belongs to the version of the object that was current when the call returned: an overwrite or a
    /// delete meanwhile never mixes two versions (it may end the stream with an error). Dropping it stops the read.
    ///
    /// # Errors
    /// [`Error::NotFound`](crate::Error::NotFound); [`Error::RangeNotSatisfiable`](crate::Error::RangeNotSatisfiable)
    /// if the range begins past the end.
    async fn get(&self, key: &ObjectKey, range: GetRange) -> Result<GetObject>;

    /// Writes an object: readers see the old one or the new one, whole, and nothing in between.
    ///
    /// # Errors
    /// [`Error::AlreadyExists`](crate::Error::AlreadyExists) if [`PutMode::Create`] met an object;
    /// [`Error::SizeMismatch`](crate::Error::SizeMismatch), [`Error::TooLarge`](crate::Error::TooLarge) and
    /// [`Error::Body`](crate::Error::Body) wrote nothing. After
    /// [`Error::Unavailable`](crate::Error::Unavailable) the outcome is unknown: the object may have been written. So it
    /// is after [`Error::Unusable`](crate::Error::Unusable), and there asking again does not help.
    ///
    /// # Cancel safety
    /// Dropping the future before it completes writes the whole object or nothing, and leaves nothing else behind.
    async fn put(&self, key: &ObjectKey, body: Body, options: PutOptions) -> Result<()>;

    /// Removes an object. Removing what is not there succeeds.
    ///
    /// A delete need not be durable: after a crash of the machine, the object may be there again, whole. Who relies on
    /// its absence has to note that elsewhere first, and to delete it once more when it comes back.
    async fn delete(&self, key: &ObjectKey) -> Result<()>;

    /// Lists objects in ascending order of the bytes of their keys.
    ///
    /// An object that exists during the whole listing is listed once; one that comes or goes meanwhile may or may not
    /// be. Dropping the stream stops the listing.
    fn list(&self, request: ListRequest) -> BoxStream<'static, Result<ListEntry>>;
}

/// What is known of an object without reading it.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct ObjectMeta {
    /// Its key.
    pub key: ObjectKey,
    /// Its size in bytes.
    pub size: u64,
}

impl ObjectMeta {
    /// Describes an object of `size` bytes.
    pub fn new(key: ObjectKey, size: u64) -> Self {
        Self { key, size }
    }
}

/// Which bytes of an object to read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum GetRange {
    /// All of them.
    #[default]
    Full,
    /// From this offset to the end; an offset equal to the size reads nothing.
    From(u64),
    /// From `start` up to and without `end`; an `end` past the end of the object reads to its end.
    Bounded {
        /// The first byte.
        start: u64,
        /// The byte after the last; not less than `start`.
        end: u64,
    },
    /// The last bytes of the object, at most this many.
    Suffix(u64),
}

impl GetRange {
    /// The half-open range of offsets that this asks for in an object of `size` bytes.
    ///
    /// `None` if it begins past the end.
    pub fn resolve(self, size: u64) -> Option<std::ops::Range<u64>> {
        let range = match self {
            Self::Full => 0..size,
            Self::From(start) => start..size,
            Self::Bounded { start, end } => start..end.clamp(start, size.max(start)),
            Self::Suffix(length) => size.saturating_sub(length)..size,
        };
        (range.start <= size).then_some(range)
    }

    /// The first byte that is asked for, for error messages; 0 for a suffix.
    pub fn start(self) -> u64 {
        match self {
            Self::Full | Self::Suffix(_) => 0,
            Self::From(start) | Self::Bounded { start, .. } => start,
        }
    }
}

/// An object opened for reading.
pub struct GetObject {
    /// The object, with its full size.
    pub meta: ObjectMeta,
    /// The offsets that the stream yields.
    pub range: std::ops::Range<u64>,
    /// The bytes, in pieces of the storage's choice; none of them is empty.
    pub stream: BoxStream<'static, Result<Bytes>>,
}

impl fmt::Debug for GetObject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("GetObject").field("meta", &self.meta).field("range", &self.range).finish_non_exhaustive()
    }
}

/// The content of an object to be written.
///
/// ```
/// use runyard_objectstorage::Body;
///
/// let whole = Body::from("all of it");
/// let streamed = Body::stream(futures::stream::iter([Ok("a part".into()), Ok(", and more".into())]));
/// # drop((whole, streamed));
/// ```
pub struct Body(BodyInner);

enum BodyInner {
    Bytes(Bytes),
    Stream(BoxStream<'static, Result<Bytes, BodyError>>),
}

impl Body {
    /// A body that is produced while it is written. A storage may ask it again after its end.
    pub fn stream(stream: impl futures::Stream<Item = Result<Bytes, BodyError>> + Send + 'static) -> Self {
        Self(BodyInner::Stream(stream.fuse().boxed()))
    }

    /// The content, where it is in memory already; otherwise the body itself.
    pub fn into_bytes(self) -> Result<Bytes, Self> {
        match self.0 {
            BodyInner::Bytes(bytes) => Ok(bytes),
            BodyInner::Stream(_) => Err(self),
        }
    }

    /// The content as a stream, whatever it was made from.
    pub fn into_stream(self) -> BoxStream<'static, Result<Bytes, BodyError>> {
        match self.0 {
            BodyInner::Bytes(bytes) if bytes.is_empty() => stream::empty().boxed(),
            BodyInner::Bytes(bytes) => stream::once(async move { Ok(bytes) }).boxed(),
            BodyInner::Stream(stream) => stream,
        }
    }
}

impl fmt::Debug for Body {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            BodyInner::Bytes(bytes) => write!(f, "Body({} bytes)", bytes.len()),
            BodyInner::Stream(_) => f.write_str("Body(stream)"),
        }
    }
}

impl<T: Into<Bytes>> From<T> for Body {
    fn from(bytes: T) -> Self {
        Self(BodyInner::Bytes(bytes.into()))
    }
}

/// How an object is written. The default: unknown size, synced, overwriting.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PutOptions {
    /// How long the body is.
    pub size: PutSize,
    /// Whether the object must survive a crash of the machine once the call has returned.
    pub durability: Durability,
    /// What to do about an object of the same name.
    pub mode: PutMode,
}

/// How long a body is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum PutSize {
    /// Not known before its end; storages may bound it.
    #[default]
    Unknown,
    /// Exactly this many bytes, or the write fails.
    Exact(u64),
}

/// Whether an object must survive a crash of the machine. As long as the machine runs, it makes no difference.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Durability {
    /// It is on stable storage when the call returns.
    #[default]
    Synced,
    /// After a crash of the machine it may be gone, or be there with bytes missing or zeroed; so may be the object that
    /// it replaced. For what can be made again and is checked when it is read, such as cache entries. A no-op on S3.
    Relaxed,
}

/// What to do about an object of the same name.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum PutMode {
    /// Replace it.
    #[default]
    Overwrite,
    /// Fail with [`Error::AlreadyExists`](crate::Error::AlreadyExists); of several creators exactly one succeeds.
    Create,
}

/// What to list.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ListRequest {
    /// Only keys that begin with this string (not whole components: `log` lists `log/1` and `logs/1`).
    pub prefix: String,
    /// Only keys after this string, which need not exist.
    pub start_after: Option<String>,
    /// Whether to go below the next slash after the prefix.
    pub depth: ListDepth,
}

impl ListRequest {
    /// Everything whose key begins with `prefix`.
    pub fn prefix(prefix: impl Into<String>) -> Self {
        Self { prefix: prefix.into(), ..Self::default() }
    }
}

/// Whether a listing goes below the next slash after its prefix.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ListDepth {
    /// Every object.
    #[default]
    Recursive,
    /// Objects without a further slash, and one [`ListEntry::Prefix`] for what is below each of the others.
    ///
    /// A prefix takes the place of its keys in the order, so `a-b` comes before `a/`. With
    /// [`ListRequest::start_after`], a prefix is listed if any key below it is after that string.
    OneLevel,
}

/// One line of a listing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ListEntry {
    /// An object.
    Object(ObjectMeta),
    /// The common beginning of several keys, with the slash at its end; only with [`ListDepth::OneLevel`].
    Prefix(String),
}

impl ListEntry {
    /// The key or the prefix as text: what the listing is ordered by.
    pub fn name(&self) -> &str {
        match self {
            Self::Object(meta) => meta.key.as_str(),
            Self::Prefix(prefix) => prefix,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_body_may_be_asked_again_after_its_end() {
        // Such a stream panics when it is polled after its end.
        let once = stream::unfold(Some(()), |left| async move { left.map(|()| (Ok(Bytes::from("x")), None)) });
        let mut body = Body::stream(once).into_stream();
        assert_eq!(body.next().await.transpose().expect("no error"), Some(Bytes::from("x")));
        for _ in 0..2 {
            assert!(body.next().await.is_none());
        }
    }
}
