//! Three processes that share a store and an etcd: what they do all the time, and what must be true at the end.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use futures::{
    TryStreamExt,
    future::{join, join_all},
};
use runyard_datamanager::{
    Collection, DataManager, DataManagerExt, Error, KeyRange, Leadership, Position, WalDataManager,
    coordinator::{Coordinator, EtcdCoordinator},
};
use runyard_objectstorage::PosixStorage;
use tempfile::TempDir;
use tokio::{sync::watch, task::JoinSet, time::timeout};
use tokio_util::sync::CancellationToken;

use crate::contenders::BACK_WITHIN;

const NUMBERS: Collection<u64> = Collection::new("numbers");
/// What leaders did: their epoch.
const LED: Collection<u64> = Collection::new("led");

/// Between two commits of one process: there is more to see than who is fastest.
const PACE: Duration = Duration::from_millis(5);

/// Numbers, and where in the log each was counted.
type Told = Vec<(u64, Position)>;

/// Three processes at work.
pub(crate) struct Service {
    directory: TempDir,
    processes: Vec<Process>,
    /// By process: what it was told of its increments of the number that all share.
    told: Vec<Arc<watch::Sender<Told>>>,
    led: Arc<AtomicU64>,
    end: CancellationToken,
    tasks: JoinSet<()>,
}

struct Process {
    data: WalDataManager,
    coordinator: Arc<EtcdCoordinator>,
    /// The numbers that a follower has seen in the collection of what leaders did.
    followed: Arc<watch::Sender<Vec<Position>>>,
}

async fn storage(directory: &TempDir) -> Arc<PosixStorage> {
    Arc::new(PosixStorage::open(directory.path()).await.unwrap())
}

impl Service {
    pub(crate) async fn start(coordinators: Vec<Arc<EtcdCoordinator>>) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let (led, end, mut tasks) = (Arc::<AtomicU64>::default(), CancellationToken::new(), JoinSet::new());
        let (mut processes, mut told) = (Vec::new(), Vec::new());
        for (n, coordinator) in coordinators.into_iter().enumerate() {
            let builder = WalDataManager::builder(storage(&directory).await).coordinator(Arc::clone(&coordinator) as _);
            let data = builder.checkpoint_batches(300).open().await.unwrap();
            let (tells, followed) = (Arc::new(watch::Sender::default()), Arc::new(watch::Sender::default()));
            let name = format!("process {n}");
            let work = join(
                count(data.clone(), Arc::clone(&tells)),
                lead(data.clone(), Arc::clone(&coordinator), name, Arc::clone(&led)),
            );
            let ends = end.clone();
            tasks.spawn(async move {
                let _ = ends.run_until_cancelled(work).await;
            });
            tasks.spawn(follow(data.clone(), Arc::clone(&followed)));
            processes.push(Process { data, coordinator, followed });
            told.push(tells);
        }
        let service = Self { directory, processes, told, led, end, tasks };
        service.is_back().await;
        service
    }

    pub(crate) fn coordinator(&self, n: usize) -> &EtcdCoordinator {
        &self.processes[n].coordinator
    }

    /// Waits until everything goes on: each process commits, one of them as the leader, each hears of the others by
    /// itself, and all hints arrive.
    pub(crate) async fn is_back(&self) {
        timeout(BACK_WITHIN, async {
            for process in &self.processes {
                let mut status = process.coordinator.status();
                status.wait_for(|status| status.is_connected()).await.unwrap();
            }
            self.commits_go_on().await;
            self.somebody_leads().await;
        })
        .await
        .unwrap_or_else(|_| panic!("not back within {BACK_WITHIN:?}: {:?}", self.statuses()));
    }

    /// Waits until something more is done by a leader.
    pub(crate) async fn somebody_leads(&self) {
        let led = self.led.load(Ordering::SeqCst);
        let mut followed = self.processes[0].followed.subscribe();
        let leads = async {
            while self.led.load(Ordering::SeqCst) < led + 3 {
                followed.changed().await.unwrap();
            }
        };
        timeout(BACK_WITHIN, leads).await.unwrap_or_else(|_| panic!("nobody leads: {:?}", self.statuses()));
    }

    /// Waits until each process has committed, and all see it, whether hints arrive or not.
    pub(crate) async fn commits_go_on(&self) {
        let goes_on = async {
            let mut newest = Position::ZERO;
            for told in &self.told {
                let before = told.borrow().len();
                let mut told = told.subscribe();
                let told = told.wait_for(|told| told.len() > before + 2).await.unwrap();
                newest = newest.max(told.last().unwrap().1);
            }
            for process in &self.processes {
                let mut status = process.data.watch_status();
                status.wait_for(|status| status.position >= newest).await.unwrap();
            }
        };
        timeout(BACK_WITHIN, goes_on).await.unwrap_or_else(|_| panic!("commits stopped: {:?}", self.statuses()));
    }

    fn statuses(&self) -> Vec<String> {
        let status = |process: &Process| {
            format!("{:?}, {:?}", process.coordinator.status().borrow(), process.data.status().position)
        };
        self.processes.iter().map(status).collect()
    }

    /// Ends everything, and compares what there is with what everybody was told.
    pub(crate) async fn check(self) {
        let Self { directory, processes, told, end, mut tasks, .. } = self;
        end.cancel();
        for process in &processes {
            process.data.catch_up().await.unwrap();
        }
        let position = processes[0].data.snapshot().position();
        let hashes = join_all(processes.iter().map(async |process| {
            process.data.wait_for(position).await.unwrap();
            let at = process.data.snapshot_at(position).await.unwrap();
            process.data.state_hash(&at).await.unwrap()
        }));
        let hashes: BTreeSet<_> = hashes.await.into_iter().collect();
        assert_eq!(hashes.len(), 1, "all see the same");
        for process in &processes {
            process.data.close().await;
        }
        while let Some(ended) = tasks.join_next().await {
            ended.unwrap();
        }
        let again = WalDataManager::builder(storage(&directory).await).read_only().open().await.unwrap();
        let at = again.snapshot_at(position).await.unwrap();
        assert_eq!(again.state_hash(&at).await.unwrap(), *hashes.first().unwrap(), "a start sees the same");

        // Nothing that was acknowledged is lost, and no two were told the same. What nobody was told of may be there:
        // the processes were stopped in the middle.
        let all: BTreeMap<u64, Position> = told.iter().flat_map(|told| told.borrow().clone()).collect();
        assert_eq!(all.len(), told.iter().map(|told| told.borrow().len()).sum::<usize>(), "a number was counted twice");
        assert!(all.values().is_sorted(), "the order of the numbers is that of their commits");
        let at = again.snapshot();
        let counted = again.read(&at, &NUMBERS, "shared").await.unwrap().unwrap();
        let most = all.len() as u64 + told.len() as u64;
        assert!((all.len() as u64..=most).contains(&counted), "{counted} after {} were told of theirs", all.len());

        let led = again.read_all(&at, &LED, KeyRange::all()).await.unwrap();
        let epochs: Vec<u64> = led.iter().map(|(_, epoch)| *epoch).collect();
        assert!(epochs.is_sorted(), "a leader that was deposed has committed: {epochs:?}");
        // A follower has met each of them once.
        let positions: Vec<_> = led.iter().map(|(key, _)| Position::from_append_key(key).unwrap().0).collect();
        for process in &processes {
            let followed = process.followed.borrow();
            assert_eq!(*followed, positions[..followed.len()], "a follower missed or repeated something");
        }
    }
}

/// Increments the number that all share, for ever.
async fn count(data: WalDataManager, told: Arc<watch::Sender<Told>>) {
    loop {
        let counted = data.transact(async |tx| {
            let next = tx.get(&NUMBERS, "shared").await?.unwrap_or(0) + 1;
            tx.put(&NUMBERS, "shared", &next).await?;
            Ok::<_, Error>(next)
        });
        match counted.await {
            Ok(counted) => told.send_modify(|told| told.push(counted)),
            Err(error) if error.is_conflict() => {}
            Err(error) => panic!("the storage is well: {error}"),
        }
        tokio::time::sleep(PACE).await;
    }
}

/// Leads whenever etcd says so, and says so in the log.
async fn lead(data: WalDataManager, coordinator: Arc<EtcdCoordinator>, name: String, led: Arc<AtomicU64>) {
    while let Ok(candidacy) = coordinator.campaign("scheduler").await {
        let leadership = Leadership::acquire(&data, "scheduler", &name).await.unwrap();
        let act = async {
            loop {
                let epoch = leadership.epoch();
                match leadership.transact(&data, async |tx| tx.append(&LED, &epoch)).await {
                    Ok(_) => led.fetch_add(1, Ordering::SeqCst),
                    Err(Error::TakenOver { .. }) => return,
                    Err(error) => panic!("the storage is well: {error}"),
                };
                tokio::time::sleep(PACE).await;
            }
        };
        tokio::select! {
            _ = candidacy.lost() => {}
            () = act => {}
        }
    }
}

/// Sees what leaders did, as it becomes visible.
async fn follow(data: WalDataManager, followed: Arc<watch::Sender<Vec<Position>>>) {
    let mut changes = data.follow(Position::ZERO);
    loop {
        let committed = match changes.try_next().await {
            Ok(Some(committed)) => committed,
            Ok(None) | Err(Error::Closed) => return,
            Err(error) => panic!("what is retained can be followed: {error}"),
        };
        if committed.changes.iter().any(|change| change.collection == LED.name()) {
            followed.send_modify(|followed| followed.push(committed.position));
        }
    }
}
