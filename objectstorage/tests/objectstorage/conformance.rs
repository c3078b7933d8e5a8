//! Does every storage of this crate keep every promise?

#![expect(clippy::unwrap_used, reason = "a test fails by panicking, in its helpers too")]

use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use runyard_objectstorage::{
    CallKind, FaultyStorage, KEY_BYTES_MAX, MemoryStorage, MetricsStorage, ObjectStorage, ObjectStoreStorage,
    PosixFlatStorage, PosixStorage, PrefixStorage, RetrySettings, RetryStorage, Verdict, conformance,
};
use tempfile::TempDir;

/// Directories that live as long as the suite runs.
#[derive(Default)]
struct Directories(Mutex<Vec<TempDir>>);

impl Directories {
    async fn open(&self) -> PosixStorage {
        self.open_in(tempfile::tempdir().unwrap()).await
    }

    /// On a second kind of filesystem, in memory, where there is one.
    async fn open_in_memory(&self) -> PosixStorage {
        self.open_in(in_memory()).await
    }

    async fn open_flat(&self, directory: TempDir) -> PosixFlatStorage {
        let storage = PosixFlatStorage::open(directory.path()).await.unwrap();
        self.0.lock().unwrap().push(directory);
        storage
    }

    async fn open_in(&self, directory: TempDir) -> PosixStorage {
        let storage = PosixStorage::open(directory.path()).await.unwrap();
        self.0.lock().unwrap().push(directory);
        storage
    }
}

fn in_memory() -> TempDir {
    tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir()).unwrap()
}

/// Short races, because every round waits for the disk.
fn on_disk() -> conformance::Settings {
    let mut settings = conformance::Settings::default();
    settings.race_rounds = 15;
    settings
}

/// Longer races, in memory: without the disk to wait for, they are closer as well. A release takes 10,000 rounds.
fn in_memory_races() -> usize {
    match std::env::var("RUNYARD_RACE_ROUNDS") {
        Ok(rounds) => rounds.parse().expect("RUNYARD_RACE_ROUNDS is a number"),
        Err(_) => 200,
    }
}

/// The prefix `p` and its slash take two bytes from every key.
fn below_prefix() -> conformance::Settings {
    let mut settings = on_disk();
    settings.key_bytes_max = KEY_BYTES_MAX - 2;
    settings
}

#[tokio::test(flavor = "multi_thread")]
async fn memory_conforms() {
    conformance::run(async || Arc::new(MemoryStorage::new()) as Arc<dyn ObjectStorage>).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn memory_below_a_prefix_conforms() {
    let make = async || {
        let part = PrefixStorage::new(MetricsStorage::new(MemoryStorage::new()), "p");
        Arc::new(part.unwrap()) as Arc<dyn ObjectStorage>
    };
    conformance::run_with(make, below_prefix()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_fails_now_and_then_conforms_with_retries() {
    let mut retries = RetrySettings::default();
    (retries.attempts_max, retries.delay_first) = (20, Duration::from_micros(1));
    let make = async || {
        let faulty = FaultyStorage::new(MemoryStorage::new());
        faulty.plan(|call| match call.kind {
            // A create without a reply is not repeated.
            CallKind::Put => Verdict::Pass,
            CallKind::List if call.number % 3 == 1 => Verdict::FailAfter,
            _ if call.number % 3 == 0 => Verdict::FailBefore,
            _ => Verdict::Pass,
        });
        Arc::new(RetryStorage::new(faulty, retries)) as Arc<dyn ObjectStorage>
    };
    conformance::run_with(make, on_disk()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn posix_conforms() {
    let directories = Directories::default();
    let make = async || Arc::new(directories.open().await) as Arc<dyn ObjectStorage>;
    conformance::run_with(make, on_disk()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn posix_below_a_prefix_conforms() {
    let directories = Directories::default();
    let make = async || {
        let part = PrefixStorage::new(directories.open_in_memory().await, "p");
        Arc::new(part.unwrap()) as Arc<dyn ObjectStorage>
    };
    let mut settings = below_prefix();
    settings.race_rounds = in_memory_races();
    conformance::run_with(make, settings).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn posixflat_conforms() {
    let directories = Directories::default();
    let make = async || Arc::new(directories.open_flat(tempfile::tempdir().unwrap()).await) as Arc<dyn ObjectStorage>;
    // The races are those of the other storage in a directory.
    let mut settings = on_disk();
    settings.race_rounds = 5;
    settings.listed_objects = 300;
    conformance::run_with(make, settings).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn posixflat_below_a_prefix_conforms() {
    let directories = Directories::default();
    let make = async || {
        let part = PrefixStorage::new(directories.open_flat(in_memory()).await, "p");
        Arc::new(part.unwrap()) as Arc<dyn ObjectStorage>
    };
    let mut settings = below_prefix();
    settings.race_rounds = in_memory_races();
    conformance::run_with(make, settings).await;
}

async fn open_object_store() -> ObjectStoreStorage {
    let store = Arc::new(object_store::memory::InMemory::new());
    ObjectStoreStorage::open(store, Default::default()).await.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn an_object_store_conforms() {
    conformance::run(async || Arc::new(open_object_store().await) as Arc<dyn ObjectStorage>).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_object_store_below_a_prefix_conforms() {
    let make = async || {
        let part = PrefixStorage::new(open_object_store().await, "p");
        Arc::new(part.unwrap()) as Arc<dyn ObjectStorage>
    };
    conformance::run_with(make, below_prefix()).await;
}
