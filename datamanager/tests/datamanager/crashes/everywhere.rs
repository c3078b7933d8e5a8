//! A process dies at every call of a whole life, and the next one at every call of its recovery and its cleaning.
//!
//! A process is a runtime of its own with a connection of its own: when it dies, nothing of it goes on. Its clock is
//! paused: waiting costs nothing. Ids are given, so that the same call is the same call each time, and deaths that leave
//! the same objects are told apart no further.

use std::{
    cell::Cell,
    collections::{BTreeMap, BTreeSet},
    path::Path,
    sync::{
        Arc, Mutex,
        atomic::{AtomicU64, Ordering},
    },
};

use futures::future::join_all;
use runyard_datamanager::{Result, WalDataManager, broken::Broken};
use runyard_objectstorage::{CallKind, FaultyStorage, MemoryStorage, ObjectStorage, PosixStorage, Verdict};

use crate::script::{
    CLEANER_WAIT, Objects, builder, check, check_hash, check_history, commit, commit_and_clean, count, litter, objects,
    storage_of,
};

/// How a process dies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Death {
    /// Before the effect of a call.
    Before,
    /// When half of the bytes of a call are there.
    Torn,
    /// After the effect of a call, and before it has heard of it.
    After,
    /// A call is on its way, and has its effect when the next process is already there.
    Late,
}

impl Death {
    /// Kills who uses `storage` at its `nth` call of some kinds. Returns how many of these calls are left till then.
    fn at<S: ObjectStorage>(self, storage: &FaultyStorage<S>, nth: u64, kinds: &'static [CallKind]) -> Arc<AtomicU64> {
        let verdict = match self {
            Self::Before => Verdict::CrashBefore,
            Self::Torn => Verdict::TornBody,
            Self::After => Verdict::CrashAfter,
            Self::Late => Verdict::Late,
        };
        let left = Arc::new(AtomicU64::new(nth));
        let counted = left.clone();
        storage.plan(move |call| match counted.load(Ordering::Relaxed) {
            0 => Verdict::CrashBefore,
            left => {
                let left = left - u64::from(kinds.contains(&call.kind));
                counted.store(left, Ordering::Relaxed);
                if left == 0 { verdict } else { Verdict::Pass }
            }
        });
        left
    }
}

const WRITES: &[CallKind] = &[CallKind::Put, CallKind::Delete];

/// Runs a process until it ends or dies.
fn process<T>(life: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().start_paused(true).build().unwrap();
    runtime.block_on(life)
}

/// What callers know of the transactions.
#[derive(Debug, Default)]
struct Known {
    acknowledged: Cell<usize>,
    tried: Cell<usize>,
}

impl Known {
    /// Commits transactions at the same time: as long as they read nothing from files, they come in this order.
    async fn commit(&self, data: &WalDataManager, numbers: &[usize]) -> Result<()> {
        self.tried.set(numbers[numbers.len() - 1]);
        for result in join_all(numbers.iter().map(|n| commit(data, *n))).await {
            result?;
            self.acknowledged.set(self.acknowledged.get() + 1);
        }
        Ok(())
    }
}

/// The whole life of a store: its first start, commits, deletes of what is in data files, four checkpoints, a cleaning
/// that waits, commits after it, and another start.
async fn life(storage: impl ObjectStorage + Clone, base_path: &str, known: &Known) -> Result<()> {
    let data = builder(storage.clone(), base_path, 1).open().await?;
    known.commit(&data, &[1]).await?;
    known.commit(&data, &[2, 3]).await?;
    data.checkpoint().await?;
    for n in 4..=6 {
        known.commit(&data, &[n]).await?;
        data.checkpoint().await?;
    }
    known.commit(&data, &[7]).await?;
    tokio::time::sleep(CLEANER_WAIT).await;
    known.commit(&data, &[8]).await?;
    data.close().await;
    let data = builder(storage, base_path, 2).open().await?;
    known.commit(&data, &[9]).await
}

/// A start after a death, up to a cleaning that sweeps what the dead one left.
async fn recovery(storage: impl ObjectStorage, base_path: &str, known: &Known) -> Result<()> {
    let data = builder(storage, base_path, 3).open().await?;
    let next = count(&data).await? + 1;
    known.tried.set(next);
    commit(&data, next).await?;
    known.acknowledged.set(next);
    data.checkpoint().await?;
    tokio::time::sleep(CLEANER_WAIT).await;
    Ok(())
}

/// What is left of dead processes, and what of it must be there: by the objects, so that what is the same is looked at
/// once.
#[derive(Default)]
struct Left(BTreeMap<Objects, Remains>);

struct Remains {
    /// So many transactions must be there, at least and at most.
    acknowledged: usize,
    tried: usize,
    /// How it came to this, the first time.
    deaths: String,
}

impl Left {
    fn add(&mut self, objects: Objects, known: &Known, deaths: String) {
        let (acknowledged, tried) = (known.acknowledged.get(), known.tried.get());
        let remains = self.0.entry(objects).or_insert(Remains { acknowledged, tried, deaths });
        remains.acknowledged = remains.acknowledged.max(acknowledged);
        remains.tried = remains.tried.min(tried);
    }
}

/// Opens what was left, compares it with the model, goes on with it until everything is cleaned, and compares it again.
async fn assert_whole<S: ObjectStorage + Clone>(
    storage: FaultyStorage<S>,
    base_path: &str,
    (acknowledged, tried): (usize, usize),
    what: &str,
) {
    let data = builder(storage.clone(), base_path, 4).open().await.unwrap_or_else(|error| panic!("{what}: {error}"));
    let at_once = count(&data).await.unwrap_or_else(|error| panic!("{what}: {error}"));
    assert!(at_once >= acknowledged, "{what}: {acknowledged} of {tried}, but {at_once} are there");
    // What was on its way comes now.
    storage.land_late().await;
    data.catch_up().await.unwrap();
    let there = check(&data).await.unwrap_or_else(|error| panic!("{what}: {error}"));
    assert!((acknowledged..=tried).contains(&there), "{what}: {acknowledged} of {tried}, but {there} are there");
    check_history(&data).await.unwrap_or_else(|error| panic!("{what}: {error}"));
    check_hash(&data).await;
    commit_and_clean(&data, there + 1).await.unwrap_or_else(|error| panic!("{what}: {error}"));
    // In a directory, that takes real time.
    let mut untidy = litter(&objects(storage.inner()).await, base_path);
    for _ in 0..1_000 {
        if untidy.is_empty() {
            break;
        }
        tokio::time::sleep(CLEANER_WAIT / 100).await;
        untidy = litter(&objects(storage.inner()).await, base_path);
    }
    assert!(untidy.is_empty(), "{what}: {untidy:?}");
    data.close().await;
    let again = builder(storage, base_path, 5).open().await.unwrap_or_else(|error| panic!("{what}: {error}"));
    assert!(check(&again).await.unwrap_or_else(|error| panic!("{what}: {error}")) > there);
    let readable = check_history(&again).await.unwrap_or_else(|error| panic!("{what}: {error}"));
    assert!(readable >= 3, "{what}: the newest three checkpoints are whole");
    check_hash(&again).await;
}

fn memory(objects: &Objects) -> FaultyStorage<MemoryStorage> {
    FaultyStorage::new(process(storage_of(objects)))
}

/// What an undisturbed process calls: how often, and which kinds of calls on what.
fn calls(life: impl AsyncFn(FaultyStorage<MemoryStorage>) -> Result<()>, before: &Objects) -> (u64, BTreeSet<String>) {
    let storage = memory(before);
    let kinds = Arc::new(Mutex::new(BTreeSet::new()));
    storage.plan({
        let kinds = kinds.clone();
        move |call| {
            let name = call.name.strip_prefix("base/").unwrap_or(call.name);
            let directory = name.split('/').next().unwrap_or_default();
            kinds.lock().unwrap().insert(format!("{:?} {directory}", call.kind));
            Verdict::Pass
        }
    });
    process(life(storage.clone())).unwrap();
    (storage.calls_total(), std::mem::take(&mut *kinds.lock().unwrap()))
}

/// Lets a process die at each of its calls, in each of some ways.
fn die_everywhere(
    before: &Objects,
    deaths: &[Death],
    left: &mut Left,
    story: &str,
    life: impl AsyncFn(FaultyStorage<MemoryStorage>, &Known) -> Result<()>,
    begin: impl Fn() -> Known,
) {
    let known = begin();
    let (count, _) = calls(async |storage| life(storage, &known).await, before);
    for nth in 1..=count {
        for death in deaths {
            let (storage, known) = (memory(before), begin());
            death.at(&storage, nth, &CallKind::ALL);
            process(async { drop(life(storage.clone(), &known).await) });
            let objects = process(objects(storage.inner()));
            left.add(objects, &known, format!("{story}{death:?} call {nth}"));
        }
    }
}

fn die_twice_everywhere(base_path: &str, life: impl AsyncFn(FaultyStorage<MemoryStorage>, &Known) -> Result<()>) {
    let (mut once, mut twice) = (Left::default(), Left::default());
    die_everywhere(&Objects::new(), &[Death::Before, Death::Torn, Death::After], &mut once, "", life, Known::default);
    for (objects, Remains { acknowledged, tried, deaths: story }) in &once.0 {
        let known = || Known { acknowledged: Cell::new(*acknowledged), tried: Cell::new(*tried) };
        twice.add(objects.clone(), &known(), story.clone());
        let life = async |storage, known: &Known| recovery(storage, base_path, known).await;
        // In the middle of a call without effect is before it.
        die_everywhere(objects, &[Death::Torn, Death::After], &mut twice, &format!("{story}, then "), life, known);
    }
    for (objects, Remains { acknowledged, tried, deaths }) in &twice.0 {
        process(assert_whole(memory(objects), base_path, (*acknowledged, *tried), deaths));
    }
}

/// Whether a death anywhere in a life goes unnoticed.
fn die_once_everywhere(base_path: &str) {
    let mut once = Left::default();
    let life = async |storage, known: &Known| life(storage, base_path, known).await;
    die_everywhere(&Objects::new(), &[Death::Before, Death::After], &mut once, "", life, Known::default);
    for (objects, Remains { acknowledged, tried, deaths }) in &once.0 {
        process(assert_whole(memory(objects), base_path, (*acknowledged, *tried), deaths));
    }
}

/// What this is about is not tested if the script does not do it.
#[test]
fn the_script_calls_everything_that_a_store_ever_calls() {
    let (calls, kinds) = calls(async |storage| life(storage, "base", &Known::default()).await, &Objects::new());
    let expected = [
        "Put format",
        "Put log",
        "Put data",
        "Put manifest",
        "Put floor",
        "Delete log",
        "Delete manifest",
        "Delete data",
        "Get format",
        "Get log",
        "Get data",
        "Get manifest",
        "Get floor",
        "List log",
        "List manifest",
        "List data",
        "List floor",
    ];
    for kind in expected {
        assert!(kinds.contains(kind), "{kind} is not among {kinds:?}");
    }
    assert!(calls > 100, "{calls}");
}

#[test]
fn two_deaths_anywhere_in_a_store_at_a_base_path_lose_nothing_and_leave_no_litter() {
    die_twice_everywhere("base", async |storage, known| life(storage, "base", known).await);
}

#[test]
fn two_deaths_anywhere_in_a_store_at_the_root_lose_nothing_and_leave_no_litter() {
    die_twice_everywhere("", async |storage, known| life(storage, "", known).await);
}

#[test]
fn a_call_that_has_its_effect_when_the_next_process_is_there_loses_nothing_and_leaves_no_litter() {
    for base_path in ["", "base"] {
        let life = async |storage, known: &Known| life(storage, base_path, known).await;
        for nth in 1.. {
            let (storage, known) = (memory(&Objects::new()), Known::default());
            let left = Death::Late.at(&storage, nth, WRITES);
            process(async { drop(life(storage.clone(), &known).await) });
            let range = (known.acknowledged.get(), known.tried.get());
            process(assert_whole(storage.another_client(), base_path, range, &format!("late write {nth}")));
            if left.load(Ordering::Relaxed) > 0 {
                break;
            }
        }
    }
}

/// What a process that is killed in a put leaves in a directory, because nobody is there to remove it.
fn leave_half_a_put(directory: &Path) {
    let staging = directory.join(".runyard-staging/77");
    std::fs::create_dir_all(&staging).unwrap();
    std::fs::write(staging.join("3"), "RYLG").unwrap();
}

/// Lets a process die at each of its writes in a directory, in one way after the other.
fn die_everywhere_in_a_directory(
    base_path: &str,
    life: impl AsyncFn(FaultyStorage<PosixStorage>, &Known) -> Result<()>,
) {
    let directory = tempfile::tempdir().unwrap();
    for nth in 1.. {
        let root = directory.path().join(nth.to_string());
        let death = [Death::Before, Death::Torn, Death::After][nth as usize % 3];
        let known = Known::default();
        let left = process(async {
            let storage = FaultyStorage::new(PosixStorage::open(&root).await.unwrap());
            let left = death.at(&storage, nth, WRITES);
            drop(life(storage, &known).await);
            left
        });
        leave_half_a_put(&root);
        process(async {
            let storage = FaultyStorage::new(PosixStorage::open(&root).await.unwrap());
            assert!(!root.join(".runyard-staging/77").exists());
            let range = (known.acknowledged.get(), known.tried.get());
            assert_whole(storage, base_path, range, &format!("{death:?} write {nth} in a directory")).await;
        });
        std::fs::remove_dir_all(root).unwrap();
        if left.load(Ordering::Relaxed) > 0 {
            break;
        }
    }
}

#[test]
fn a_death_anywhere_in_a_directory_loses_nothing_and_leaves_no_litter() {
    die_everywhere_in_a_directory("base", async |storage, known| life(storage, "base", known).await);
}

/// The part of a life that ends with the first transaction and its checkpoint.
async fn first_start(storage: impl ObjectStorage + Clone, base_path: &str, known: &Known) -> Result<()> {
    let data = builder(storage, base_path, 1).open().await?;
    known.commit(&data, &[1]).await?;
    data.checkpoint().await.map(drop)
}

#[test]
fn a_crash_at_every_point_of_the_very_first_start_leaves_a_store_that_starts() {
    for base_path in ["", "base"] {
        die_twice_everywhere(base_path, async |storage, known| first_start(storage, base_path, known).await);
        die_everywhere_in_a_directory(base_path, async |storage, known| first_start(storage, base_path, known).await);
    }
}

#[test]
fn a_store_that_forgets_a_promise_is_caught() {
    for broken in [Broken::AcknowledgedBeforePut, Broken::LostReplyIsSuccess, Broken::RecoveryStopsEarly] {
        let caught = std::panic::catch_unwind(|| {
            let _broken = broken.on_this_thread();
            die_once_everywhere("");
        });
        assert!(caught.is_err(), "{broken:?}");
    }
}
