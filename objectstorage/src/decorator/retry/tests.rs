//! Is every call repeated that may be, no other, and for how long?

use std::io;

use futures::TryStreamExt;
use tokio::time::Instant;

use super::*;
use crate::{FaultyStorage, ListDepth, MemoryStorage, ObjectStorageExt, PutSize, Verdict};

type Faulty = FaultyStorage<MemoryStorage>;

fn key(key: &str) -> ObjectKey {
    ObjectKey::parse(key).unwrap()
}

fn storage() -> RetryStorage<Faulty> {
    RetryStorage::with_seed(FaultyStorage::new(MemoryStorage::new()), RetrySettings::default(), 7)
}

/// Lets the first calls fail, and those after them pass.
fn fail_first(storage: &RetryStorage<Faulty>, count: u64, verdict: Verdict) {
    let last = storage.inner().calls_total() + count;
    storage.inner().plan(move |call| if call.number <= last { verdict } else { Verdict::Pass });
}

async fn put(storage: &RetryStorage<Faulty>, name: &str, mode: PutMode) -> Result<()> {
    storage.put_bytes(&key(name), name.to_owned().into(), mode).await
}

fn unavailable() -> Error {
    Error::from_io(io::Error::other("gone"), "writing", "a")
}

fn full() -> Error {
    Error::from_io(io::ErrorKind::StorageFull.into(), "writing", "a")
}

#[test]
fn what_may_have_had_its_effect_is_repeated_only_if_that_is_harmless() {
    for (error, after_overwrite, after_create) in [
        (unavailable(), true, false),
        (full(), true, true),
        (Error::NotFound { key: key("a") }, false, false),
        (Error::AlreadyExists { key: key("a") }, false, false),
        (Error::Unusable { message: "broken".to_owned(), source: None }, false, false),
    ] {
        assert_eq!(Repeatable::put(PutMode::Overwrite).after(&error), after_overwrite, "{error:?}");
        assert_eq!(Repeatable::put(PutMode::Create).after(&error), after_create, "{error:?}");
    }
}

#[test]
fn delays_double_up_to_their_limit_and_vary_by_half() {
    let settings = RetrySettings::default();
    for (attempts, longest) in [(1, 100), (2, 200), (3, 400), (7, 6_400), (8, 10_000), (40, 10_000), (4_000, 10_000)] {
        let longest = Duration::from_millis(longest);
        assert_eq!(settings.delay(attempts, 0), longest / 2, "after {attempts}");
        assert_eq!(settings.delay(attempts, u64::MAX), longest, "after {attempts}");
        let middle = settings.delay(attempts, u64::MAX / 2);
        assert!(middle > longest / 2 && middle < longest, "after {attempts}: {middle:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn calls_are_repeated_until_they_succeed() {
    let storage = storage();
    put(&storage, "a", PutMode::Create).await.unwrap();
    for verdict in [Verdict::FailBefore, Verdict::FailAfter] {
        fail_first(&storage, 4, verdict);
        put(&storage, "a", PutMode::Overwrite).await.unwrap();
        fail_first(&storage, 4, verdict);
        storage.head(&key("a")).await.unwrap();
        fail_first(&storage, 4, verdict);
        storage.delete(&key("b")).await.unwrap();
    }
    // The first call of all, and six times five.
    assert_eq!(storage.inner().calls_total(), 31);
    fail_first(&storage, 4, Verdict::FailBefore);
    assert_eq!(storage.get_bytes(&key("a")).await.unwrap(), "a");
}

#[tokio::test(start_paused = true)]
async fn a_long_outage_is_reported_after_the_last_attempt() {
    let storage = storage();
    storage.inner().crash();
    let began = Instant::now();
    let error = storage.head(&key("a")).await.unwrap_err();
    assert!(matches!(error, Error::Unavailable { .. }), "{error:?}");
    assert_eq!(storage.inner().calls_total(), 5);
    // Four waits of at most 100, 200, 400 and 800 ms; the timer rounds each up to the next.
    let waited = began.elapsed();
    assert!((750..=1_504).contains(&waited.as_millis()), "{waited:?}");
    storage.list_objects("").await.unwrap_err();
    assert_eq!(storage.inner().calls_total(), 10);
}

#[tokio::test(start_paused = true)]
async fn what_will_not_change_is_not_tried_again() {
    let storage = storage();
    let began = Instant::now();
    storage.head(&key("a")).await.unwrap_err();
    put(&storage, "a", PutMode::Create).await.unwrap();
    put(&storage, "a", PutMode::Create).await.unwrap_err();
    let wrong_size = PutOptions { size: PutSize::Exact(9), ..PutOptions::default() };
    storage.put(&key("a"), "short".into(), wrong_size).await.unwrap_err();
    assert_eq!((storage.inner().calls_total(), began.elapsed()), (4, Duration::ZERO));
}

#[tokio::test(start_paused = true)]
async fn a_create_without_a_reply_is_left_to_its_caller() {
    for (verdict, is_there) in [(Verdict::FailBefore, false), (Verdict::FailAfter, true)] {
        let storage = storage();
        fail_first(&storage, 1, verdict);
        let error = put(&storage, "a", PutMode::Create).await.unwrap_err();
        assert!(matches!(error, Error::Unavailable { .. }), "{error:?}");
        assert_eq!(storage.inner().calls_total(), 1);
        assert_eq!(storage.exists(&key("a")).await.unwrap(), is_there);
    }
}

#[tokio::test(start_paused = true)]
async fn a_streamed_body_is_written_once() {
    let storage = storage();
    fail_first(&storage, 1, Verdict::FailBefore);
    let body = Body::stream(stream::iter([Ok("a part".into())]));
    storage.put(&key("a"), body, PutOptions::default()).await.unwrap_err();
    assert_eq!(storage.inner().calls_total(), 1);
}

#[tokio::test(start_paused = true)]
async fn the_stream_of_an_object_is_not_continued() {
    let storage = storage();
    put(&storage, "long", PutMode::Create).await.unwrap();
    fail_first(&storage, 1, Verdict::FailAfter);
    let object = storage.get(&key("long"), GetRange::Full).await.unwrap();
    let pieces: Vec<_> = object.stream.collect().await;
    assert!(matches!(&pieces[..], [Ok(half), Err(_)] if half == "lo"), "{pieces:?}");
}

#[tokio::test(start_paused = true)]
async fn a_listing_goes_on_where_it_broke_off() {
    let storage = storage();
    for name in ["a/1", "a/2", "b", "c/1", "c/2", "c/3", "d"] {
        put(&storage, name, PutMode::Create).await.unwrap();
    }
    for (depth, expected) in [
        (ListDepth::Recursive, vec!["a/2", "b", "c/1", "c/2", "c/3", "d"]),
        (ListDepth::OneLevel, vec!["a/", "b", "c/", "d"]),
    ] {
        // The first two attempts break off after one entry. On one level, that of the second is the prefix of the first.
        let before = storage.inner().calls_total();
        let mut number = 0;
        storage.inner().plan(move |_| {
            number += 1;
            if number < 3 { Verdict::FailAfter } else { Verdict::Pass }
        });
        let request = ListRequest { start_after: Some("a/1".to_owned()), depth, ..ListRequest::default() };
        let listed: Vec<_> = storage.list(request).try_collect().await.unwrap();
        assert_eq!(listed.iter().map(ListEntry::name).collect::<Vec<_>>(), expected);
        assert_eq!(storage.inner().calls_total() - before, 3);
    }
    // One break for every entry is more than a single call may have.
    let before = storage.inner().calls_total();
    storage.inner().plan(|_| Verdict::FailAfter);
    let mut listing = storage.list(ListRequest::default());
    for _ in 0..7 {
        listing.next().await.unwrap().unwrap();
    }
    assert!(listing.next().await.unwrap().is_err(), "an end that is never seen is reported");
    assert_eq!(storage.inner().calls_total() - before, 11);
}

#[tokio::test(start_paused = true)]
async fn a_seed_replays() {
    let run = async |seed| {
        let faulty = FaultyStorage::new(MemoryStorage::new());
        faulty.crash();
        let storage = RetryStorage::with_seed(faulty, RetrySettings::default(), seed);
        let began = Instant::now();
        for _ in 0..10 {
            storage.head(&key("a")).await.unwrap_err();
        }
        began.elapsed()
    };
    assert_eq!(run(7).await, run(7).await);
    assert_ne!(run(7).await, run(8).await);
}
