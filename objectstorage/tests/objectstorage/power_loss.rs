//! Does a storage in a directory keep its promises when the machine loses its power after any call?
//!
//! Scripts of operations are run on a [`TracedDisk`]. For every call that changed the disk, and for many of the states
//! in which a power loss after it may have left the disk, the storage is opened again and compared with what the
//! operations promised until then.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking, in its helpers too")]

use std::{
    collections::{BTreeMap, BTreeSet, HashSet},
    fs,
    path::Path,
    sync::Arc,
};

use proptest::{collection::vec, prelude::*, sample::select};
use runyard_objectstorage::{
    Body, Durability, Error, ObjectKey, ObjectStorage, ObjectStorageExt, Outcome, PosixFlatStorage, PosixStorage,
    PutMode, PutOptions, PutSize, SyncVerdict, Syncing, TracedDisk,
};
use tempfile::TempDir;

const ROOT: &str = "data/objects";

#[derive(Clone, Copy, Debug)]
enum Layout {
    Tree,
    Flat,
}

/// One operation, by one of two processes.
#[derive(Clone, Debug)]
enum Op {
    Put(&'static str, Durability, PutMode),
    Delete(&'static str),
    /// The process ends without closing anything, and starts again.
    Restart,
}

use Durability::{Relaxed, Synced};
use Op::{Delete, Put, Restart};
use PutMode::{Create, Overwrite};

/// What may be found under a key.
#[derive(Clone, Debug, Default, PartialEq)]
struct Promise {
    /// Any of these, whole; `None` is absent. Nothing else, unless all is open.
    allowed: BTreeSet<Option<String>>,
    /// A relaxed write gives no promise until a synced one.
    is_open: bool,
}

type Promises = BTreeMap<&'static str, Promise>;

/// What a run of operations promised: after so many calls, this.
struct History {
    disk: TracedDisk,
    promises: Vec<(usize, Promises)>,
    _directory: TempDir,
}

/// In memory where there is such a place: what is on the disk is only modelled.
fn directory() -> TempDir {
    tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir()).unwrap()
}

async fn open(disk: &TracedDisk, layout: Layout) -> Arc<dyn ObjectStorage> {
    match layout {
        Layout::Tree => Arc::new(disk.open_posix(ROOT).await.unwrap()),
        Layout::Flat => Arc::new(disk.open_posixflat(ROOT).await.unwrap()),
    }
}

async fn reopen(base: &Path, layout: Layout) -> Result<Arc<dyn ObjectStorage>, Error> {
    let root = base.join(ROOT);
    Ok(match layout {
        Layout::Tree => Arc::new(PosixStorage::open(root).await?),
        Layout::Flat => Arc::new(PosixFlatStorage::open(root).await?),
    })
}

/// How operations are run.
struct Run<P> {
    layout: Layout,
    /// They take turns.
    processes: usize,
    has_exclusive_rename: bool,
    on_sync: P,
}

fn plain(layout: Layout) -> Run<impl FnMut(Syncing) -> SyncVerdict> {
    Run { layout, processes: 2, has_exclusive_rename: true, on_sync: |_| SyncVerdict::Make }
}

async fn run(run: Run<impl FnMut(Syncing) -> SyncVerdict + Send + 'static>, ops: &[Op]) -> History {
    let directory = directory();
    let disk = TracedDisk::new(directory.path()).unwrap();
    disk.on_sync(run.on_sync);
    if !run.has_exclusive_rename {
        disk.without_exclusive_rename();
    }
    let layout = run.layout;
    let mut promises = Promises::new();
    let mut history = vec![(0, promises.clone())];
    let mut processes = Vec::new();
    for _ in 0..run.processes {
        processes.push(open(&disk, layout).await);
    }
    for (number, op) in ops.iter().enumerate() {
        let process = number % processes.len();
        let storage = &processes[process];
        match op {
            Put(name, durability, mode) => {
                let content = content(number, name);
                let promise = promises.entry(name).or_insert_with(|| allowed([None]));
                let before = promise.clone();
                // While it is under way it may be found or not; a relaxed one in any state.
                promise.allowed.insert(Some(content.clone()));
                promise.is_open |= *durability == Relaxed;
                history.push((disk.calls(), promises.clone()));
                let options = PutOptions { size: PutSize::Unknown, durability: *durability, mode: *mode };
                // Every second body is streamed.
                let body = match number % 4 {
                    0 | 1 => Body::from(content.clone()),
                    _ => Body::stream(futures::stream::iter([Ok(content.clone().into())])),
                };
                let written = storage.put(&key(name), body, options).await;
                let promise = promises.get_mut(name).unwrap();
                match written {
                    Ok(()) if *durability == Synced => *promise = allowed([Some(content)]),
                    Ok(()) => {}
                    Err(Error::AlreadyExists { .. } | Error::UnsupportedKey { .. }) => *promise = before,
                    // The file could not be synced, so it was not published.
                    Err(Error::Unavailable { doing: "syncing", .. }) => *promise = before,
                    // A directory could not be synced: the outcome is unknown. Nobody gets any further.
                    Err(Error::Unusable { .. }) => {}
                    Err(error) => panic!("{op:?}: {error:?}"),
                }
            }
            Delete(name) => {
                if let Some(promise) = promises.get_mut(name) {
                    // A delete is not synced.
                    promise.allowed.insert(None);
                }
                history.push((disk.calls(), promises.clone()));
                match storage.delete(&key(name)).await {
                    Ok(()) | Err(Error::Unusable { .. }) => {}
                    Err(error) => panic!("{op:?}: {error:?}"),
                }
            }
            Restart => {
                // Closing would sweep; a process that dies does not.
                let next = open(&disk, layout).await;
                std::mem::forget(std::mem::replace(&mut processes[process], next));
            }
        }
        history.push((disk.calls(), promises.clone()));
    }
    history.dedup();
    drop(processes);
    History { disk, promises: history, _directory: directory }
}

fn content(number: usize, name: &str) -> String {
    format!("{number} {name} {}", "x".repeat(number % 7))
}

fn allowed<const N: usize>(contents: [Option<String>; N]) -> Promise {
    Promise { allowed: BTreeSet::from(contents), is_open: false }
}

fn key(name: &str) -> ObjectKey {
    ObjectKey::parse(name).unwrap()
}

/// Tries a power loss after every call; returns how many states were tried, or the first broken promise.
async fn check(history: &History, layout: Layout, seed: u64) -> Result<usize, String> {
    let mut tried = HashSet::new();
    for calls in 0..=history.disk.calls() {
        let in_force = history.promises.iter().rposition(|(since, _)| *since <= calls).unwrap();
        // Between two states of the promises, the call under way belongs to the one that is still running.
        let (_, promises) = &history.promises[in_force];
        for outcome in history.disk.outcomes(calls, seed.wrapping_add(calls as u64)) {
            if tried.insert((in_force, essence(&outcome))) {
                check_outcome(&outcome, promises, layout).await.map_err(|broken| format!("{broken}\n{outcome}"))?;
            }
        }
    }
    Ok(tried.len())
}

/// Which objects are half written makes a difference for nobody: that some are is enough.
fn essence(outcome: &Outcome) -> (BTreeMap<String, Option<Vec<u8>>>, bool) {
    let is_staged = |path: &str| path.contains("/.runyard-staging/");
    let (staged, rest) = outcome.tree().clone().into_iter().partition(|(path, _)| is_staged(path));
    let staged: BTreeMap<_, _> = staged;
    (rest, staged.values().flatten().any(|bytes| !bytes.is_empty()))
}

async fn check_outcome(outcome: &Outcome, promises: &Promises, layout: Layout) -> Result<(), String> {
    let directory = directory();
    outcome.write_to(directory.path()).unwrap();
    let storage = reopen(directory.path(), layout).await.map_err(|error| format!("it cannot be opened: {error}"))?;
    let mut present = Vec::new();
    for (name, promise) in promises {
        let found = match storage.get_bytes(&key(name)).await {
            Ok(bytes) => Some(bytes),
            Err(error) if error.is_not_found() => None,
            Err(error) => return Err(format!("`{name}`: {error}")),
        };
        let text = found.as_ref().map(|bytes| String::from_utf8_lossy(bytes).into_owned());
        if !promise.is_open && !promise.allowed.contains(&text) {
            return Err(format!("`{name}` is {text:?}, and may be {:?}", promise.allowed));
        }
        present.extend(found.map(|_| *name));
    }
    let listed = storage.list_objects("").await.map_err(|error| error.to_string())?;
    let listed: Vec<_> = listed.iter().map(|meta| meta.key.as_str()).collect();
    if listed != present {
        return Err(format!("{listed:?} are listed, and {present:?} are there"));
    }
    let staging: Vec<_> = fs::read_dir(directory.path().join(ROOT).join(".runyard-staging")).unwrap().collect();
    let writers: Vec<_> = staging.into_iter().map(|entry| entry.unwrap().path()).filter(|path| path.is_dir()).collect();
    let [own] = &*writers else { return Err(format!("staging was not swept: {writers:?}")) };
    if fs::read_dir(own).unwrap().count() != 1 {
        return Err("half-written objects were not swept".to_owned());
    }
    for name in present.iter().copied().chain(["new/1"]) {
        let written = storage.put_bytes(&key(name), "after".into(), Overwrite).await;
        written.map_err(|error| format!("`{name}` cannot be written: {error}"))?;
    }
    Ok(())
}

/// Every kind of write in every kind of directory: the root, new ones, one that exists, that a relaxed write or the
/// other process made, that was pruned and made again.
fn script() -> Vec<Op> {
    vec![
        Put("a", Synced, Overwrite),
        Put("d/e/1", Synced, Create),
        Put("d/e/2", Synced, Create),
        Put("a", Synced, Overwrite),
        Put("d/e/1", Synced, Create),
        Put("r/s/1", Relaxed, Overwrite),
        Put("r/s/2", Synced, Overwrite),
        Put("r/t/1", Synced, Create),
        Delete("d/e/1"),
        Delete("d/e/2"),
        Put("d/e/3", Synced, Overwrite),
        Put("d/e/1", Synced, Create),
        Restart,
        Put("d/f/1", Synced, Create),
        Put("a", Relaxed, Overwrite),
        Delete("a"),
        Put("a", Synced, Create),
        Delete("never"),
        Put("r/s/1", Synced, Overwrite),
        Restart,
        Put("r/s/1", Synced, Overwrite),
        Delete("d/f/1"),
        Put("d/f", Synced, Create),
    ]
}

#[tokio::test]
async fn synced_objects_survive_a_power_loss_after_every_call() {
    for layout in [Layout::Tree, Layout::Flat] {
        for has_exclusive_rename in [true, false] {
            let history = run(Run { has_exclusive_rename, ..plain(layout) }, &script()).await;
            let tried = check(&history, layout, 1).await.unwrap_or_else(|broken| panic!("{layout:?}: {broken}"));
            assert!(tried > 150, "{tried} states of {} calls", history.disk.calls());
        }
    }
}

/// A storage that leaves one kind of sync out loses objects, and the model sees it.
#[tokio::test]
async fn a_dropped_sync_is_caught() {
    for layout in [Layout::Tree, Layout::Flat] {
        for (dropped, loses) in [
            (Syncing::File, Put("a", Synced, Overwrite)),
            (Syncing::Directory, Put("a", Synced, Overwrite)),
            (Syncing::DirectoryAbove, Put("d/e/1", Synced, Create)),
        ] {
            let mut is_open = false;
            let plan = move |syncing| match syncing {
                // What opening syncs first is the directory above; it is dropped in a case of its own.
                _ if syncing == dropped && is_open => SyncVerdict::Drop,
                Syncing::DirectoryAbove => SyncVerdict::Make,
                _ => {
                    is_open = true;
                    SyncVerdict::Make
                }
            };
            let broken = Run { layout, processes: 1, has_exclusive_rename: true, on_sync: plan };
            let history = run(broken, &[Put("x", Synced, Create), loses.clone()]).await;
            let broken = check(&history, layout, 2).await.expect_err("the dropped sync loses an object");
            assert!(broken.contains("and may be"), "{dropped:?}: {broken}");
        }
    }
}

#[tokio::test]
async fn a_root_that_was_not_synced_is_caught() {
    let on_sync = |syncing| if syncing == Syncing::DirectoryAbove { SyncVerdict::Drop } else { SyncVerdict::Make };
    let broken = Run { layout: Layout::Tree, processes: 1, has_exclusive_rename: true, on_sync };
    let history = run(broken, &[Put("x", Synced, Create)]).await;
    check(&history, Layout::Tree, 3).await.expect_err("the root itself is lost");
}

/// The next to open the directories cannot know whether they were synced.
#[tokio::test]
async fn directories_of_a_process_that_died_while_it_made_them_are_synced_by_the_next() {
    for layout in [Layout::Tree, Layout::Flat] {
        let opening = run(Run { processes: 1, ..plain(layout) }, &[]).await.disk.syncs();
        let mut number = 0;
        let on_sync = move |syncing| {
            number += 1;
            let is_dead = number <= opening && syncing != Syncing::File;
            if is_dead { SyncVerdict::Drop } else { SyncVerdict::Make }
        };
        let second = Run { layout, processes: 2, has_exclusive_rename: true, on_sync };
        let history = run(second, &[Delete("never"), Put("d/x", Synced, Create)]).await;
        check(&history, layout, 6).await.unwrap_or_else(|broken| panic!("{layout:?}: {broken}"));
    }
}

/// A sync that fails is neither repeated nor believed: whatever it was for, no promise is broken by it.
#[tokio::test]
async fn a_failed_sync_breaks_no_promise() {
    let ops = &script()[..12];
    let alone = || Run { processes: 1, ..plain(Layout::Tree) };
    let (opening, all) = (run(alone(), &[]).await.disk.syncs(), run(alone(), ops).await.disk.syncs());
    assert!(opening < all);
    for failing in opening..all {
        let mut number = 0;
        let on_sync = move |_| {
            number += 1;
            if number == failing + 1 { SyncVerdict::Fail } else { SyncVerdict::Make }
        };
        // Both layouts sync alike, so that one in turn is enough.
        let layout = [Layout::Tree, Layout::Flat][failing % 2];
        let history = run(Run { layout, processes: 1, has_exclusive_rename: true, on_sync }, ops).await;
        check(&history, layout, 4).await.unwrap_or_else(|broken| panic!("{layout:?}, sync {failing}: {broken}"));
    }
}

/// Why the contract promises nothing of a relaxed object after a crash of the machine.
#[tokio::test]
async fn a_relaxed_object_may_be_absent_or_torn_after_a_power_loss() {
    let history = run(plain(Layout::Tree), &[Put("a", Relaxed, Create)]).await;
    let outcomes = history.disk.outcomes(history.disk.calls(), 5);
    let found: BTreeSet<_> =
        outcomes.iter().map(|outcome| outcome.tree().get(&format!("{ROOT}/a")).cloned().flatten()).collect();
    let whole = content(0, "a").into_bytes();
    let half = whole[..whole.len() / 2].to_vec();
    assert_eq!(found, BTreeSet::from([None, Some(vec![]), Some(vec![0; whole.len()]), Some(half), Some(whole)]));
}

fn ops() -> impl Strategy<Value = Vec<Op>> {
    let name = || select(vec!["a", "b", "d/1", "d/2", "d/e/1", "d/e/2", "f/g/h/1"]);
    let put = (name(), select(vec![Synced, Synced, Relaxed]), select(vec![Create, Overwrite]));
    let op = prop_oneof![
        6 => put.prop_map(|(name, durability, mode)| Put(name, durability, mode)),
        3 => name().prop_map(Delete),
        1 => Just(Restart),
    ];
    vec(op, 1..15)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 12, ..ProptestConfig::default() })]

    #[test]
    fn synced_objects_survive_whatever_was_done_before(
        ops in ops(),
        layout in select(vec![Layout::Tree, Layout::Flat]),
        seed: u64,
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let checked = runtime.block_on(async {
            let history = run(plain(layout), &ops).await;
            check(&history, layout, seed).await
        });
        prop_assert!(checked.is_ok(), "{}", checked.unwrap_err());
    }
}
