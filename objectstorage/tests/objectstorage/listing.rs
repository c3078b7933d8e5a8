//! Does a directory list what a map lists, whatever is in it and whatever is asked for?

#![expect(clippy::unwrap_used, reason = "a test fails by panicking, in its helpers too")]

use futures::TryStreamExt;
use proptest::{collection::vec, option, prelude::*};
use runyard_objectstorage::{
    Durability, Error, ListDepth, ListEntry, ListRequest, MemoryStorage, ObjectKey, ObjectStorage, PosixStorage,
    PutOptions,
};

/// Few letters and many slashes, so that keys share directories and begin alike; the other characters sort on both
/// sides of the slash.
const NAME: &str = "[ab!0-]{1,2}";

fn keys() -> impl Strategy<Value = Vec<String>> {
    vec(vec(NAME, 1..4).prop_map(|components| components.join("/")), 0..30)
}

fn requests() -> impl Strategy<Value = Vec<ListRequest>> {
    let depth = prop_oneof![Just(ListDepth::Recursive), Just(ListDepth::OneLevel)];
    let request = ("[ab!0/-]{0,4}", option::of("[ab!0/-]{0,6}"), depth)
        .prop_map(|(prefix, start_after, depth)| ListRequest { prefix, start_after, depth });
    vec(request, 1..20)
}

async fn list(storage: &dyn ObjectStorage, request: &ListRequest) -> Vec<ListEntry> {
    storage.list(request.clone()).try_collect().await.unwrap()
}

async fn compare(keys: Vec<String>, requests: Vec<ListRequest>) -> Result<(), TestCaseError> {
    // In memory where there is such a place: many small trees are made.
    let directory = tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir()).unwrap();
    let posix = PosixStorage::open(directory.path()).await.unwrap();
    let memory = MemoryStorage::new();
    let options = PutOptions { durability: Durability::Relaxed, ..PutOptions::default() };
    for key in keys {
        let (key, body) = (ObjectKey::parse(&key).unwrap(), key);
        match posix.put(&key, body.clone().into(), options).await {
            Ok(()) => memory.put(&key, body.into(), options).await.unwrap(),
            // A directory tree cannot hold `a` beside `a/b`.
            Err(Error::UnsupportedKey { .. }) => {}
            Err(error) => panic!("{error:?}"),
        }
    }
    for request in requests {
        prop_assert_eq!(list(&posix, &request).await, list(&memory, &request).await, "{:?}", request);
    }
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 100, ..ProptestConfig::default() })]

    #[test]
    fn a_directory_lists_what_a_map_lists(keys in keys(), requests in requests()) {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        runtime.block_on(compare(keys, requests))?;
    }
}
