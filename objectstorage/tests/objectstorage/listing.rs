//! Does every storage list what a map lists, whatever is in it and whatever is asked for?

#![expect(clippy::unwrap_used, reason = "a test fails by panicking, in its helpers too")]

use std::sync::Arc;

use futures::TryStreamExt;
use proptest::{collection::vec, option, prelude::*, sample::Index};
use runyard_objectstorage::{
    Durability, Error, ListDepth, ListEntry, ListRequest, MemoryStorage, ObjectKey, ObjectStorage, PosixFlatStorage,
    PosixStorage, PrefixStorage, PutOptions,
};
use tempfile::TempDir;

/// Few letters and many slashes, so that keys share directories and begin alike; the other characters sort on both
/// sides of the slash.
const NAME: &str = "[ab!0é-]{1,2}|[a.]\\.?[a-]";

/// The same with capital letters and others that are escaped, and with names that end around the border of a chunk.
const ANY_NAME: &str = "[aA!.0é-]{1,2}[a~]|x{79,81}[!é]?|x{160}";

fn keys(name: &'static str) -> impl Strategy<Value = Vec<String>> {
    vec(vec(name, 1..4).prop_map(|components| components.join("/")), 0..30)
}

/// A string to begin with or to come after: any, or what some key begins with.
#[derive(Clone, Debug)]
enum Text {
    Any(String),
    Cut { key: Index, at: Index },
}

impl Text {
    fn of(&self, keys: &[String]) -> String {
        match self {
            Self::Any(text) => text.clone(),
            Self::Cut { .. } if keys.is_empty() => String::new(),
            Self::Cut { key, at } => {
                let key = key.get(keys);
                let ends: Vec<_> = (0..=key.len()).filter(|end| key.is_char_boundary(*end)).collect();
                key[..*at.get(&ends)].to_owned()
            }
        }
    }
}

fn texts(text: &'static str) -> impl Strategy<Value = Text> {
    prop_oneof![text.prop_map(Text::Any), (any::<Index>(), any::<Index>()).prop_map(|(key, at)| Text::Cut { key, at }),]
}

type Request = (Text, Option<Text>, ListDepth);

fn requests(text: &'static str) -> impl Strategy<Value = Vec<Request>> {
    let depth = prop_oneof![Just(ListDepth::Recursive), Just(ListDepth::OneLevel)];
    vec((texts(text), option::of(texts(text)), depth), 1..20)
}

/// In memory where there is such a place: many small trees are made.
fn directory() -> TempDir {
    tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir()).unwrap()
}

fn below_prefix(storage: impl ObjectStorage) -> Arc<dyn ObjectStorage> {
    Arc::new(PrefixStorage::new(storage, "p-/q").unwrap())
}

async fn list(storage: &dyn ObjectStorage, request: &ListRequest) -> Vec<ListEntry> {
    storage.list(request.clone()).try_collect().await.unwrap()
}

/// Writes the keys that the first storage takes into all, and compares what they list.
async fn compare(
    storages: Vec<Arc<dyn ObjectStorage>>,
    keys: Vec<String>,
    requests: Vec<Request>,
) -> Result<(), TestCaseError> {
    let options = PutOptions { durability: Durability::Relaxed, ..PutOptions::default() };
    let memory = MemoryStorage::new();
    for name in &keys {
        let Ok(key) = ObjectKey::parse(name) else { continue };
        match storages[0].put(&key, name.clone().into(), options).await {
            Ok(()) => {}
            // A directory tree cannot hold `a` beside `a/b`.
            Err(Error::UnsupportedKey { .. }) => continue,
            Err(error) => panic!("{error:?}"),
        }
        memory.put(&key, name.clone().into(), options).await.unwrap();
        for storage in &storages[1..] {
            storage.put(&key, name.clone().into(), options).await.unwrap();
        }
    }
    for (prefix, start_after, depth) in requests {
        let start_after = start_after.map(|text| text.of(&keys));
        let request = ListRequest { prefix: prefix.of(&keys), start_after, depth };
        let expected = list(&memory, &request).await;
        for storage in &storages {
            prop_assert_eq!(&list(storage, &request).await, &expected, "{:?} of {:?}", request, storage);
        }
    }
    Ok(())
}

fn block_on<T>(test: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(test)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 100, ..ProptestConfig::default() })]

    #[test]
    fn every_storage_lists_what_a_map_lists(keys in keys(NAME), requests in requests("[ab!.0é/-]{0,6}")) {
        block_on(async {
            let directories = [directory(), directory(), directory(), directory()];
            let [posix, posix_below, flat, flat_below] = directories.each_ref().map(|directory| directory.path());
            let storages = vec![
                Arc::new(PosixStorage::open(posix).await.unwrap()) as Arc<dyn ObjectStorage>,
                below_prefix(PosixStorage::open(posix_below).await.unwrap()),
                Arc::new(PosixFlatStorage::open(flat).await.unwrap()),
                below_prefix(PosixFlatStorage::open(flat_below).await.unwrap()),
                below_prefix(MemoryStorage::new()),
            ];
            compare(storages, keys, requests).await
        })?;
    }

    #[test]
    fn a_directory_of_escaped_names_lists_what_a_map_lists(
        keys in keys(ANY_NAME),
        requests in requests("(x{79,80})?[xaA!.0~é/-]{0,4}"),
    ) {
        block_on(async {
            let (flat, below) = (directory(), directory());
            let storages = vec![
                Arc::new(PosixFlatStorage::open(flat.path()).await.unwrap()) as Arc<dyn ObjectStorage>,
                below_prefix(PosixFlatStorage::open(below.path()).await.unwrap()),
                below_prefix(MemoryStorage::new()),
            ];
            compare(storages, keys, requests).await
        })?;
    }
}
