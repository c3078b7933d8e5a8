//! Where do objects live in a test? In an ordered map.

use std::{
    collections::BTreeMap,
    fmt,
    ops::Bound,
    sync::{Arc, Mutex, MutexGuard},
};

use async_trait::async_trait;
use bytes::Bytes;
use futures::{StreamExt, stream, stream::BoxStream};

use crate::{
    Body, Error, GetObject, GetRange, ListDepth, ListEntry, ListRequest, ObjectKey, ObjectMeta, ObjectStorage, PutMode,
    PutOptions, Result,
};

/// How many entries a listing takes out of the map at a time.
const PAGE_ENTRIES: usize = 256;

type Objects = BTreeMap<ObjectKey, Bytes>;

/// A storage in memory, with every promise but durability. Clones share their objects.
///
/// ```
/// use runyard_objectstorage::{MemoryStorage, ObjectKey, ObjectStorageExt, PutMode};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> runyard_objectstorage::Result<()> {
/// let storage = MemoryStorage::new();
/// let key = ObjectKey::parse("greeting")?;
/// storage.put_bytes(&key, "hello".into(), PutMode::Create).await?;
/// assert_eq!(storage.get_bytes(&key).await?, "hello");
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Default)]
pub struct MemoryStorage {
    objects: Arc<Mutex<Objects>>,
}

impl MemoryStorage {
    /// An empty storage.
    pub fn new() -> Self {
        Self::default()
    }

    /// How many objects it holds.
    pub fn len(&self) -> usize {
        self.objects().len()
    }

    /// Whether it holds no object.
    pub fn is_empty(&self) -> bool {
        self.objects().is_empty()
    }

    fn objects(&self) -> MutexGuard<'_, Objects> {
        lock(&self.objects)
    }

    fn find(&self, key: &ObjectKey) -> Result<Bytes> {
        self.objects().get(key).cloned().ok_or_else(|| Error::NotFound { key: key.clone() })
    }
}

fn lock(objects: &Mutex<Objects>) -> MutexGuard<'_, Objects> {
    objects.lock().expect("the lock is never poisoned: no panic while it is held")
}

impl fmt::Debug for MemoryStorage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "MemoryStorage({} objects)", self.len())
    }
}

#[async_trait]
impl ObjectStorage for MemoryStorage {
    async fn head(&self, key: &ObjectKey) -> Result<ObjectMeta> {
        Ok(ObjectMeta::new(key.clone(), self.find(key)?.len() as u64))
    }

    async fn get(&self, key: &ObjectKey, range: GetRange) -> Result<GetObject> {
        GetObject::from_bytes(key, range, self.find(key)?)
    }

    async fn put(&self, key: &ObjectKey, body: Body, options: PutOptions) -> Result<()> {
        let bytes = body.collect(key, options.size).await?;
        let mut objects = self.objects();
        if options.mode == PutMode::Create && objects.contains_key(key) {
            return Err(Error::AlreadyExists { key: key.clone() });
        }
        objects.insert(key.clone(), bytes);
        Ok(())
    }

    async fn delete(&self, key: &ObjectKey) -> Result<()> {
        self.objects().remove(key);
        Ok(())
    }

    fn list(&self, request: ListRequest) -> BoxStream<'static, Result<ListEntry>> {
        let cursor = Some(Cursor::first(&request));
        let objects = self.objects.clone();
        stream::unfold(cursor, move |cursor| {
            let (page, next) = match cursor {
                Some(cursor) => page(&lock(&objects), &request, cursor),
                None => (Vec::new(), None),
            };
            let ended = page.is_empty();
            async move { (!ended).then(|| (stream::iter(page).map(Ok), next)) }
        })
        .flatten()
        .boxed()
    }
}

/// Where a listing goes on.
enum Cursor {
    At(String),
    After(String),
}

impl Cursor {
    fn first(request: &ListRequest) -> Self {
        match &request.start_after {
            Some(after) if *after >= request.prefix => Self::After(after.clone()),
            _ => Self::At(request.prefix.clone()),
        }
    }

    fn bound(&self) -> Bound<&str> {
        match self {
            Self::At(key) => Bound::Included(key),
            Self::After(key) => Bound::Excluded(key),
        }
    }
}

/// The next entries of a listing, and where to go on after them.
fn page(objects: &Objects, request: &ListRequest, mut cursor: Cursor) -> (Vec<ListEntry>, Option<Cursor>) {
    let mut entries = Vec::new();
    while entries.len() < PAGE_ENTRIES {
        let Some((key, bytes)) = objects.range::<str, _>((cursor.bound(), Bound::Unbounded)).next() else {
            return (entries, None);
        };
        let Some(rest) = key.as_str().strip_prefix(&request.prefix) else { return (entries, None) };
        match rest.find('/') {
            Some(slash) if request.depth == ListDepth::OneLevel => {
                let until_slash = &key.as_str()[..request.prefix.len() + slash];
                entries.push(ListEntry::Prefix(format!("{until_slash}/")));
                // `0` is the byte after `/`: the first place past everything below the prefix.
                cursor = Cursor::At(format!("{until_slash}0"));
            }
            _ => {
                entries.push(ListEntry::Object(ObjectMeta::new(key.clone(), bytes.len() as u64)));
                cursor = Cursor::After(key.as_str().to_owned());
            }
        }
    }
    (entries, Some(cursor))
}
