//! What is in the stores that are measured?

use std::{path::Path, sync::Arc, time::Duration};

use bytes::Bytes;
use futures::{StreamExt, TryStreamExt, stream};
use rand::{RngExt, SeedableRng, rngs::StdRng};
use runyard_datamanager::{Action, DataManager, Transaction, WalBuilder, WalDataManager};
use runyard_objectstorage::{MetricsStorage, PosixStorage};
use tempfile::TempDir;

use crate::Outcome;

/// The collection of the entries.
pub(crate) const ENTRIES: &str = "entries";

/// What a key takes.
pub(crate) const KEY_BYTES: usize = 16;

/// How much is written with one transaction where only the result counts.
const TRANSACTION_BYTES: usize = 1 << 20;

pub(crate) type Storage = MetricsStorage<Arc<PosixStorage>>;

/// A directory on the disk, removed at the end.
pub(crate) fn directory() -> Outcome<TempDir> {
    Ok(tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR"))?)
}

/// The objects below a directory, with their calls counted.
pub(crate) async fn storage(path: &Path) -> Outcome<Storage> {
    Ok(MetricsStorage::new(Arc::new(PosixStorage::open(path).await?)))
}

/// A store that makes checkpoints when it is told to.
pub(crate) fn builder(storage: &Storage) -> WalBuilder {
    let builder = WalDataManager::builder(Arc::new(storage.clone()));
    builder.checkpoint_log_bytes(u64::MAX).checkpoint_batches(u64::MAX).checkpoint_age(Duration::from_secs(1 << 30))
}

/// The key of an entry; consecutive numbers are far apart.
pub(crate) fn key(number: u64) -> Bytes {
    format!("{:0width$x}", number.wrapping_mul(0x9e37_79b9_7f4a_7c15), width = KEY_BYTES).into()
}

/// What the values look like.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Values {
    /// As a compressor sees them worst.
    Random,
    /// As a run service writes them.
    Json,
}

impl Values {
    /// A value of about so many bytes; `version` makes it another one.
    pub(crate) fn make(self, number: u64, version: u64, bytes: usize) -> Bytes {
        let mut random = StdRng::seed_from_u64(number ^ version.rotate_left(32));
        match self {
            Self::Random => {
                let mut value = vec![0; bytes];
                random.fill(&mut value);
                value.into()
            }
            Self::Json => {
                const STATES: [&str; 4] = ["waiting", "running", "succeeded", "failed"];
                let mut tasks = Vec::new();
                let mut length = 100;
                while length < bytes {
                    let task = serde_json::json!({
                        "name": format!("task-{}", random.random_range(0..1_000)),
                        "state": STATES[random.random_range(0..STATES.len())],
                        "started": 1_700_000_000_000_u64 + random.random_range(0..10_000_000_000),
                        "pod": format!("{:016x}", random.random::<u64>()),
                    });
                    length += task.to_string().len() + 1;
                    tasks.push(task);
                }
                let commit = format!("{:016x}{:016x}", random.random::<u64>(), random.random::<u64>());
                serde_json::json!({ "run": number, "version": version, "commit": commit, "tasks": tasks })
                    .to_string()
                    .into()
            }
        }
    }
}

pub(crate) fn put(collection: &str, key: Bytes, value: Bytes) -> Action {
    Action::Put { collection: collection.to_owned(), key, value }
}

/// Writes entries in large transactions, and returns the bytes of their keys and values.
pub(crate) async fn fill(data: &WalDataManager, entries: impl Iterator<Item = (Bytes, Bytes)>) -> Outcome<u64> {
    let mut written = 0;
    let mut actions = Vec::new();
    let mut bytes = 0;
    for (key, value) in entries {
        bytes += key.len() + value.len();
        actions.push(put(ENTRIES, key, value));
        if bytes >= TRANSACTION_BYTES {
            written += std::mem::take(&mut bytes) as u64;
            let actions = std::mem::take(&mut actions);
            data.commit(Transaction { actions, ..Transaction::default() }).await?;
        }
    }
    data.commit(Transaction { actions, ..Transaction::default() }).await?;
    Ok(written + bytes as u64)
}

/// Writes entries in a transaction each, 64 at a time.
pub(crate) async fn fill_singly(data: &WalDataManager, numbers: std::ops::Range<u64>, bytes: usize) -> Outcome {
    let commits = stream::iter(numbers).map(|number| async move {
        let put = put(ENTRIES, key(number), Values::Random.make(number, 0, bytes));
        data.commit(Transaction { actions: vec![put], ..Transaction::default() }).await.map(drop)
    });
    Ok(commits.buffer_unordered(64).try_collect().await?)
}
