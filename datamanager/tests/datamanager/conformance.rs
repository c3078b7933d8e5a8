//! Every data manager keeps the promises of the trait, wherever its store is.

use std::sync::{
    Arc,
    atomic::{AtomicU32, Ordering},
};

use runyard_datamanager::{
    MemoryDataManager, WalDataManager, conformance,
    coordinator::{Coordinator, EmbeddedCoordinator, ModelEtcd},
};
use runyard_objectstorage::{MemoryStorage, ObjectStorage, PosixStorage};

async fn open(storage: Arc<dyn ObjectStorage>, base_path: &str) -> WalDataManager {
    WalDataManager::builder(storage).base_path(base_path).open().await.unwrap()
}

#[tokio::test]
async fn the_memory_data_manager_conforms() {
    conformance::run(async || MemoryDataManager::new()).await;
}

#[tokio::test]
async fn a_log_in_memory_conforms_with_and_without_a_base_path() {
    for base_path in ["", "run/data"] {
        conformance::run(async || open(Arc::new(MemoryStorage::new()), base_path).await).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_log_in_a_directory_conforms_with_and_without_a_base_path() {
    let directory = tempfile::tempdir().unwrap();
    for base_path in ["", "run/data"] {
        let count = AtomicU32::new(0);
        conformance::run(async || {
            let root = directory.path().join(format!("{}-{}", base_path.len(), count.fetch_add(1, Ordering::Relaxed)));
            open(Arc::new(PosixStorage::open(root).await.unwrap()), base_path).await
        })
        .await;
    }
}

#[tokio::test]
async fn stores_under_different_base_paths_of_one_storage_do_not_meet() {
    let storage: Arc<dyn ObjectStorage> = Arc::new(MemoryStorage::new());
    let count = AtomicU32::new(0);
    conformance::run(async || {
        // `log/1` is not `log/10`, nor `log/1/log`.
        let base_path = format!("log/{}", count.fetch_add(1, Ordering::Relaxed));
        open(Arc::clone(&storage), &base_path).await
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_embedded_coordinator_conforms() {
    conformance::run_coordinator(async || {
        let one: Arc<dyn Coordinator> = Arc::new(EmbeddedCoordinator::new());
        [one.clone(), one.clone(), one]
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn the_model_of_an_etcd_conforms() {
    conformance::run_coordinator(async || {
        let etcd = ModelEtcd::new();
        ["a", "b", "c"].map(|process| Arc::new(etcd.connect(process)) as Arc<dyn Coordinator>)
    })
    .await;
}
