//! Processes that each want a store to themselves.

use std::sync::Arc;

use runyard_datamanager::{
    DataManager, Error, Result, WalBuilder, WalDataManager,
    coordinator::{EmbeddedCoordinator, ModelEtcd},
};
use runyard_objectstorage::{CallKind, FaultyStorage, MemoryStorage};

use crate::support::{commit, present};

fn builder(storage: &Arc<MemoryStorage>) -> WalBuilder {
    WalDataManager::builder(Arc::new(Arc::clone(storage))).base_path("base")
}

/// Opens a store for a process that is to have it to itself.
async fn open_as(storage: &Arc<MemoryStorage>, holder: &str) -> WalDataManager {
    let coordinator = EmbeddedCoordinator::new().holder(holder);
    builder(storage).coordinator(Arc::new(coordinator)).open().await.unwrap()
}

fn lost_to(result: Result<impl std::fmt::Debug>, holder: &str) {
    match result.expect_err("another process has the store") {
        Error::TakenOver { message } => {
            assert!(message.contains(holder) && message.contains("end this process"), "{message}");
        }
        other => panic!("{other}"),
    }
}

#[tokio::test]
async fn the_older_of_two_processes_commits_nothing_more_and_says_who_took_over() {
    let storage = Arc::default();
    let older = open_as(&storage, "host a").await;
    commit(&older, 0).await.unwrap();
    let newer = open_as(&storage, "host b").await;
    lost_to(commit(&older, 1).await, "host b");
    commit(&newer, 2).await.unwrap();
    lost_to(commit(&older, 3).await, "host b");
    assert_eq!(present(&newer).await, [0, 2]);
    let status = older.status();
    assert!(status.taken_over.is_some_and(|message| message.contains("host b")));
    assert_eq!(newer.status().taken_over, None);
    // It can still be read, and catches up.
    older.catch_up().await.unwrap();
    assert_eq!(present(&older).await, [0, 2]);
    // And so on.
    let newest = open_as(&storage, "host a again").await;
    lost_to(commit(&newer, 4).await, "host a again");
    commit(&newest, 5).await.unwrap();
}

#[tokio::test]
async fn a_process_that_is_told_so_by_its_status_alone_knows_it_too() {
    let storage = Arc::default();
    let older = open_as(&storage, "host a").await;
    let _newer = open_as(&storage, "host b").await;
    let mut status = older.watch_status();
    older.catch_up().await.unwrap();
    assert!(status.wait_for(|status| status.taken_over.is_some()).await.is_ok());
}

#[tokio::test]
async fn readers_take_nothing_over_and_write_nothing() {
    let storage = Arc::new(MemoryStorage::new());
    let older = open_as(&storage, "host a").await;
    commit(&older, 0).await.unwrap();
    let calls = FaultyStorage::new(Arc::clone(&storage));
    let coordinator = Arc::new(EmbeddedCoordinator::new());
    let reader = WalDataManager::builder(Arc::new(calls.clone())).base_path("base").read_only();
    let reader = reader.coordinator(coordinator).open().await.unwrap();
    assert_eq!(present(&reader).await, [0]);
    assert_eq!(calls.calls(CallKind::Put), 0);
    commit(&older, 1).await.unwrap();
}

#[tokio::test]
async fn whoever_shares_a_store_takes_it_back_for_all_who_do() {
    let storage = Arc::default();
    let sole = open_as(&storage, "host a").await;
    let etcd = ModelEtcd::new();
    let shared = builder(&storage).coordinator(Arc::new(etcd.connect("a"))).open().await.unwrap();
    lost_to(commit(&sole, 0).await, "share");
    let another = builder(&storage).coordinator(Arc::new(etcd.connect("b"))).open().await.unwrap();
    let before = another.snapshot().position();
    commit(&shared, 1).await.unwrap();
    commit(&another, 2).await.unwrap();
    assert_eq!(before.lsn, 2, "who comes later takes nothing over");
    let sole = open_as(&storage, "host c").await;
    lost_to(commit(&shared, 3).await, "host c");
    lost_to(commit(&another, 4).await, "host c");
    commit(&sole, 5).await.unwrap();
}

#[tokio::test]
async fn a_store_in_maintenance_opens_and_is_taken_over_by_nobody() {
    let storage = Arc::default();
    let older = open_as(&storage, "host a").await;
    older.enter_maintenance("moving").await.unwrap();
    let newer = open_as(&storage, "host b").await;
    assert!(matches!(commit(&newer, 0).await, Err(Error::Maintenance { .. })));
    newer.leave_maintenance().await.unwrap();
    commit(&newer, 1).await.unwrap();
    commit(&older, 2).await.unwrap();
}
