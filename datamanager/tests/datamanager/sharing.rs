//! Several data managers that hear of each other through a coordinator.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use futures::future::join_all;
use runyard_datamanager::{
    Result, WalBuilder, WalDataManager,
    coordinator::{Coordinator, ModelEtcd},
};
use runyard_objectstorage::{CallKind, FaultyStorage, MemoryStorage, Moment, Verdict};
use tokio::time::{Instant, timeout};

use crate::support::{Faulty, TIMEOUT, commit, memory, present};

/// A process with calls of its own on a storage that it shares.
struct Process {
    data: WalDataManager,
    storage: Faulty,
}

async fn process(storage: &Arc<MemoryStorage>, etcd: &ModelEtcd, name: &str) -> Process {
    process_with(storage, etcd, name, |builder| builder.checkpoint_age(Duration::MAX)).await
}

async fn process_with(
    storage: &Arc<MemoryStorage>,
    etcd: &ModelEtcd,
    name: &str,
    settings: impl FnOnce(WalBuilder) -> WalBuilder,
) -> Process {
    let storage = FaultyStorage::new(Arc::clone(storage));
    let builder = WalDataManager::builder(Arc::new(storage.clone())).base_path("base").commit_timeout(TIMEOUT);
    let data = settings(builder.coordinator(Arc::new(etcd.connect(name)))).open().await.unwrap();
    Process { data, storage }
}

impl Process {
    /// Waits until everything is visible up to a batch, which nothing here asks for.
    async fn sees(&self, lsn: u64) {
        let mut status = self.data.watch_status();
        let seen = timeout(Duration::from_secs(300), status.wait_for(|status| status.position.lsn >= lsn)).await;
        seen.expect("it becomes visible by itself").unwrap();
    }

    /// Waits until it reads from a checkpoint of so high a number.
    async fn reads_from(&self, manifest: u64) {
        let mut status = self.data.watch_status();
        let seen = timeout(Duration::from_secs(300), status.wait_for(|status| status.manifest >= manifest)).await;
        seen.expect("it goes over to the checkpoint").unwrap();
    }
}

#[tokio::test]
async fn what_one_commits_becomes_visible_to_all_by_itself() {
    let (storage, etcd) = (Arc::default(), ModelEtcd::new());
    let processes = join_all(["a", "b", "c"].map(|name| process(&storage, &etcd, name))).await;
    for n in 0..9 {
        let position = commit(&processes[n % 3].data, n).await.unwrap();
        for process in &processes {
            process.sees(position.lsn).await;
            assert_eq!(present(&process.data).await, (0..=n).collect::<Vec<_>>());
        }
    }
}

#[tokio::test]
async fn what_is_committed_while_a_store_is_being_opened_becomes_visible_by_itself() {
    let (storage, etcd) = (Arc::default(), ModelEtcd::new());
    let first = process(&storage, &etcd, "a").await;
    commit(&first.data, 0).await.unwrap();
    let slow = FaultyStorage::new(Arc::clone(&storage));
    let hold = slow.hold(CallKind::List, Moment::After);
    let builder = WalDataManager::builder(Arc::new(slow)).base_path("base").coordinator(Arc::new(etcd.connect("b")));
    let opening = tokio::spawn(builder.open());
    hold.arrived(1).await;
    let position = commit(&first.data, 1).await.unwrap();
    drop(hold);
    let data = opening.await.unwrap().unwrap();
    Process { data, storage: memory() }.sees(position.lsn).await;
}

#[tokio::test]
async fn a_process_looks_once_for_each_batch_of_others_and_never_for_its_own() {
    let (storage, etcd) = (Arc::default(), ModelEtcd::new());
    let (a, b) = (process(&storage, &etcd, "a").await, process(&storage, &etcd, "b").await);
    // Each has looked once because it was opened.
    a.data.catch_up().await.unwrap();
    b.data.catch_up().await.unwrap();
    let gets = |process: &Process| process.storage.calls(CallKind::Get);
    let (of_a, of_b) = (gets(&a), gets(&b));
    for n in 0..10 {
        b.sees(commit(&a.data, n).await.unwrap().lsn).await;
    }
    assert_eq!(gets(&a) - of_a, 0);
    let looks = gets(&b) - of_b;
    // The batch, and that there is no other one after it.
    assert!((10..=20).contains(&looks), "{looks} reads for 10 batches");
}

#[tokio::test]
async fn a_batch_is_announced_once_however_many_share_it() {
    let (storage, etcd) = (Arc::default(), ModelEtcd::new());
    let a = process(&storage, &etcd, "a").await;
    let before = a.storage.calls(CallKind::Put);
    let hold = a.storage.hold(CallKind::Put, Moment::Before);
    let commits = join_all((0..64).map(|n| commit(&a.data, n)));
    let ((), positions) = tokio::join!(
        async {
            hold.arrived(1).await;
            drop(hold);
        },
        commits
    );
    assert!(positions.iter().all(Result::is_ok));
    let puts = a.storage.calls(CallKind::Put) - before;
    assert_eq!(etcd.announcements(), puts);
    assert!(puts <= 3, "{puts}");
}

#[tokio::test(start_paused = true)]
async fn what_nobody_can_announce_is_found_within_a_second_or_so() {
    let (storage, etcd) = (Arc::default(), ModelEtcd::new());
    let (a, b) = (process(&storage, &etcd, "a").await, process(&storage, &etcd, "b").await);
    b.sees(commit(&a.data, 0).await.unwrap().lsn).await;
    etcd.cut_off("b");
    let began = Instant::now();
    for n in 1..4 {
        b.sees(commit(&a.data, n).await.unwrap().lsn).await;
    }
    assert!(began.elapsed() <= Duration::from_secs(5), "{:?}", began.elapsed());
}

#[tokio::test(start_paused = true)]
async fn what_could_not_be_read_when_it_was_announced_is_read_later() {
    let (storage, etcd) = (Arc::default(), ModelEtcd::new());
    let (a, b) = (process(&storage, &etcd, "a").await, process(&storage, &etcd, "b").await);
    b.sees(commit(&a.data, 0).await.unwrap().lsn).await;
    b.storage.plan(|call| if call.kind == CallKind::Get { Verdict::FailBefore } else { Verdict::Pass });
    let position = commit(&a.data, 1).await.unwrap();
    let mut status = b.data.watch_status();
    status.wait_for(|status| status.stale_since.is_some()).await.unwrap();
    b.storage.plan(|_| Verdict::Pass);
    b.sees(position.lsn).await;
}

#[tokio::test(start_paused = true)]
async fn one_process_makes_the_checkpoints_and_the_others_go_over_to_them() {
    let (storage, etcd) = (Arc::default(), ModelEtcd::new());
    let settings = |builder: WalBuilder| builder.checkpoint_age(Duration::MAX).checkpoint_batches(10);
    let a = process_with(&storage, &etcd, "a", settings).await;
    let b = process_with(&storage, &etcd, "b", settings).await;
    let parts = Arc::new(AtomicUsize::default());
    b.storage.plan({
        let parts = Arc::clone(&parts);
        move |call| {
            let is_part = call.name.contains("/manifest/") || call.name.contains("/data/");
            parts.fetch_add(usize::from(call.kind == CallKind::Put && is_part), Ordering::Relaxed);
            Verdict::Pass
        }
    });
    let mut commits = 0;
    while b.data.status().manifest < 3 {
        let position = commit(&b.data, commits).await.unwrap();
        commits += 1;
        assert!(commits < 1_000, "there are no checkpoints");
        a.sees(position.lsn).await;
        b.reads_from(a.data.status().manifest).await;
    }
    assert_eq!(parts.load(Ordering::Relaxed), 0, "the process that does not lead wrote parts of checkpoints");
    assert_eq!(present(&b.data).await, (0..commits).collect::<Vec<_>>());
}

#[tokio::test(start_paused = true)]
async fn a_process_makes_a_checkpoint_itself_that_the_leader_owes_for_a_minute() {
    let (storage, etcd) = (Arc::default(), ModelEtcd::new());
    // Whoever leads them makes none.
    let idle = etcd.connect("idle");
    let _leads = idle.campaign("checkpoints").await.unwrap();
    let settings = |builder: WalBuilder| builder.checkpoint_age(Duration::MAX).checkpoint_batches(10);
    let a = process_with(&storage, &etcd, "a", settings).await;
    for n in 0..10 {
        commit(&a.data, n).await.unwrap();
    }
    let began = Instant::now();
    a.reads_from(1).await;
    let waited = began.elapsed();
    assert!((Duration::from_secs(30)..Duration::from_secs(120)).contains(&waited), "{waited:?}");
}

#[tokio::test(start_paused = true)]
async fn whoever_leads_next_makes_the_checkpoint_that_is_due_at_once() {
    let (storage, etcd) = (Arc::default(), ModelEtcd::new());
    let idle = etcd.connect("idle");
    let leads = idle.campaign("checkpoints").await.unwrap();
    let settings = |builder: WalBuilder| builder.checkpoint_age(Duration::MAX).checkpoint_batches(10);
    let a = process_with(&storage, &etcd, "a", settings).await;
    for n in 0..10 {
        commit(&a.data, n).await.unwrap();
    }
    tokio::time::sleep(Duration::from_secs(20)).await;
    assert_eq!(a.data.status().manifest, 0);
    let began = Instant::now();
    drop(leads);
    a.reads_from(1).await;
    assert_eq!(began.elapsed(), Duration::ZERO);
}
