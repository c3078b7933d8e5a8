//! Does the faulty storage fail exactly as planned?

use std::time::Duration;

use bytes::Bytes;
use tokio::time::Instant;

use super::*;
use crate::{Durability, MemoryStorage, ObjectStorageExt, PutMode};

const SECOND: Duration = Duration::from_secs(1);

fn key(key: &str) -> ObjectKey {
    ObjectKey::parse(key).unwrap()
}

fn storage() -> FaultyStorage<MemoryStorage> {
    FaultyStorage::new(MemoryStorage::new())
}

async fn put(storage: &FaultyStorage<MemoryStorage>, name: &str) -> Result<()> {
    storage.put_bytes(&key(name), name.to_owned().into(), PutMode::Create).await
}

#[tokio::test]
async fn a_call_fails_before_its_effect_or_after_it() {
    let storage = storage();
    for (verdict, has_effect) in [(Verdict::FailBefore, false), (Verdict::FailAfter, true)] {
        storage.script(1, verdict);
        let error = put(&storage, "a").await.unwrap_err();
        assert!(error.is_retryable(), "{error}");
        assert_eq!(storage.exists(&key("a")).await.unwrap(), has_effect, "{verdict:?}");
    }
}

#[tokio::test]
async fn after_a_crash_everything_fails_until_revived() {
    for (verdict, has_effect) in [(Verdict::CrashBefore, false), (Verdict::CrashAfter, true)] {
        let storage = storage();
        storage.script(2, verdict);
        put(&storage, "a").await.unwrap();
        put(&storage, "b").await.unwrap_err();
        put(&storage, "c").await.unwrap_err();
        storage.head(&key("a")).await.unwrap_err();
        storage.get_bytes(&key("a")).await.unwrap_err();
        storage.delete(&key("a")).await.unwrap_err();
        storage.list_objects("").await.unwrap_err();
        assert_eq!(storage.inner().len(), 1 + usize::from(has_effect), "{verdict:?}");
        storage.revive();
        put(&storage, "d").await.unwrap();
        assert_eq!((storage.calls_total(), storage.calls(CallKind::Put)), (8, 4));
    }
}

#[tokio::test]
async fn a_late_write_fails_and_lands_when_it_is_let() {
    let storage = storage();
    put(&storage, "old").await.unwrap();
    storage.plan(|call| if call.kind == CallKind::Head { Verdict::Pass } else { Verdict::Late });
    put(&storage, "new").await.unwrap_err();
    storage.delete(&key("old")).await.unwrap_err();
    assert!(storage.exists(&key("old")).await.unwrap() && !storage.exists(&key("new")).await.unwrap());
    let answers = storage.land_late().await;
    assert!(answers.iter().all(Result::is_ok) && answers.len() == 2);
    assert!(!storage.exists(&key("old")).await.unwrap() && storage.exists(&key("new")).await.unwrap());
}

#[tokio::test]
async fn reads_break_off_in_the_middle() {
    let storage = storage();
    put(&storage, "a-long-name").await.unwrap();
    put(&storage, "b").await.unwrap();
    storage.script(1, Verdict::FailAfter);
    let object = storage.get(&key("a-long-name"), GetRange::Full).await.unwrap();
    let pieces: Vec<_> = object.stream.collect().await;
    assert!(matches!(&pieces[..], [Ok(half), Err(_)] if half == "a-lon"), "{pieces:?}");
    storage.script(1, Verdict::FailAfter);
    let entries: Vec<_> = storage.list(ListRequest::default()).collect().await;
    assert!(matches!(&entries[..], [Ok(_), Err(_)]), "{entries:?}");
}

#[tokio::test]
async fn a_held_call_waits_before_its_effect_or_after_it() {
    for (moment, has_effect) in [(Moment::Before, false), (Moment::After, true)] {
        let storage = storage();
        let hold = storage.hold(CallKind::Put, moment);
        let writer = tokio::spawn({
            let storage = storage.clone();
            async move { put(&storage, "a").await }
        });
        hold.arrived(1).await;
        assert_eq!(storage.exists(&key("a")).await.unwrap(), has_effect, "{moment:?}");
        assert!(!writer.is_finished());
        drop(hold);
        writer.await.unwrap().unwrap();
        put(&storage, "b").await.unwrap();
    }
}

#[tokio::test]
async fn a_torn_put_has_no_effect_and_leaves_the_caller_to_try_again() {
    let streamed = || Body::stream(stream::iter(["ab", "cd"].map(|piece| Ok(Bytes::from(piece)))));
    for (body, size) in [
        (Body::from("abcd"), PutSize::Exact(4)),
        (Body::from("abcd"), PutSize::Unknown),
        (Body::from(""), PutSize::Exact(0)),
        (streamed(), PutSize::Exact(4)),
        (streamed(), PutSize::Unknown),
    ] {
        let storage = storage();
        storage.script(1, Verdict::TornBody);
        let options = PutOptions { size, ..PutOptions::default() };
        let error = storage.put(&key("a"), body, options).await.unwrap_err();
        assert!(matches!(error, Error::Unavailable { .. }), "{error:?}");
        assert!(storage.inner().is_empty());
    }
}

#[tokio::test]
async fn a_torn_body_reaches_the_storage_up_to_its_middle() {
    for (body, size, expected) in [
        (Body::from("abcdef"), PutSize::Exact(6), "abc"),
        (Body::stream(stream::iter(["ab", "cdef"].map(|piece| Ok(piece.into())))), PutSize::Exact(6), "abc"),
        (Body::stream(stream::iter(["ab", "cdef"].map(|piece| Ok(piece.into())))), PutSize::Unknown, "ab"),
    ] {
        let options = PutOptions { size, ..PutOptions::default() };
        let (torn, _) = damaged(Damage::Torn, &key("a"), body, options).await.unwrap();
        let pieces: Vec<_> = torn.into_stream().collect().await;
        let (last, sent) = pieces.split_last().unwrap();
        assert!(last.is_err());
        assert_eq!(sent.iter().flatten().flat_map(|piece| piece.to_vec()).collect::<Vec<_>>(), expected.as_bytes());
    }
}

#[tokio::test]
async fn an_error_of_the_callers_own_body_stays_theirs() {
    let storage = storage();
    storage.script(1, Verdict::TornBody);
    let body = Body::stream(stream::iter([Err("theirs".into())]));
    let error = storage.put(&key("a"), body, PutOptions::default()).await.unwrap_err();
    assert!(matches!(&error, Error::Body { source, .. } if source.to_string() == "theirs"), "{error:?}");
}

#[tokio::test]
async fn reads_and_writes_lie_where_that_is_asked_for() {
    for (verdict, expected) in [(Verdict::Flipped(1), "cbcd"), (Verdict::Truncated(7), "abc")] {
        let storage = storage();
        let put = async || storage.put_bytes(&key("a"), "abcd".into(), PutMode::Overwrite).await;
        put().await.unwrap();
        storage.script(1, verdict);
        assert_eq!(storage.get_bytes(&key("a")).await.unwrap(), expected);
        assert_eq!(storage.get_bytes(&key("a")).await.unwrap(), "abcd");
        storage.script(1, verdict);
        put().await.unwrap();
        assert_eq!(storage.get_bytes(&key("a")).await.unwrap(), expected);
        for call in 1..=3 {
            storage.script(call, verdict);
            storage.head(&key("a")).await.unwrap();
            assert_eq!(storage.list_objects("").await.unwrap().len(), 1);
            storage.delete(&key("b")).await.unwrap();
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_slow_call_takes_its_time_before_its_effect_or_after_it() {
    for (verdict, has_effect) in [(Verdict::SlowBefore(SECOND), false), (Verdict::SlowAfter(SECOND), true)] {
        let storage = storage();
        storage.script(1, verdict);
        let begun = Instant::now();
        let half = tokio::time::timeout(SECOND / 2, put(&storage, "dropped")).await;
        assert!(half.is_err() && begun.elapsed() == SECOND / 2);
        assert_eq!(storage.inner().len(), usize::from(has_effect), "{verdict:?}");
        storage.script(1, verdict);
        put(&storage, "waited").await.unwrap();
        assert_eq!(begun.elapsed(), SECOND / 2 + SECOND);
    }
}

#[tokio::test(start_paused = true)]
async fn a_crash_overtakes_a_slow_call() {
    for (verdict, has_effect) in [(Verdict::SlowBefore(SECOND), false), (Verdict::SlowAfter(SECOND), true)] {
        let storage = storage();
        storage.script(1, verdict);
        let crash = async {
            tokio::time::sleep(SECOND / 2).await;
            storage.crash();
        };
        let (answer, ()) = tokio::join!(put(&storage, "a"), crash);
        assert!(answer.is_err());
        assert_eq!(storage.inner().len(), usize::from(has_effect), "{verdict:?}");
    }
}

#[tokio::test]
async fn a_late_write_lands_after_further_calls_of_any_client() {
    let first = storage();
    let second = first.another_client();
    first.script(1, Verdict::LateAfterCalls(2));
    put(&first, "late").await.unwrap_err();
    first.crash();
    for (call, has_landed) in [false, false, true].into_iter().enumerate() {
        assert_eq!(second.exists(&key("late")).await.unwrap(), has_landed, "{call}");
    }
    assert_eq!((first.calls_total(), second.calls_total(), second.late_count()), (1, 3, 0));
}

#[tokio::test(start_paused = true)]
async fn late_writes_land_at_their_time_in_its_order() {
    let storage = storage();
    let write = async |content: &'static str, seconds| {
        storage.script(1, Verdict::LateAfter(seconds * SECOND));
        storage.put_bytes(&key("a"), content.into(), PutMode::Overwrite).await.unwrap_err();
    };
    write("sent first, lands last", 3).await;
    write("sent last, lands first", 2).await;
    tokio::time::advance(2 * SECOND - Duration::from_millis(1)).await;
    assert!(!storage.exists(&key("a")).await.unwrap());
    tokio::time::advance(Duration::from_millis(1)).await;
    assert_eq!(storage.get_bytes(&key("a")).await.unwrap(), "sent last, lands first");
    write("in between", 0).await;
    tokio::time::advance(SECOND).await;
    assert_eq!(storage.land_due().await.len(), 2);
    assert_eq!(storage.inner().get_bytes(&key("a")).await.unwrap(), "sent first, lands last");
}

#[tokio::test]
async fn a_late_create_that_meets_an_object_leaves_it_alone() {
    let storage = storage();
    storage.script(1, Verdict::LateAfterCalls(1));
    put(&storage, "a").await.unwrap_err();
    storage.put_bytes(&key("a"), "theirs".into(), PutMode::Create).await.unwrap();
    assert_eq!(storage.get_bytes(&key("a")).await.unwrap(), "theirs");
    assert_eq!(storage.late_count(), 0);
}

#[tokio::test]
async fn a_full_storage_reads_and_deletes_until_there_is_space() {
    let storage = storage();
    for name in ["a", "b"] {
        put(&storage, name).await.unwrap();
    }
    storage.script(1, Verdict::Late);
    put(&storage, "late").await.unwrap_err();
    let other = storage.another_client();
    other.fill();
    let error = put(&storage, "c").await.unwrap_err();
    assert!(matches!(&error, Error::Full { .. }) && error.is_retryable(), "{error:?}");
    assert!(matches!(storage.land_late().await[..], [Err(Error::Full { .. })]));
    assert_eq!(storage.list_objects("").await.unwrap().len(), 2);
    assert_eq!(storage.get_bytes(&key("a")).await.unwrap(), "a");
    storage.delete(&key("a")).await.unwrap();
    assert_eq!(storage.inner().len(), 1);
    storage.free_space();
    put(&other, "c").await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_storage_is_full_for_a_call_or_for_a_while() {
    let storage = storage();
    storage.script(1, Verdict::Full(Duration::ZERO));
    assert!(matches!(put(&storage, "a").await, Err(Error::Full { .. })));
    put(&storage, "a").await.unwrap();
    storage.script(1, Verdict::Full(SECOND));
    assert!(storage.exists(&key("a")).await.unwrap());
    storage.script(1, Verdict::Full(SECOND / 2));
    put(&storage, "b").await.unwrap_err();
    tokio::time::advance(SECOND - Duration::from_millis(1)).await;
    assert!(matches!(put(&storage.another_client(), "b").await, Err(Error::Full { .. })));
    tokio::time::advance(Duration::from_millis(1)).await;
    put(&storage, "b").await.unwrap();
}

/// Four processes that overwrite, delete, read and list the same few keys; what they heard, when, and what is left.
async fn simulate(seed: u64) -> (Vec<String>, Vec<Bytes>) {
    let storage = storage();
    let rates = FaultRates { crash: 5, flipped: 5, truncated: 5, ..FaultRates::default() };
    let heard = Arc::new(Mutex::new(Vec::new()));
    let begun = Instant::now();
    let processes = (0..4_u64).map(|process| {
        let (client, heard) = (storage.another_client(), heard.clone());
        client.seeded(seed * 4 + process, rates);
        tokio::spawn(async move {
            let options = PutOptions { durability: Durability::Relaxed, ..PutOptions::default() };
            for round in 0..200_u64 {
                let key = key(&format!("{}", round % 3));
                let answer = match (round + process) % 4 {
                    0 => format!("{:?}", client.put(&key, format!("{process} {round}").into(), options).await),
                    1 => format!("{:?}", client.get_bytes(&key).await),
                    2 => format!("{:?}", client.delete(&key).await),
                    _ => format!("{:?}", client.list_objects("").await),
                };
                heard.lock().unwrap().push(format!("{:?} {process}: {answer}", begun.elapsed()));
                if client.is_crashed() {
                    client.revive();
                    client.seeded(seed * 4 + process + round, rates);
                }
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
        })
    });
    futures::future::join_all(processes).await.into_iter().for_each(|ended| ended.unwrap());
    storage.free_space();
    storage.land_late().await;
    let mut left = Vec::new();
    for object in storage.list_objects("").await.unwrap() {
        left.push(storage.get_bytes(&object.key).await.unwrap());
    }
    (std::mem::take(&mut heard.lock().unwrap()), left)
}

#[tokio::test(start_paused = true)]
async fn four_processes_over_one_storage_replay_from_a_seed() {
    for seed in 0..10 {
        let first = simulate(seed).await;
        assert_eq!(first, simulate(seed).await, "seed {seed}");
        assert_ne!(first, simulate(seed + 100).await, "seed {seed}");
        for fault in ["Unavailable", "Full"] {
            assert!(first.0.iter().any(|answer| answer.contains(fault)), "seed {seed}: no {fault}");
        }
    }
}

#[test]
fn a_seed_is_shown_until_another_plan_is_made() {
    let storage = storage();
    storage.seeded(17, FaultRates::errors(8));
    assert!(format!("{storage:?}").contains("seed: 17, rates: FaultRates { fail_before: 4, "), "{storage:?}");
    storage.revive();
    assert!(!format!("{storage:?}").contains("seed"), "{storage:?}");
}

#[tokio::test]
async fn a_seed_replays() {
    let run = async |seed| {
        let storage = storage();
        storage.seeded(seed, FaultRates::errors(300));
        let mut answers = Vec::new();
        for number in 0..200 {
            answers.push(put(&storage, &number.to_string()).await.is_ok());
        }
        (answers, storage.inner().len())
    };
    let (answers, objects) = run(7).await;
    assert_eq!((answers.clone(), objects), run(7).await);
    assert_ne!((answers.clone(), objects), run(8).await);
    let succeeded = answers.iter().filter(|is_ok| **is_ok).count();
    assert!((120..160).contains(&succeeded), "{succeeded} of 200");
    assert!(objects > succeeded, "some failed after their effect");
}
