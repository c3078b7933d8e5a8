//! What becomes of a process that slept while others cleaned the log behind it. The clock is paused: waiting costs
//! nothing.

use futures::{FutureExt, StreamExt, future::join_all};
use runyard_objectstorage::{CallKind, Moment};

use super::*;
use crate::{
    Error,
    coordinator::EmbeddedCoordinator,
    manifest::Tip,
    record::{BatchId, encode_batch, encode_payload},
};

const HOUR: Duration = Duration::from_secs(3_600);

/// A store whose log was cleaned up to where `sleeper` is, and further.
async fn slept_through_a_cleaning() -> (Arc<MemoryStorage>, Process, Process) {
    let objects = objects();
    let busy = Process::open(&objects).await;
    busy.write(1).await;
    let sleeper = Process::open(&objects).await;
    busy.checkpoints(5, 2).await;
    busy.wait_for_cleaner().await;
    assert_eq!(names_in(&objects, "log/").await, [5, 6], "cleaned up to the third newest checkpoint");
    sleeper.uptime.jump(HOUR);
    (objects, busy, sleeper)
}

#[tokio::test(start_paused = true)]
async fn a_writer_that_slept_through_a_cleaning_commits_where_the_log_is() {
    let (objects, busy, sleeper) = slept_through_a_cleaning().await;
    assert_eq!(sleeper.write(7).await.lsn, 7);
    assert_eq!(names_in(&objects, "log/").await, [5, 6, 7], "the slot that seemed free was not taken");
    busy.data.catch_up().await.expect("the log is whole");
    let again = Process::open(&objects).await;
    for process in [&busy, &sleeper, &again] {
        assert_eq!(content(&process.data).await, ((1..=7).collect(), Some(7)));
    }
}

#[tokio::test(start_paused = true)]
async fn what_a_sleeper_has_read_is_checked_against_what_came_meanwhile() {
    let (_, _, sleeper) = slept_through_a_cleaning().await;
    let reads = |key: &'static str| {
        let keys = vec![("c".to_owned(), Bytes::from(key))];
        ReadSet { position: Position { lsn: 1, index: 0 }, keys, ..ReadSet::default() }
    };
    let stale = sleeper.data.commit(Transaction { reads: reads("last"), ..transaction(7) }).await;
    assert!(matches!(&stale, Err(error) if error.is_conflict()), "{stale:?}");
    let untouched = sleeper.data.commit(Transaction { reads: reads("key 1"), ..transaction(8) }).await;
    assert_eq!(untouched.expect("nobody changed it").lsn, 7);
}

#[tokio::test(start_paused = true)]
async fn a_writer_that_slept_in_its_put_through_a_cleaning_is_not_acknowledged() {
    let objects = objects();
    let busy = Process::open(&objects).await;
    busy.write(1).await;
    let sleeper = Process::open(&objects).await;
    let hold = sleeper.storage.hold(CallKind::Put, Moment::Before);
    let mut sleeping = Box::pin(sleeper.data.commit(transaction(100)));
    assert!((&mut sleeping).now_or_never().is_none());
    hold.arrived(1).await;
    busy.checkpoints(5, 2).await;
    busy.wait_for_cleaner().await;
    drop(hold);
    let result = sleeping.await;
    assert!(matches!(result, Err(Error::OutcomeUnknown { .. })), "{result:?}");
    assert_eq!(names_in(&objects, "log/").await, [2, 5, 6], "the put went into a slot that was cleaned");
    // Nobody takes it for the log: not who opens the store, nor another sleeper, nor the one who wrote it.
    sleeper.write(7).await;
    busy.data.catch_up().await.expect("the log is whole");
    for process in [&busy, &sleeper, &Process::open(&objects).await] {
        assert_eq!(content(&process.data).await, ((1..=7).collect(), Some(7)));
    }
    busy.checkpoints(1, 8).await;
    busy.wait_for_cleaner().await;
    assert_eq!(names_in(&objects, "log/").await, [6, 7, 8], "and the next cleaning removes it");
}

#[tokio::test(start_paused = true)]
async fn what_another_sleeper_left_in_the_log_is_not_applied() {
    let (objects, _, sleeper) = slept_through_a_cleaning().await;
    // What a writer that slept in its put made: it follows on what the sleeper has.
    leave_behind(&objects, sleeper.data.handle.store.tip()).await;
    let hold = sleeper.storage.hold(CallKind::List, Moment::Before);
    let (caught_up, ()) = tokio::join!(sleeper.data.catch_up(), async {
        hold.arrived(1).await;
        assert_eq!(content(&sleeper.data).await, (vec![1], Some(1)), "nothing is visible before the floor is read");
        drop(hold);
    });
    caught_up.expect("the store is opened anew");
    assert_eq!(content(&sleeper.data).await, ((1..=6).collect(), Some(6)));
}

/// Puts into the slot after `tip` what a writer leaves there that slept in its put through a cleaning.
async fn leave_behind(objects: &Arc<MemoryStorage>, tip: Tip) {
    let id = BatchId { writer: [9; 16], number: 0 };
    let payload = encode_payload(&transaction(666));
    let (batch, _) = encode_batch(tip.lsn + 1, id, &tip.hash, [&payload[..]].into_iter());
    put(objects, &log(tip.lsn + 1), batch).await;
}

#[tokio::test(start_paused = true)]
async fn an_opening_does_not_take_what_a_sleeper_left_for_the_log() {
    let objects = objects();
    let busy = Process::open(&objects).await;
    busy.checkpoints(2, 1).await;
    let tip = busy.data.handle.store.tip();
    busy.write(3).await;
    let (storage, uptime) = (FaultyStorage::new(Arc::clone(&objects)), Arc::new(VirtualUptime::new()));
    let mut opening = Box::pin(builder(storage.clone(), &uptime).open());
    // The format, the manifest, the hash of the one before; then the log.
    let mut hold = storage.hold(CallKind::Get, Moment::Before);
    for _ in 0..4 {
        drop(std::mem::replace(&mut hold, storage.hold(CallKind::Get, Moment::Before)));
        tokio::select! {
            biased;
            _ = &mut opening => unreachable!("it is held"),
            () = hold.arrived(1) => {}
        }
    }
    busy.checkpoints(5, 4).await;
    busy.wait_for_cleaner().await;
    assert!(!objects.exists(&log(3)).await.expect("readable"), "what is being read was cleaned");
    leave_behind(&objects, tip).await;
    drop(hold);
    let data = opening.await.expect("it starts over");
    assert_eq!(content(&data).await, ((1..=8).collect(), Some(8)));
}

#[tokio::test(start_paused = true)]
async fn a_batch_that_the_floor_passed_after_it_was_written_is_acknowledged_and_not_written_twice() {
    let objects = objects();
    let busy = Process::open(&objects).await;
    let slow = Process::open(&objects).await;
    let hold = slow.storage.hold(CallKind::Put, Moment::After);
    let mut waiting = Box::pin(slow.data.commit(transaction(1)));
    assert!((&mut waiting).now_or_never().is_none());
    hold.arrived(1).await;
    busy.checkpoints(5, 2).await;
    tokio::time::sleep(Duration::from_secs(20)).await;
    drop(hold);
    assert_eq!(waiting.await.expect("it is in the log").lsn, 1);
    assert_eq!(slow.data.handle.source.floor.known().lsn, 5, "the floor was read, and is above");
    slow.write(7).await;
    assert_eq!(content(&Process::open(&objects).await.data).await, ((1..=7).collect(), Some(7)));
}

#[tokio::test(start_paused = true)]
async fn a_follower_that_slept_is_told_so_and_goes_on_from_a_snapshot() {
    let (_, busy, sleeper) = slept_through_a_cleaning().await;
    let mut follower = sleeper.data.follow(Position { lsn: 1, index: 0 });
    assert!(follower.next().now_or_never().is_none(), "nothing is visible yet");
    sleeper.data.catch_up().await.expect("the store is opened anew");
    let expired = follower.next().await.expect("news");
    assert!(matches!(expired, Err(Error::PositionExpired { .. })), "{expired:?}");
    let at = sleeper.data.snapshot();
    let mut follower = sleeper.data.follow(at.position());
    let position = busy.write(7).await;
    sleeper.data.catch_up().await.expect("the log is whole");
    let committed = follower.next().await.expect("news").expect("a transaction");
    assert_eq!(committed.position, position);
}

#[tokio::test(start_paused = true)]
async fn a_snapshot_stays_what_it_was_when_its_store_is_opened_anew() {
    let (_, _, sleeper) = slept_through_a_cleaning().await;
    let before = sleeper.data.snapshot();
    sleeper.data.catch_up().await.expect("the store is opened anew");
    for (key, value) in [("key 1", Some("1")), ("last", Some("1")), ("key 2", None)] {
        let found = sleeper.data.get(&before, "c", key.as_bytes()).await.expect("readable");
        assert_eq!(found.as_deref(), value.map(str::as_bytes), "{key}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_process_whose_checkpoint_others_cleaned_reads_from_the_newest_one() {
    let objects = objects();
    let busy = Process::open(&objects).await;
    busy.checkpoints(1, 1).await;
    let uptime = Arc::new(VirtualUptime::new());
    let reader = builder(Arc::clone(&objects), &uptime).cache_bytes_max(0);
    let reader = reader.read_only().open().await.expect("a whole store");
    let writer = Process::open(&objects).await;
    busy.checkpoints(5, 2).await;
    for data in [&reader, &writer.data] {
        let old = data.snapshot();
        let expired = data.get(&old, "c", b"last").await;
        assert!(matches!(expired, Err(Error::PositionExpired { .. })), "{expired:?}");
        // Read again with a new snapshot, as the error says.
        assert_eq!(content(data).await, ((1..=6).collect(), Some(6)));
    }
}

#[tokio::test(start_paused = true)]
async fn a_checkpoint_that_is_cleaned_while_somebody_asks_why_a_file_is_missing_is_no_damage() {
    let objects = objects();
    let busy = Process::open(&objects).await;
    busy.checkpoints(1, 1).await;
    let reader = Process::open(&objects).await;
    busy.checkpoints(3, 2).await;
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert_eq!(names_in(&objects, "manifest/").await, [2, 3, 4], "what the reader reads from was cleaned");
    let at = reader.data.snapshot();
    let file = reader.storage.hold(CallKind::Get, Moment::Before);
    let (read, ()) = tokio::join!(reader.data.get(&at, "c", b"last"), async {
        file.arrived(1).await;
        let manifest = reader.storage.hold(CallKind::Get, Moment::Before);
        drop(file);
        manifest.arrived(1).await;
        busy.checkpoints(4, 5).await;
        tokio::time::sleep(Duration::from_secs(1)).await;
        assert_eq!(names_in(&objects, "manifest/").await, [6, 7, 8], "all that was listed was cleaned as well");
        drop(manifest);
    });
    assert!(matches!(read, Err(Error::PositionExpired { .. })), "{read:?}");
}

#[tokio::test(start_paused = true)]
async fn a_checkpoint_that_is_cleaned_before_it_is_adopted_is_no_damage() {
    let objects = objects();
    let busy = Process::open(&objects).await;
    let slow = Process::open(&objects).await;
    busy.checkpoints(2, 1).await;
    slow.data.catch_up().await.expect("the log is whole");
    let hold = slow.storage.hold(CallKind::Get, Moment::Before);
    let (made, ()) = tokio::join!(slow.data.checkpoint(), async {
        hold.arrived(1).await;
        busy.checkpoints(4, 3).await;
        tokio::time::sleep(Duration::from_secs(1)).await;
        assert_eq!(names_in(&objects, "manifest/").await, [4, 5, 6], "what was listed was cleaned");
        drop(hold);
    });
    assert_eq!(made.expect("there is a newer one").number, 6);
}

#[tokio::test(start_paused = true)]
async fn while_the_store_cannot_be_opened_anew_commits_wait_and_readers_go_on() {
    let (_, _, sleeper) = slept_through_a_cleaning().await;
    // The floor can be read, and then the storage is gone.
    let calls = sleeper.storage.calls_total();
    sleeper.storage.plan(move |call| match call.number > calls + 2 {
        true => runyard_objectstorage::Verdict::FailBefore,
        false => runyard_objectstorage::Verdict::Pass,
    });
    let (committed, ()) = tokio::join!(sleeper.data.commit(transaction(7)), async {
        tokio::time::sleep(Duration::from_secs(60)).await;
        assert_eq!(content(&sleeper.data).await, (vec![1], Some(1)));
        assert!(sleeper.data.status().stale_for().expect("stale") > Duration::from_secs(50));
        sleeper.storage.revive();
    });
    assert_eq!(committed.expect("nothing is failed that can still succeed").lsn, 7);
    assert_eq!(sleeper.data.status().stale_since, None);
}

#[tokio::test(start_paused = true)]
async fn the_floor_is_read_at_most_every_ten_seconds_and_not_listed_by_whoever_stays_awake() {
    let objects = objects();
    let process = Process::open(&objects).await;
    let calls = |kind| process.storage.calls(kind);
    let (heads, lists, puts) = (calls(CallKind::Head), calls(CallKind::List), calls(CallKind::Put));
    for n in 0..60 {
        process.write(n).await;
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
    assert_eq!(calls(CallKind::Put) - puts, 60);
    assert_eq!(calls(CallKind::Head) - heads, 5, "one for each ten seconds but the first");
    assert_eq!(calls(CallKind::List) - lists, 0);
    tokio::time::sleep(HOUR).await;
    assert_eq!(calls(CallKind::Head) - heads, 5, "an idle store reads nothing");
    process.write(60).await;
    assert_eq!((calls(CallKind::Head) - heads, calls(CallKind::List) - lists), (5, 1), "it was asleep for long");
}

#[tokio::test(start_paused = true)]
async fn of_an_opening_that_slept_through_a_cleaning_nothing_old_is_believed() {
    for kind in [CallKind::Get, CallKind::List] {
        for skipped in 0..8 {
            let objects = objects();
            let busy = Process::open(&objects).await;
            busy.checkpoints(2, 1).await;
            busy.write(3).await;
            let (storage, uptime) = (FaultyStorage::new(Arc::clone(&objects)), Arc::new(VirtualUptime::new()));
            let mut opening = Box::pin(builder(storage.clone(), &uptime).open());
            // Held at this call, if there are so many.
            let mut left = skipped;
            let held = loop {
                let hold = storage.hold(kind, Moment::Before);
                let arrived = tokio::select! {
                    biased;
                    opened = &mut opening => break Err(opened),
                    () = hold.arrived(1) => hold,
                };
                if left == 0 {
                    break Ok(arrived);
                }
                left -= 1;
                drop(arrived);
            };
            busy.checkpoints(5, 4).await;
            busy.wait_for_cleaner().await;
            let opened = match held {
                Ok(hold) => {
                    drop(hold);
                    opening.await
                }
                Err(opened) => opened,
            };
            let data = opened.expect("it starts over");
            data.catch_up().await.expect("the log is whole");
            assert_eq!(content(&data).await, ((1..=8).collect(), Some(8)), "{kind:?} {skipped}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn several_sleepers_that_wake_together_agree() {
    let (objects, busy, _) = slept_through_a_cleaning().await;
    let sleepers = join_all((0..3).map(|_| Process::open(&objects))).await;
    busy.checkpoints(5, 7).await;
    busy.wait_for_cleaner().await;
    for sleeper in &sleepers {
        sleeper.uptime.jump(HOUR);
    }
    join_all(sleepers.iter().zip(12..).map(|(sleeper, n)| sleeper.write(n))).await;
    for sleeper in &sleepers {
        sleeper.data.catch_up().await.expect("the log is whole");
        assert_eq!(content(&sleeper.data).await.0, (1..=14).collect::<Vec<_>>());
    }
}

#[tokio::test(start_paused = true)]
async fn a_sleeper_whose_store_was_taken_over_is_told_so_though_the_log_is_gone() {
    let objects = objects();
    let (storage, uptime) = (FaultyStorage::new(Arc::clone(&objects)), Arc::new(VirtualUptime::new()));
    let sole = |holder: &str| Arc::new(EmbeddedCoordinator::new().holder(holder));
    let opened = builder(storage.clone(), &uptime).coordinator(sole("host a")).open().await;
    let sleeper = Process { storage, uptime, data: opened.expect("a new store") };
    let next = builder(Arc::clone(&objects), &sleeper.uptime).coordinator(sole("host b")).open().await;
    next.expect("a whole store").close().await;
    let busy = Process::open(&objects).await;
    busy.checkpoints(5, 1).await;
    busy.wait_for_cleaner().await;
    assert!(!names_in(&objects, "log/").await.contains(&2), "the log no longer says who took over");
    sleeper.uptime.jump(HOUR);
    let refused = sleeper.data.commit(transaction(7)).await.expect_err("it was taken over");
    assert!(matches!(&refused, Error::TakenOver { message } if message.contains("host b")), "{refused}");
}
