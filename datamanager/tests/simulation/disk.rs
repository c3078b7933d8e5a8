//! What is really stored, and how did it come there?
//!
//! The storage behind all processes. It keeps every log object that ever was, and tells of calls that no store may
//! make.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
    sync::{Mutex, MutexGuard},
};

use async_trait::async_trait;
use bytes::Bytes;
use futures::stream::BoxStream;
use runyard_objectstorage::{
    Body, GetObject, GetRange, ListEntry, ListRequest, MemoryStorage, ObjectKey, ObjectMeta, ObjectStorage,
    ObjectStorageExt, PutMode, PutOptions, Result,
};

use crate::world::{Counts, Stored};

/// The one storage of a simulated world.
pub(crate) struct Disk {
    objects: MemoryStorage,
    /// Empty, or ending with a slash.
    prefix: String,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    /// The first content of every slot of the log.
    log: BTreeMap<u64, Bytes>,
    /// The numbers of all checkpoints that were ever published.
    manifests: BTreeSet<u64>,
    /// Where the log began at most, at any time.
    floor: u64,
    counts: Counts,
    wrong: Option<String>,
}

/// Objects of others, beside a store with a base path.
const NEIGHBOURS: [&str; 5] = ["bas", "base.", "base0/log/00000000000000000001", "a/log/00000000000000000001", "a/b-"];

impl Disk {
    pub(crate) async fn new(base_path: &str) -> Self {
        let objects = MemoryStorage::new();
        let prefix = if base_path.is_empty() { String::new() } else { format!("{base_path}/") };
        if !prefix.is_empty() {
            for name in NEIGHBOURS {
                let key = ObjectKey::parse(name).expect("a key");
                objects.put_bytes(&key, name.into(), PutMode::Create).await.expect("memory takes everything");
            }
        }
        Self { objects, prefix, state: Mutex::default() }
    }

    /// Every batch that was ever stored, by its number.
    pub(crate) fn log(&self) -> BTreeMap<u64, Bytes> {
        self.state().log.clone()
    }

    /// The number of the last batch that was ever stored.
    pub(crate) fn tip(&self) -> u64 {
        self.stored().lsn
    }

    /// What was ever stored.
    pub(crate) fn stored(&self) -> Stored {
        let state = self.state();
        Stored {
            lsn: state.log.last_key_value().map_or(0, |(lsn, _)| *lsn),
            manifest: state.manifests.last().copied().unwrap_or_default(),
        }
    }

    /// Below which number the log may have been cleaned.
    pub(crate) fn floor(&self) -> u64 {
        self.state().floor
    }

    /// How often something happened to it.
    pub(crate) fn counts(&self) -> Counts {
        self.state().counts.clone()
    }

    /// What was done to it that must never be done.
    pub(crate) fn wrong(&self) -> Option<String> {
        self.state().wrong.clone()
    }

    /// Whether the objects of others are what they were.
    pub(crate) async fn neighbours_are_untouched(&self) -> bool {
        if self.prefix.is_empty() {
            return true;
        }
        let objects = self.objects.list_objects("").await.expect("memory lists");
        let foreign: Vec<_> = objects.iter().filter(|meta| !meta.key.as_str().starts_with(&self.prefix)).collect();
        foreign.len() == NEIGHBOURS.len()
            && foreign
                .iter()
                .all(|meta| NEIGHBOURS.contains(&meta.key.as_str()) && meta.size == meta.key.as_str().len() as u64)
    }

    /// Damages a store: nobody is asked, and nothing is recorded.
    pub(crate) fn objects(&self) -> &MemoryStorage {
        &self.objects
    }

    pub(crate) fn key(&self, name: &str) -> ObjectKey {
        ObjectKey::parse(&format!("{}{name}", self.prefix)).expect("a key")
    }

    /// What kind of object a key is of: the directory below the base path, and the number if it has one.
    pub(crate) fn kind_of<'a>(&self, key: &'a ObjectKey) -> Option<(&'a str, Option<u64>)> {
        let name = key.as_str().strip_prefix(&self.prefix)?;
        Some(name.split_once('/').map_or((name, None), |(kind, rest)| (kind, rest.parse().ok())))
    }

    fn check(&self, name: &str) {
        if !name.starts_with(&self.prefix) {
            self.is_wrong(format!("`{name}` is outside the base path"));
        }
    }

    fn is_wrong(&self, what: String) {
        self.state().wrong.get_or_insert(what);
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("not poisoned")
    }
}

#[async_trait]
impl ObjectStorage for Disk {
    async fn head(&self, key: &ObjectKey) -> Result<ObjectMeta> {
        self.check(key.as_str());
        self.objects.head(key).await
    }

    async fn get(&self, key: &ObjectKey, range: GetRange) -> Result<GetObject> {
        self.check(key.as_str());
        self.objects.get(key, range).await
    }

    async fn put(&self, key: &ObjectKey, body: Body, options: PutOptions) -> Result<()> {
        self.check(key.as_str());
        let kind = self.kind_of(key);
        let bytes = body.collect(key, options.size).await?;
        let before = match self.objects.get_bytes(key).await {
            Ok(before) => Some(before),
            Err(error) if error.is_not_found() => None,
            Err(error) => return Err(error),
        };
        self.objects.put(key, Body::from(bytes.clone()), options).await?;
        let is_new = before.is_none();
        if before.is_some_and(|before| before != bytes) {
            self.is_wrong(format!("`{key}` was overwritten"));
        }
        let state = &mut *self.state();
        match kind {
            Some(("format", None)) | Some(("data", _)) => {}
            Some(("log", Some(lsn))) => {
                if *state.log.entry(lsn).or_insert_with(|| bytes.clone()) != bytes {
                    *state.counts.entry("slots that were cleaned and filled again").or_default() += 1;
                }
            }
            Some(("manifest", Some(number))) => {
                if !state.manifests.insert(number) && is_new {
                    *state.counts.entry("checkpoints that were cleaned and published again").or_default() += 1;
                }
            }
            Some(("floor", Some(_))) => state.floor = state.floor.max(floor_of(&bytes)),
            _ => {
                state.wrong.get_or_insert(format!("`{key}` is none of a store's names"));
            }
        }
        Ok(())
    }

    async fn delete(&self, key: &ObjectKey) -> Result<()> {
        self.check(key.as_str());
        if self.objects.exists(key).await? {
            let what = match self.kind_of(key) {
                Some(("log", Some(_))) => "cleaned batches",
                Some(("manifest", Some(_))) => "cleaned checkpoints",
                Some(("data", _)) => "cleaned data files",
                Some(("floor", Some(_))) => "cleaned floors",
                _ => {
                    self.is_wrong(format!("`{key}` was deleted"));
                    "cleaned what is not to be cleaned"
                }
            };
            *self.state().counts.entry(what).or_default() += 1;
        }
        self.objects.delete(key).await
    }

    fn list(&self, request: ListRequest) -> BoxStream<'static, Result<ListEntry>> {
        self.check(&request.prefix);
        self.objects.list(request)
    }
}

/// Where the log begins, says a floor.
fn floor_of(bytes: &[u8]) -> u64 {
    bytes[16..24].try_into().map_or(0, u64::from_le_bytes)
}

impl fmt::Debug for Disk {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Disk({} objects)", self.objects.len())
    }
}
