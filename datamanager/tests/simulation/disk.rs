//! What is really stored, and how did it come there?
//!
//! The storage behind all processes. It keeps every log object that ever was, and tells of calls that no store may make.

use std::{collections::BTreeMap, fmt, sync::Mutex};

use async_trait::async_trait;
use bytes::Bytes;
use futures::stream::BoxStream;
use runyard_objectstorage::{
    Body, GetObject, GetRange, ListEntry, ListRequest, MemoryStorage, ObjectKey, ObjectMeta, ObjectStorage,
    ObjectStorageExt, PutMode, PutOptions, Result,
};

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
        self.state.lock().expect("not poisoned").log.clone()
    }

    /// The number of the last batch that was ever stored.
    pub(crate) fn tip(&self) -> u64 {
        self.state.lock().expect("not poisoned").log.last_key_value().map_or(0, |(lsn, _)| *lsn)
    }

    /// What was done to it that must never be done.
    pub(crate) fn wrong(&self) -> Option<String> {
        self.state.lock().expect("not poisoned").wrong.clone()
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

    pub(crate) fn log_key(&self, lsn: u64) -> ObjectKey {
        ObjectKey::parse(&format!("{}log/{lsn:020}", self.prefix)).expect("a key")
    }

    /// Damages a store: nobody is asked, and nothing is recorded.
    pub(crate) fn objects(&self) -> &MemoryStorage {
        &self.objects
    }

    fn lsn_of(&self, key: &ObjectKey) -> Option<u64> {
        key.as_str().strip_prefix(&self.prefix)?.strip_prefix("log/")?.parse().ok()
    }

    fn check(&self, name: &str) {
        if !name.starts_with(&self.prefix) {
            self.is_wrong(format!("`{name}` is outside the base path"));
        }
    }

    fn is_wrong(&self, what: String) {
        self.state.lock().expect("not poisoned").wrong.get_or_insert(what);
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
        let Some(lsn) = self.lsn_of(key) else { return self.objects.put(key, body, options).await };
        let Ok(bytes) = body.into_bytes() else { panic!("a batch of the log is put from memory") };
        self.objects.put(key, Body::from(bytes.clone()), options).await?;
        let is_new = {
            let mut state = self.state.lock().expect("not poisoned");
            *state.log.entry(lsn).or_insert_with(|| bytes.clone()) == bytes
        };
        if !is_new && options.mode == PutMode::Overwrite {
            self.is_wrong(format!("`{key}` was overwritten"));
        }
        Ok(())
    }

    async fn delete(&self, key: &ObjectKey) -> Result<()> {
        self.check(key.as_str());
        self.objects.delete(key).await
    }

    fn list(&self, request: ListRequest) -> BoxStream<'static, Result<ListEntry>> {
        self.check(&request.prefix);
        self.objects.list(request)
    }
}

impl fmt::Debug for Disk {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Disk({} objects)", self.objects.len())
    }
}
