//! What becomes of commits while a storage does not answer, or refuses. The clock is paused: waiting costs nothing.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use async_trait::async_trait;
use futures::{FutureExt, stream::BoxStream};
use runyard_datamanager::{Error, Result, VirtualUptime, WalDataManager};
use runyard_objectstorage::{
    Body, CallKind, Error as StorageError, GetObject, GetRange, ListEntry, ListRequest, MemoryStorage, Moment,
    ObjectKey, ObjectMeta, ObjectStorage, PutOptions, Verdict,
};

use crate::support::{TIMEOUT, commit, memory, open, present};

#[tokio::test(start_paused = true)]
async fn during_an_outage_commits_wait_and_reads_go_on() {
    let storage = memory();
    let data = open(storage.clone()).await.unwrap();
    commit(&data, 0).await.unwrap();
    storage.crash();
    let (one, two, ()) = tokio::join!(commit(&data, 1), commit(&data, 2), async {
        tokio::time::sleep(TIMEOUT / 2).await;
        assert_eq!(present(&data).await, [0], "readers go on, and see nothing that is not durable");
        let status = data.status();
        assert_eq!(status.stale_for(), Some(TIMEOUT / 2), "since the first attempt that failed");
        assert!(status.queue_bytes > 0);
        storage.revive();
    });
    assert_eq!((data.status().stale_since, data.status().queue_bytes), (None, 0));
    assert!(one.unwrap() < two.unwrap());
    assert_eq!(present(&data).await, [0, 1, 2]);
}

#[tokio::test(start_paused = true)]
async fn an_outage_that_only_reads_notice_is_told_too_and_whoever_waits_hears_of_its_end() {
    let storage = memory();
    let data = open(storage.clone()).await.unwrap();
    commit(&data, 0).await.unwrap();
    let status = data.status();
    assert_eq!((status.position.lsn, status.manifest, status.log_batches), (1, 0, 1));
    assert!(status.log_bytes > 0);
    let mut news = data.watch_status();
    storage.crash();
    data.catch_up().await.expect_err("an outage");
    tokio::time::sleep(Duration::from_secs(3)).await;
    data.catch_up().await.expect_err("an outage");
    news.wait_for(|status| status.stale_for() == Some(Duration::from_secs(3))).await.unwrap();
    storage.revive();
    data.catch_up().await.unwrap();
    news.wait_for(|status| status.stale_since.is_none()).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn after_a_long_outage_the_outcome_is_unknown_and_the_slot_is_never_used_twice() {
    let storage = memory();
    let data = open(storage.clone()).await.unwrap();
    commit(&data, 0).await.unwrap();
    storage.crash();
    let (tried, queued) = tokio::join!(commit(&data, 1), async {
        tokio::time::sleep(Duration::from_secs(1)).await;
        commit(&data, 2).await
    });
    assert!(matches!(tried, Err(Error::OutcomeUnknown { .. })), "{tried:?}");
    let error = queued.expect_err("never tried");
    assert!(matches!(&error, Error::Storage { doing, .. } if doing.contains("nothing of it was written")), "{error}");
    storage.revive();
    let position = commit(&data, 3).await.unwrap();
    assert_eq!(position.lsn, 3, "the slot in doubt was written with what it was in doubt about");
    for data in [data, open(storage).await.unwrap()] {
        assert_eq!(present(&data).await, [0, 1, 3]);
    }
}

#[tokio::test(start_paused = true)]
async fn what_was_failed_before_its_put_is_not_put_later() {
    let (storage, uptime) = (memory(), Arc::new(VirtualUptime::new()));
    let builder = WalDataManager::builder(Arc::new(storage.clone())).base_path("base").uptime(uptime.clone());
    let data = builder.commit_timeout(TIMEOUT).open().await.unwrap();
    // After a long sleep nothing is put before the floor is read, and that fails.
    uptime.jump(Duration::from_secs(60));
    storage.crash();
    let error = commit(&data, 0).await.expect_err("an outage");
    assert!(matches!(&error, Error::Storage { doing, .. } if doing.contains("nothing of it was written")), "{error}");
    storage.revive();
    commit(&data, 1).await.unwrap();
    assert_eq!(present(&data).await, [1]);
}

#[tokio::test(start_paused = true)]
async fn a_put_that_lands_after_everybody_gave_up_is_found() {
    let storage = memory();
    let data = open(storage.clone()).await.unwrap();
    storage.plan(|call| if call.kind == CallKind::Put { Verdict::Late } else { Verdict::Pass });
    let error = commit(&data, 0).await.expect_err("no put answers");
    assert!(matches!(error, Error::OutcomeUnknown { .. }), "{error}");
    storage.land_late().await;
    storage.revive();
    assert_eq!(commit(&data, 1).await.unwrap().lsn, 2);
    for data in [data, open(storage).await.unwrap()] {
        assert_eq!(present(&data).await, [0, 1]);
    }
}

#[tokio::test(start_paused = true)]
async fn a_batch_in_doubt_gives_way_to_another_process_that_took_its_slot() {
    let storage = memory();
    let data = open(storage.clone()).await.unwrap();
    let other = open(Arc::clone(storage.inner())).await.unwrap();
    storage.crash();
    let error = commit(&data, 0).await.expect_err("an outage");
    assert!(matches!(error, Error::OutcomeUnknown { .. }), "{error}");
    commit(&other, 1).await.unwrap();
    storage.revive();
    commit(&data, 2).await.unwrap();
    other.catch_up().await.unwrap();
    for data in [data, other, open(storage).await.unwrap()] {
        assert_eq!(present(&data).await, [1, 2], "what its caller gave up is not written after all");
    }
}

#[tokio::test(start_paused = true)]
async fn closing_in_an_outage_ends_when_the_last_caller_gave_up() {
    let storage = memory();
    let data = open(storage.clone()).await.unwrap();
    storage.crash();
    let (result, ()) = tokio::join!(commit(&data, 0), data.close());
    assert!(matches!(result, Err(Error::OutcomeUnknown { .. })), "{result:?}");
}

#[tokio::test(start_paused = true)]
async fn a_put_that_hangs_holds_its_callers_only_until_their_time_is_over() {
    let storage = memory();
    let data = open(storage.clone()).await.unwrap();
    let hold = storage.hold(CallKind::Put, Moment::Before);
    let began = tokio::time::Instant::now();
    let (tried, queued) = tokio::join!(commit(&data, 0), async {
        hold.arrived(1).await;
        commit(&data, 1).await
    });
    assert!(matches!(tried, Err(Error::OutcomeUnknown { .. })), "{tried:?}");
    assert!(matches!(queued, Err(Error::Storage { .. })), "{queued:?}");
    assert!(began.elapsed() < TIMEOUT * 2);
    let mut third = Box::pin(commit(&data, 2));
    assert!((&mut third).now_or_never().is_none());
    drop(hold);
    assert_eq!(third.await.unwrap().lsn, 2);
    assert_eq!(present(&data).await, [0, 2]);
}

#[tokio::test(start_paused = true)]
async fn closing_does_not_wait_for_a_put_that_hangs_for_ever() {
    let storage = memory();
    let data = open(storage.clone()).await.unwrap();
    let _hold = storage.hold(CallKind::Put, Moment::Before);
    let (result, ()) = tokio::join!(commit(&data, 0), data.close());
    assert!(matches!(result, Err(Error::OutcomeUnknown { .. })), "{result:?}");
}

/// A storage that refuses every write.
#[derive(Clone, Debug)]
struct Refusing {
    inner: Arc<MemoryStorage>,
    refuses: Arc<AtomicBool>,
}

#[async_trait]
impl ObjectStorage for Refusing {
    async fn head(&self, key: &ObjectKey) -> Result<ObjectMeta, StorageError> {
        self.inner.head(key).await
    }

    async fn get(&self, key: &ObjectKey, range: GetRange) -> Result<GetObject, StorageError> {
        self.inner.get(key, range).await
    }

    async fn put(&self, key: &ObjectKey, body: Body, options: PutOptions) -> Result<(), StorageError> {
        if self.refuses.load(Ordering::Relaxed) {
            let name = key.to_string();
            return Err(StorageError::PermissionDenied { doing: "writing", name, source: "read-only".into() });
        }
        self.inner.put(key, body, options).await
    }

    async fn delete(&self, key: &ObjectKey) -> Result<(), StorageError> {
        self.inner.delete(key).await
    }

    fn list(&self, request: ListRequest) -> BoxStream<'static, Result<ListEntry, StorageError>> {
        self.inner.list(request)
    }
}

#[tokio::test(start_paused = true)]
async fn a_write_that_no_retry_mends_fails_at_once_and_the_store_goes_on() {
    let refuses = Arc::new(AtomicBool::new(false));
    let storage = Refusing { inner: Arc::new(MemoryStorage::new()), refuses: Arc::clone(&refuses) };
    let data = open(storage).await.unwrap();
    refuses.store(true, Ordering::Relaxed);
    let began = tokio::time::Instant::now();
    let error = commit(&data, 0).await.expect_err("refused");
    assert!(matches!(error, Error::Storage { doing: "writing the log", .. }), "{error}");
    assert_eq!(began.elapsed(), Duration::ZERO);
    refuses.store(false, Ordering::Relaxed);
    assert_eq!(commit(&data, 1).await.unwrap().lsn, 1);
}
