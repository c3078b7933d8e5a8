//! Does a directory list what a map lists, whatever is in it and whatever is asked for?

#![expect(clippy::unwrap_used, reason = "a test fails by panicking, in its helpers too")]

use futures::TryStreamExt;
use proptest::{collection::vec, option, prelude::*};
use runyard_objectstorage::{
    Durability, Error, ListDepth, ListEntry, ListRequest, MemoryStorage, ObjectKey, ObjectStorage, PosixFlatStorage,
    PosixStorage, PutOptions,
};
use tempfile::TempDir;

/// Few letters and many slashes, so that keys share directories and begin alike; the other characters sort on both
/// sides of the slash.
const NAME: &str = "[ab!0-]{1,2}";

/// The same with capital letters and others that are escaped, and with names that end around the border of a chunk.
const ANY_NAME: &str = "[aA!.0é-]{1,2}[a~]|x{79,81}[!é]?|x{160}";

fn keys(name: &'static str) -> impl Strategy<Value = Vec<String>> {
    vec(vec(name, 1..4).prop_map(|components| components.join("/")), 0..30)
}

fn requests(text: &'static str) -> impl Strategy<Value = Vec<ListRequest>> {
    let depth = prop_oneof![Just(ListDepth::Recursive), Just(ListDepth::OneLevel)];
    let request = (text, option::of(text), depth).prop_map(|(prefix, start_after, depth)| ListRequest {
        prefix,
        start_after,
        depth,
    });
    vec(request, 1..20)
}

/// In memory where there is such a place: many small trees are made.
fn directory() -> TempDir {
    tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir()).unwrap()
}

async fn list(storage: &dyn ObjectStorage, request: &ListRequest) -> Vec<ListEntry> {
    storage.list(request.clone()).try_collect().await.unwrap()
}

async fn compare(
    storage: &dyn ObjectStorage,
    may_refuse: bool,
    keys: Vec<String>,
    requests: Vec<ListRequest>,
) -> Result<(), TestCaseError> {
    let memory = MemoryStorage::new();
    let options = PutOptions { durability: Durability::Relaxed, ..PutOptions::default() };
    for key in keys {
        let (key, body) = (ObjectKey::parse(&key).unwrap(), key);
        match storage.put(&key, body.clone().into(), options).await {
            Ok(()) => memory.put(&key, body.into(), options).await.unwrap(),
            // A directory tree cannot hold `a` beside `a/b`.
            Err(Error::UnsupportedKey { .. }) if may_refuse => {}
            Err(error) => panic!("{error:?}"),
        }
    }
    for request in requests {
        prop_assert_eq!(list(storage, &request).await, list(&memory, &request).await, "{:?}", request);
    }
    Ok(())
}

fn block_on<T>(test: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(test)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 100, ..ProptestConfig::default() })]

    #[test]
    fn a_directory_lists_what_a_map_lists(keys in keys(NAME), requests in requests("[ab!0/-]{0,6}")) {
        block_on(async {
            let directory = directory();
            compare(&PosixStorage::open(directory.path()).await.unwrap(), true, keys, requests).await
        })?;
    }

    #[test]
    fn a_directory_of_escaped_names_lists_what_a_map_lists(
        keys in keys(ANY_NAME),
        requests in requests("(x{79,80})?[xaA!.0~é/-]{0,4}"),
    ) {
        block_on(async {
            let directory = directory();
            compare(&PosixFlatStorage::open(directory.path()).await.unwrap(), false, keys, requests).await
        })?;
    }
}
