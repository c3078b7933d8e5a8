//! What is deleted, and what a cleaner that dies leaves. The clock is paused: waiting costs nothing.

use runyard_objectstorage::{CallKind, Verdict};

use super::*;
use crate::wal::clean::Cleaner;

fn cleaner(process: &Process) -> Cleaner {
    let handle = &process.data.handle;
    Cleaner::new(handle.source.log.clone(), handle.source.floor.clone(), Arc::clone(&handle.current.pins))
}

async fn is_whole(objects: &Arc<MemoryStorage>, count: u64) {
    let data = Process::open(objects).await.data;
    assert_eq!(content(&data).await, ((1..=count).collect(), Some(count)));
}

#[tokio::test(start_paused = true)]
async fn three_checkpoints_stay_and_what_only_older_ones_need_goes() {
    let objects = objects();
    let process = Process::open(&objects).await;
    process.checkpoints(6, 1).await;
    tokio::time::sleep(CLEANER_WAIT / 2).await;
    assert_eq!(names_in(&objects, "manifest/").await, [4, 5, 6]);
    assert_eq!(names_in(&objects, "log/").await, [1, 2, 3, 4, 5, 6], "the floor was not waited for yet");
    assert_eq!(names_in(&objects, "floor/").await, [1, 2, 3, 4]);
    process.wait_for_cleaner().await;
    assert_eq!(names_in(&objects, "log/").await, [5, 6]);
    assert_eq!(names_in(&objects, "floor/").await, [4]);
    let data: Vec<_> = names(&objects).await.into_iter().filter(|name| name.starts_with("data/")).collect();
    assert_eq!(data.len(), 3, "{data:?}");
    let calls = process.storage.calls_total();
    tokio::time::sleep(CLEANER_WAIT * 10).await;
    assert_eq!(process.storage.calls_total(), calls, "who has nothing to do does nothing");
    is_whole(&objects, 6).await;
}

#[tokio::test(start_paused = true)]
async fn orphans_are_swept_and_foreign_names_never_deleted() {
    let objects = objects();
    let process = Process::open(&objects).await;
    let layout = Layout::new("base").unwrap();
    let file = |manifest| layout.data("c", FileId { manifest, writer: 99, number: 5 });
    let foreign = [
        key("data/x/README"),
        key("log/notes"),
        key("manifest/1"),
        key("floor/old"),
        key("notes"),
        key("data/c/00000000000000000001-00000000000000ff-1"),
    ];
    for key in foreign.iter().chain([&file(1), &file(4), &file(5), &file(60)]) {
        put(&objects, key, "stray").await;
    }
    process.checkpoints(4, 1).await;
    process.wait_for_cleaner().await;
    for (key, stays) in [(file(1), false), (file(4), false), (file(5), true), (file(60), true)] {
        assert_eq!(objects.exists(&key).await.unwrap(), stays, "{key}");
    }
    for key in &foreign {
        assert!(objects.exists(key).await.unwrap(), "{key}");
    }
    process.data.close().await;
    objects.delete(&key("manifest/1")).await.unwrap();
    is_whole(&objects, 4).await;
}

#[tokio::test(start_paused = true)]
async fn a_checkpoint_that_is_held_stays_whole_until_it_is_let_go() {
    let objects = objects();
    let process = Process::open(&objects).await;
    process.checkpoints(2, 1).await;
    let pin = process.data.pin_checkpoint();
    let snapshot = process.data.snapshot();
    assert_eq!((pin.number(), pin.position()), (2, snapshot.position()));
    drop(snapshot);
    process.checkpoints(5, 3).await;
    process.wait_for_cleaner().await;
    assert_eq!(names_in(&objects, "manifest/").await, [2, 5, 6, 7]);
    assert_eq!(names_in(&objects, "log/").await, [3, 4, 5, 6, 7]);
    drop(pin);
    process.checkpoints(1, 8).await;
    process.wait_for_cleaner().await;
    assert_eq!(names_in(&objects, "manifest/").await, [6, 7, 8]);
    assert_eq!(names_in(&objects, "log/").await, [7, 8]);
}

#[tokio::test(start_paused = true)]
async fn a_snapshot_holds_the_checkpoint_that_it_reads_from() {
    let objects = objects();
    let process = Process::open(&objects).await;
    process.checkpoints(2, 1).await;
    let snapshot = process.data.snapshot();
    process.checkpoints(5, 3).await;
    process.wait_for_cleaner().await;
    assert_eq!(names_in(&objects, "manifest/").await, [2, 5, 6, 7]);
    let found = process.data.get(&snapshot, "c", b"last").await.unwrap();
    assert_eq!(found.as_deref(), Some(&b"2"[..]));
}

#[tokio::test(start_paused = true)]
async fn who_did_not_publish_the_newest_checkpoint_deletes_nothing() {
    let objects = objects();
    let process = Process::open(&objects).await;
    process.checkpoints(5, 1).await;
    let before = process.storage.calls(CallKind::Delete);
    assert_eq!(cleaner(&process).clean(4).await.unwrap(), None);
    assert_eq!(process.storage.calls(CallKind::Delete), before);
}

#[tokio::test(start_paused = true)]
async fn a_cleaner_that_dies_anywhere_leaves_a_whole_store_and_the_next_one_finishes() {
    let prepare = async || {
        let objects = objects();
        // Nothing of it was cleaned yet: its cleaner never came to run.
        let process = Process::open(&objects).await;
        let checkpoints = async {
            for n in 1..=7 {
                process.write(n).await;
                checkpoint(&process.data).await;
                process.data.handle.current.published.send_replace(0);
            }
        };
        checkpoints.await;
        assert_eq!(names_in(&objects, "manifest/").await.len(), 7);
        (objects, process)
    };
    let clean_all = async |process: &Process| -> Result<()> {
        let mut cleaner = cleaner(process);
        while let Some(deadline) = cleaner.clean(7).await? {
            tokio::time::sleep(deadline.saturating_sub(crate::Uptime::now(&*process.uptime))).await;
        }
        Ok(())
    };
    let (objects, process) = prepare().await;
    let before = process.storage.calls_total();
    clean_all(&process).await.unwrap();
    let calls = process.storage.calls_total() - before;
    let clean = names(&objects).await;
    assert!(calls > 20 && clean.len() < 12, "{calls} calls, {clean:?}");
    for nth in 1..=calls {
        for verdict in [Verdict::CrashBefore, Verdict::CrashAfter] {
            let (objects, process) = prepare().await;
            process.storage.script(nth, verdict);
            clean_all(&process).await.expect_err("it dies");
            is_whole(&objects, 7).await;
            process.storage.revive();
            let after = Process::open(&objects).await;
            clean_all(&after).await.unwrap();
            assert_eq!(names(&objects).await.len(), clean.len(), "{verdict:?} at call {nth}");
            is_whole(&objects, 7).await;
        }
    }
}

#[tokio::test(start_paused = true)]
async fn two_cleaners_at_once_do_no_harm() {
    let objects = objects();
    let (one, other) = (Process::open(&objects).await, Process::open(&objects).await);
    one.checkpoints(6, 1).await;
    let (mut first, mut second) = (cleaner(&one), cleaner(&other));
    let (a, b) = tokio::join!(first.clean(6), second.clean(6));
    a.unwrap();
    b.unwrap();
    one.wait_for_cleaner().await;
    second.clean(6).await.unwrap();
    assert_eq!(names_in(&objects, "log/").await, [5, 6]);
    is_whole(&objects, 6).await;
}

#[tokio::test(start_paused = true)]
async fn a_floor_of_another_cleaner_is_waited_for_anew() {
    let objects = objects();
    let process = Process::open(&objects).await;
    process.checkpoints(6, 1).await;
    let late = Process::open(&objects).await;
    // What was published long ago is not known to be so.
    process.data.close().await;
    let mut cleaner = cleaner(&late);
    late.uptime.jump(CLEANER_WAIT * 5);
    assert!(cleaner.clean(6).await.unwrap().is_some());
    assert_eq!(names_in(&objects, "log/").await.len(), 6);
    late.uptime.jump(CLEANER_WAIT);
    cleaner.clean(6).await.unwrap();
    assert_eq!(names_in(&objects, "log/").await, [5, 6]);
}

#[tokio::test(start_paused = true)]
async fn a_clock_that_steps_back_a_day_changes_nothing() {
    let directory = tempfile::tempdir().unwrap();
    let storage = runyard_objectstorage::PosixStorage::open(directory.path()).await.unwrap();
    let uptime = Arc::new(VirtualUptime::new());
    let open = async || builder(storage.clone(), &uptime).open().await.unwrap();
    let data = open().await;
    let mut hash = [0; 32];
    let mut now = std::time::SystemTime::UNIX_EPOCH + Duration::from_secs(2_000_000_000);
    for n in 1..=6 {
        data.commit(transaction(n)).await.unwrap();
        checkpoint(&data).await;
        // What the storage says about the time of its objects goes back a day with each of them.
        let key = data.handle.source.log.layout.log(n);
        let file = std::fs::File::options().write(true).open(directory.path().join(key.as_str())).unwrap();
        now -= Duration::from_secs(24 * 3_600);
        file.set_modified(now).unwrap();
        hash = data.state_hash(&data.snapshot()).await.unwrap();
    }
    let log = async || storage.list_objects("base/log/").await.unwrap().len();
    assert_eq!(log().await, 6, "the floor was not waited for yet");
    tokio::time::sleep(CLEANER_WAIT + Duration::from_secs(1)).await;
    // The cleaner works on real files, which takes real time; it is done when the log is as long as it must be.
    while log().await > 2 {
        tokio::task::yield_now().await;
    }
    data.close().await;
    let again = open().await;
    assert_eq!(again.state_hash(&again.snapshot()).await.unwrap(), hash);
    assert_eq!(content(&again).await, ((1..=6).collect(), Some(6)));
}
