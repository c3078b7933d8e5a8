//! What only this storage promises; the promises of every storage are in the conformance suite.

use std::fs;

use futures::TryStreamExt;
use tempfile::TempDir;

use super::{PosixFlatStorage, escape::CHUNK_BYTES};
use crate::{
    Error, KEY_BYTES_MAX, ListDepth, ListEntry, ListRequest, ObjectKey, ObjectMeta, ObjectStorage, ObjectStorageExt,
    PutMode,
};

fn key(key: &str) -> ObjectKey {
    ObjectKey::parse(key).unwrap()
}

async fn open() -> (TempDir, PosixFlatStorage) {
    // In memory where there is such a place: what is synced is tested elsewhere.
    let directory = tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir()).unwrap();
    let storage = PosixFlatStorage::open(directory.path()).await.unwrap();
    (directory, storage)
}

async fn put(storage: &PosixFlatStorage, name: &str) -> crate::Result<()> {
    storage.put_bytes(&key(name), name.to_owned().into(), PutMode::Create).await
}

async fn names(storage: &PosixFlatStorage, request: ListRequest) -> Vec<String> {
    let entries: Vec<ListEntry> = storage.list(request).try_collect().await.unwrap();
    entries.iter().map(|entry| entry.name().to_owned()).collect()
}

#[tokio::test]
async fn an_object_is_one_above_others_and_leaves_no_directories() {
    let (directory, storage) = open().await;
    for name in ["a/b/c", "a", "a/b"] {
        put(&storage, name).await.unwrap();
    }
    assert_eq!(fs::read(directory.path().join("a.d/b#")).unwrap(), b"a/b");
    assert_eq!(names(&storage, ListRequest::default()).await, ["a", "a/b", "a/b/c"]);
    for name in ["a/b", "a/b/c"] {
        storage.delete(&key(name)).await.unwrap();
    }
    assert!(!directory.path().join("a.d").exists());
    assert_eq!(storage.get_bytes(&key("a")).await.unwrap(), "a");
}

#[tokio::test]
async fn components_of_every_length_around_the_borders_of_chunks_work() {
    let (directory, storage) = open().await;
    let borders = [CHUNK_BYTES, 2 * CHUNK_BYTES, 255, 256];
    let lengths = borders.into_iter().flat_map(|border| border - 1..=border + 1);
    let mut expected = Vec::new();
    for length in lengths.chain([KEY_BYTES_MAX - 2]) {
        let component = "x".repeat(length);
        expected.extend([component.clone(), format!("{component}/y"), format!("{component}-y")]);
    }
    expected.retain(|name| name.len() <= KEY_BYTES_MAX);
    expected.sort();
    expected.dedup();
    for name in &expected {
        put(&storage, name).await.unwrap();
    }
    assert_eq!(names(&storage, ListRequest::default()).await, expected);
    for (number, name) in expected.iter().enumerate() {
        assert_eq!(storage.get_bytes(&key(name)).await.unwrap(), name);
        let after = ListRequest { start_after: Some(name.clone()), ..ListRequest::default() };
        assert_eq!(names(&storage, after).await, expected[number + 1..]);
        let beginning: Vec<_> = expected.iter().filter(|other| other.starts_with(name)).cloned().collect();
        assert_eq!(names(&storage, ListRequest::prefix(name)).await, beginning);
    }
    for name in &expected {
        storage.delete(&key(name)).await.unwrap();
    }
    let left = fs::read_dir(directory.path()).unwrap().map(|entry| entry.unwrap().file_name());
    assert_eq!(left.collect::<Vec<_>>(), [".runyard-staging"]);
}

#[tokio::test]
async fn one_level_ends_at_a_slash_and_not_at_a_chunk() {
    let (_directory, storage) = open().await;
    let long = "x".repeat(3 * CHUNK_BYTES);
    for name in [&*long, &format!("{long}/a"), &format!("{long}/b"), &format!("{long}-"), "a/b/c", "b"] {
        put(&storage, name).await.unwrap();
    }
    let request = ListRequest { depth: ListDepth::OneLevel, ..ListRequest::default() };
    let expected = ["a/", "b", &long, &format!("{long}-"), &format!("{long}/")];
    assert_eq!(names(&storage, request).await, expected);
}

#[tokio::test]
async fn no_name_is_reserved() {
    let (_directory, storage) = open().await;
    let keys = [".runyard-staging", ".runyard-staging/lock", "lost+found", "lost+found/x"];
    for name in keys {
        put(&storage, name).await.unwrap();
    }
    assert_eq!(names(&storage, ListRequest::default()).await, keys);
}

#[tokio::test]
async fn foreign_files_are_passed_over_and_in_the_way_only_of_their_own_name() {
    let (directory, storage) = open().await;
    put(&storage, "a").await.unwrap();
    for foreign in ["README", "%61#", "A#", "log.d", "#"] {
        fs::write(directory.path().join(foreign), "foreign").unwrap();
    }
    for foreign in ["dir", "Dir.d", "x.d", "y#/z"] {
        fs::create_dir_all(directory.path().join(foreign)).unwrap();
    }
    for foreign in ["dir/a#", "Dir.d/a#", "x.d/a"] {
        fs::write(directory.path().join(foreign), "foreign").unwrap();
    }
    fs::write(directory.path().join("y#/z/foreign"), "foreign").unwrap();
    assert_eq!(storage.list_objects("").await.unwrap(), [ObjectMeta::new(key("a"), 1)]);
    let request = ListRequest { depth: ListDepth::OneLevel, ..ListRequest::default() };
    assert_eq!(names(&storage, request).await, ["a"]);
    for name in ["log/1", "y"] {
        let error = put(&storage, name).await.unwrap_err();
        assert!(matches!(error, Error::Corrupt { .. }), "{error:?}");
    }
    put(&storage, "x/a").await.unwrap();
}
