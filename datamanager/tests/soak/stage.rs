//! What every scenario needs: a directory, etcd, a store, somebody who watches it, and the processes that share it.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use runyard_datamanager::{
    Action, Change, Committed, DataManager, Direction, KeyRange, Scan, Transaction, WalDataManager, verify,
};
use rustix::process::Signal;
use tempfile::TempDir;
use tokio::time::sleep;

use crate::{
    arguments::Arguments,
    child::Child,
    mix,
    observer::Observer,
    place::{self, BASE_PATH, Place, now},
    record::{Begun, Line, Recorder, Said},
    server::{self, Cluster},
    worker::{Load, Spec},
};

/// What passes until everything commits again, after what was broken is whole: the longest delay between two attempts, a
/// lease of somebody who is gone, an opening, and what a busy machine takes.
pub(crate) const BACK_WITHIN: Duration = Duration::from_secs(40);

/// The lease of all processes: the default.
pub(crate) const LEASE: Duration = Duration::from_secs(4);

pub(crate) struct Stage {
    // Dropped in this order.
    pub(crate) children: Vec<Child>,
    pub(crate) observer: Observer,
    pub(crate) cluster: Cluster,
    pub(crate) began: Duration,
    place: Place,
    seed: u64,
    next: u64,
    directory: Option<TempDir>,
    keep: bool,
    broken: Option<String>,
}

impl Stage {
    /// Makes a store in a place, and has nobody in it yet.
    pub(crate) async fn set(arguments: &Arguments, directory: TempDir, place: Place) -> Self {
        let cluster = Cluster::start(1).await;
        let storage = place.open().await.unwrap();
        let data = place::builder(&place, Arc::clone(&storage)).open().await.unwrap();
        let began = now();
        let recorder = Recorder::create(0, &file(directory.path(), 0));
        begin(&data, &recorder).await;
        data.close().await;
        let coordinator = server::connect(cluster.settings("soak")).await;
        let observer = Observer::open(&place, storage, coordinator).await;
        println!("in {}", directory.path().display());
        let (seed, keep, broken, directory) =
            (arguments.seed, arguments.keep, arguments.broken.clone(), Some(directory));
        Self { children: Vec::new(), observer, cluster, began, place, seed, next: 1, directory, keep, broken }
    }

    pub(crate) fn directory(&self) -> &Path {
        self.directory.as_ref().unwrap().path()
    }

    /// One more process.
    pub(crate) fn start(&mut self, load: Load) {
        let child = self.child(load);
        self.children.push(child);
    }

    /// Puts a new process in the place of one that was killed.
    pub(crate) async fn replace(&mut self, slot: usize) {
        let child = self.child(self.children[slot].spec.load);
        std::mem::replace(&mut self.children[slot], child).kill().await;
    }

    fn child(&mut self, load: Load) -> Child {
        let process = self.next;
        self.next += 1;
        let (seed, place, began) = (self.seed, self.place.clone(), self.began);
        let (file, broken, etcd) = (file(self.directory(), process), self.broken.clone(), self.cluster.endpoints());
        Child::start(Spec { process, seed, place, etcd, file, began, load, broken }, self.directory())
    }

    /// Waits until every process has committed something since now, and a leader has; says how long that took.
    pub(crate) async fn are_back(&mut self) -> Duration {
        let (before, since) = (self.observer.board(), now());
        let processes: Vec<u64> = self.children.iter().map(|child| child.spec.process).collect();
        let all_commit = self.observer.wait_for("every process commits, and a leader does", BACK_WITHIN, |board| {
            let commits = |process| board.commits.get(process) > before.commits.get(process);
            processes.iter().all(commits) && board.leader.is_some_and(|(.., at)| at > since)
        });
        let took = all_commit.await;
        self.children.iter_mut().for_each(Child::still_runs);
        took
    }

    /// The place of the process whose transaction was the last one of a leader.
    pub(crate) fn leader(&self) -> Option<usize> {
        let (_, leader, _) = self.observer.board().leader?;
        self.children.iter().position(|child| child.spec.process == leader)
    }

    /// Freezes a process for longer than a lease.
    pub(crate) async fn pause(&self, slot: usize) {
        self.children[slot].signal(Signal::STOP);
        sleep(LEASE + Duration::from_secs(2)).await;
        self.children[slot].signal(Signal::CONT);
    }

    /// Lets everything end in good order, and gives what is there to be checked.
    pub(crate) async fn end(&mut self) -> Ended {
        for child in std::mem::take(&mut self.children) {
            child.end().await;
        }
        let storage = self.place.open().await.unwrap();
        let report = verify(Arc::clone(&storage), BASE_PATH).await.unwrap();
        assert!(report.is_sound(), "{:?}", report.damaged);
        let data = place::builder(&self.place, storage).read_only().open().await.unwrap();
        let end = data.snapshot();
        assert_eq!(report.position, Some(end.position()));
        let log = self.observer.log_up_to(end.position()).await;
        // What the observer has is what it followed; what is opened now is what it reads.
        let observed = self.observer.data.snapshot();
        let hash = data.state_hash(&end).await.unwrap();
        assert_eq!(self.observer.data.state_hash(&observed).await.unwrap(), hash, "the observer sees the same");
        assert_eq!(report.state_hash, Some(hash));
        let mut content = Vec::new();
        for collection in data.collections(&end).unwrap() {
            let scan = Scan {
                collection: collection.clone(),
                range: KeyRange::all(),
                direction: Direction::Ascending,
                limit: usize::MAX,
            };
            let page = data.scan(&end, &scan).await.unwrap();
            let change = |(key, value)| Change { collection: collection.clone(), key, value: Some(value) };
            content.extend(page.entries.into_iter().map(change));
        }
        let stats = data.stats().await.unwrap();
        println!(
            "the store: batches up to {}, {} checkpoints, {} batches of the log are left, {} entries, {} objects",
            end.position(),
            stats.checkpoint,
            stats.log_objects,
            content.len(),
            report.objects
        );
        assert!(stats.checkpoint > 0, "there were no checkpoints");
        let files = (0..self.next).map(|process| (process, file(self.directory(), process))).collect();
        Ended { files, log, content }
    }
}

impl Drop for Stage {
    fn drop(&mut self) {
        if (std::thread::panicking() || self.keep)
            && let Some(directory) = self.directory.take()
        {
            println!("what was written down is kept in {}", directory.keep().display());
        }
    }
}

/// What is left after a soak.
pub(crate) struct Ended {
    /// What each process has written down.
    pub(crate) files: Vec<(u64, PathBuf)>,
    pub(crate) log: Vec<Committed>,
    pub(crate) content: Vec<Change>,
}

pub(crate) fn directory() -> TempDir {
    tempfile::Builder::new().prefix("runyard-soak-").tempdir().unwrap()
}

fn file(directory: &Path, process: u64) -> PathBuf {
    directory.join(format!("process-{process}.jsonl"))
}

/// Commits what there is before anybody begins.
async fn begin(data: &WalDataManager, recorder: &Recorder) {
    let id = recorder.next_id();
    let mut begun = Begun { id, at: now(), reads: Vec::new(), writes: Vec::new(), append: None, caught_up: false };
    mix::initial(&mut begun);
    recorder.write(&Line::Begun(begun.clone()));
    let put = |(collection, key, value): (String, String, Option<String>)| Action::Put {
        collection,
        key: key.into(),
        value: value.unwrap().into(),
    };
    let transaction = Transaction { actions: begun.writes.into_iter().map(put).collect(), ..Transaction::default() };
    let position = data.commit(transaction).await.unwrap();
    recorder.write(&Line::Ended { id, at: now(), said: Said::At(position) });
}
