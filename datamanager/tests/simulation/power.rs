//! Would a store notice if its directory left out a sync?
//!
//! In a world of its own: one process on a real directory, of which every power loss that POSIX allows is tried.

use std::sync::Arc;

use bytes::Bytes;
use runyard_datamanager::{Action, DataManager, Transaction, WalDataManager};
use runyard_objectstorage::{ObjectStorage, PosixStorage, SyncVerdict, Syncing, TracedDisk};

/// How many transactions are committed.
const COUNT: u64 = 3;

async fn open(storage: impl ObjectStorage) -> runyard_datamanager::Result<WalDataManager> {
    WalDataManager::builder(Arc::new(storage)).base_path("rundata").open().await
}

fn key(n: u64) -> Bytes {
    format!("k{n}").into()
}

/// Commits, makes checkpoints, and loses the power after each acknowledgement. Returns in which outcomes something
/// acknowledged was lost.
async fn losses(dropped: Option<Syncing>) -> Vec<String> {
    let directory = tempfile::tempdir().expect("a directory");
    let disk = TracedDisk::new(directory.path()).expect("an empty directory");
    disk.on_sync(move |syncing| if Some(syncing) == dropped { SyncVerdict::Drop } else { SyncVerdict::Make });
    let data = open(disk.open_posix("objects").await.expect("a storage")).await.expect("a store");
    let mut acknowledged = Vec::new();
    for n in 0..COUNT {
        let put = Action::Put { collection: "c".into(), key: key(n), value: n.to_string().into() };
        data.commit(Transaction { actions: vec![put], ..Transaction::default() }).await.expect("committed");
        acknowledged.push(disk.calls());
        if n == 1 {
            data.checkpoint().await.expect("a checkpoint");
        }
    }
    data.close().await;
    let mut losses = Vec::new();
    for calls in acknowledged.clone() {
        let expected = acknowledged.iter().filter(|after| **after <= calls).count() as u64;
        for outcome in disk.outcomes(calls, calls as u64) {
            let found = tempfile::tempdir().expect("a directory");
            outcome.write_to(found.path()).expect("written");
            if let Err(loss) = check(found.path(), expected).await {
                losses.push(format!("{outcome}: {loss}"));
            }
        }
    }
    losses
}

/// Whether a store has its first transactions; the error says what is wrong.
async fn check(path: &std::path::Path, expected: u64) -> Result<(), String> {
    let storage = PosixStorage::open(path.join("objects")).await.map_err(|error| error.to_string())?;
    let data = open(storage).await.map_err(|error| error.to_string())?;
    for n in 0..expected {
        let found = data.get(&data.snapshot(), "c", &key(n)).await.map_err(|error| error.to_string())?;
        if found.is_none() {
            return Err(format!("transaction {n} is lost"));
        }
    }
    data.close().await;
    Ok(())
}

#[tokio::test]
async fn after_a_power_loss_everything_acknowledged_is_there() {
    assert_eq!(losses(None).await, Vec::<String>::new());
}

#[tokio::test]
async fn without_the_syncs_of_directories_something_acknowledged_is_lost() {
    let losses = losses(Some(Syncing::Directory)).await;
    assert!(!losses.is_empty(), "nothing is lost without the syncs of directories");
}
