//! What only this storage promises; the promises of every storage are in the conformance suite.

use std::{
    fs,
    sync::atomic::{AtomicU64, Ordering},
};

use rustix::io::Errno;

use super::PosixStorage;
use crate::{ObjectKey, ObjectMeta, ObjectStorage, ObjectStorageExt, PutMode};

/// Counts syncs, and lets one of them fail.
#[derive(Default)]
pub(super) struct SyncScript {
    pub(super) seen: AtomicU64,
    /// The number of the sync that fails, from 1; 0 for none.
    pub(super) fails: AtomicU64,
}

impl SyncScript {
    pub(super) fn step(&self) -> rustix::io::Result<()> {
        let number = self.seen.fetch_add(1, Ordering::Relaxed) + 1;
        if number == self.fails.load(Ordering::Relaxed) { Err(Errno::IO) } else { Ok(()) }
    }
}

#[tokio::test]
async fn what_was_written_is_a_plain_file() {
    let directory = tempfile::tempdir().unwrap();
    let storage = PosixStorage::open(directory.path()).await.unwrap();
    let key = ObjectKey::parse("a/b/c").unwrap();
    storage.put_bytes(&key, "content".into(), PutMode::Create).await.unwrap();
    assert_eq!(fs::read(directory.path().join("a/b/c")).unwrap(), b"content");
    assert_eq!(storage.get_bytes(&key).await.unwrap(), "content");
    let listed = storage.list_objects("").await.unwrap();
    assert_eq!(listed, [ObjectMeta::new(key.clone(), 7)]);
    storage.delete(&key).await.unwrap();
    assert!(!directory.path().join("a").exists());
}
