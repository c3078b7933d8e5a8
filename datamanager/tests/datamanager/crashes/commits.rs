//! What a storage that dies, fails or loses a reply makes of commits. The clock is paused: waiting costs nothing.

use std::sync::Arc;

use futures::future::join_all;
use runyard_datamanager::DataManager;
use runyard_objectstorage::{FaultRates, FaultyStorage, MemoryStorage, ObjectStorage, PosixStorage, Verdict};

use crate::support::{commit, entries, memory, open, present};

/// Opens, commits some transactions, opens again, commits more; stops at what cannot be survived. Returns which
/// transactions were acknowledged.
async fn scenario(storage: impl ObjectStorage + Clone) -> Vec<usize> {
    let mut acknowledged = Vec::new();
    for start in [0, 3] {
        let Ok(data) = open(storage.clone()).await else { return acknowledged };
        let all = [vec![start], vec![start + 1, start + 2]];
        for together in all {
            let results = join_all(together.iter().map(|n| commit(&data, *n))).await;
            acknowledged.extend(together.into_iter().zip(results).filter(|(_, result)| result.is_ok()).map(|(n, _)| n));
        }
        data.close().await;
    }
    acknowledged
}

async fn crash_everywhere<S: ObjectStorage + Clone>(verdicts: &[Verdict], fresh: impl AsyncFn(u64) -> S) {
    let calls = {
        let storage = FaultyStorage::new(fresh(0).await);
        assert_eq!(scenario(storage.clone()).await, [0, 1, 2, 3, 4, 5]);
        storage.calls_total()
    };
    assert!(calls >= 8, "format, lists and batches: {calls}");
    for nth in 1..=calls {
        for (index, verdict) in verdicts.iter().enumerate() {
            let storage = FaultyStorage::new(fresh(nth * 10 + index as u64).await);
            storage.script(nth, *verdict);
            let acknowledged = scenario(storage.clone()).await;
            storage.revive();
            let data = open(storage).await.unwrap();
            let present = present(&data).await;
            let what = format!("{verdict:?} at call {nth}: {acknowledged:?} acknowledged, {present:?} present");
            assert!(acknowledged.iter().all(|n| present.contains(n)), "{what}");
            assert!(present.is_sorted(), "{what}");
            commit(&data, 9).await.expect(&what);
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_crash_at_any_storage_call_loses_nothing_that_was_acknowledged() {
    crash_everywhere(&[Verdict::CrashBefore, Verdict::CrashAfter], async |_| Arc::new(MemoryStorage::new())).await;
}

#[tokio::test(start_paused = true)]
async fn a_crash_at_any_call_of_a_directory_loses_nothing_that_was_acknowledged() {
    let directory = tempfile::tempdir().unwrap();
    crash_everywhere(&[Verdict::CrashBefore, Verdict::CrashAfter], async |n| {
        Arc::new(PosixStorage::open(directory.path().join(n.to_string())).await.unwrap())
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn one_failed_call_fails_no_commit() {
    for verdict in [Verdict::FailBefore, Verdict::FailAfter, Verdict::Late] {
        for nth in 1.. {
            let storage = memory();
            let data = open(storage.clone()).await.unwrap();
            let before = storage.calls_total();
            storage.script(nth, verdict);
            for n in 0..4 {
                commit(&data, n).await.unwrap_or_else(|error| panic!("{verdict:?} at call {nth}: {error}"));
            }
            let calls = storage.calls_total() - before;
            // What lands late finds its slot taken.
            assert!(storage.land_late().await.iter().all(|answer| answer.is_err()));
            storage.revive();
            for data in [data, open(storage).await.unwrap()] {
                assert_eq!(present(&data).await, [0, 1, 2, 3], "{verdict:?} at call {nth}");
            }
            if nth > calls {
                break;
            }
        }
    }
}

#[tokio::test(start_paused = true)]
async fn random_faults_under_two_writers_lose_and_invent_nothing() {
    for seed in 0..40 {
        let storage = memory();
        let managers = [open(storage.clone()).await.unwrap(), open(storage.clone()).await.unwrap()];
        storage.seeded(seed, FaultRates::errors(250));
        let write_all = async |writer: usize| {
            let mut acknowledged = Vec::new();
            for n in (0..30).filter(|n| n % 2 == writer) {
                if let Ok(position) = commit(&managers[writer], n).await {
                    acknowledged.push((position, n));
                }
            }
            acknowledged
        };
        let (mut acknowledged, others) = tokio::join!(write_all(0), write_all(1));
        acknowledged.extend(others);
        storage.revive();
        acknowledged.sort_unstable();
        let data = open(storage).await.unwrap();
        let events = entries(&data, "events").await;
        for (position, n) in &acknowledged {
            let event = events.iter().find(|(key, _)| key[..] == position.append_key(0));
            assert_eq!(event.map(|(_, value)| value.clone()), Some(n.to_string().into()), "seed {seed}");
        }
        assert_eq!(events.len(), 30, "nothing is failed that can still succeed, seed {seed}");
        for other in &managers {
            other.catch_up().await.unwrap();
            assert_eq!(
                other.state_hash(&other.snapshot()).await.unwrap(),
                data.state_hash(&data.snapshot()).await.unwrap(),
                "seed {seed}"
            );
        }
    }
}
