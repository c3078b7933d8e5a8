//! One of the processes that share a store: opens it, loads it, and ends when it is told to (SIGTERM).

use std::{path::PathBuf, sync::Arc, time::Duration};

use runyard_datamanager::{
    Action, DataManager, Error, Leadership, Position, ReadSet, Snapshot, Transaction, WalDataManager,
    coordinator::{EtcdCoordinator, EtcdSettings},
};
use rustix::process::{Signal, set_parent_process_death_signal};
use serde::{Deserialize, Serialize};
use tokio::{
    signal::unix::{SignalKind, signal},
    task::JoinSet,
    time::sleep,
};
use tokio_util::sync::CancellationToken;

use crate::{
    follower, latency, leader, mix,
    place::{self, Place, now},
    record::{Begun, Entry, Line, Recorder, Said},
};

/// How many tasks of a process write.
pub(crate) const WRITERS: u64 = 16;

/// After how long something that fails is tried again: nothing says when it would succeed.
pub(crate) const RETRY_DELAY: Duration = Duration::from_millis(100);

/// What a worker is told.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Spec {
    /// Counts all processes that were ever started.
    pub(crate) process: u64,
    pub(crate) seed: u64,
    pub(crate) place: Place,
    pub(crate) etcd: Vec<String>,
    /// Where to write down what is done.
    pub(crate) file: PathBuf,
    /// When the soak began.
    pub(crate) began: Duration,
    pub(crate) load: Load,
    /// What it leaves out of the protocol, if anything.
    pub(crate) broken: Option<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Load {
    /// Everything at once.
    Mix,
    /// One commit at a time, as the leader.
    Commit,
    /// None: it notes when it sees what others commit.
    See,
}

/// What the tasks of a worker share.
#[derive(Clone, Debug)]
pub(crate) struct Worker {
    pub(crate) data: WalDataManager,
    pub(crate) coordinator: Arc<EtcdCoordinator>,
    pub(crate) recorder: Arc<Recorder>,
    pub(crate) spec: Arc<Spec>,
    pub(crate) stop: CancellationToken,
}

pub(crate) async fn run(spec: Spec) {
    set_parent_process_death_signal(Some(Signal::KILL)).unwrap();
    let mut terminated = signal(SignalKind::terminate()).unwrap();
    let recorder = Arc::new(Recorder::create(spec.process, &spec.file));
    let coordinator =
        retry(async || EtcdCoordinator::connect(EtcdSettings::new(spec.etcd.clone(), "soak")).await).await;
    let coordinator = Arc::new(coordinator);
    let storage = retry(async || spec.place.open().await).await;
    let open = async || {
        place::builder(&spec.place, Arc::clone(&storage))
            .coordinator(Arc::<EtcdCoordinator>::clone(&coordinator))
            .open()
            .await
    };
    let data = retry(open).await;
    let stop = CancellationToken::new();
    let worker = Worker { data, coordinator, recorder, spec: Arc::new(spec), stop: stop.clone() };
    let mut tasks = JoinSet::new();
    match worker.spec.load {
        Load::Mix => {
            for writer in 0..WRITERS {
                tasks.spawn(mix::run(worker.clone(), writer));
            }
            tasks.spawn(leader::run(worker.clone()));
            tasks.spawn(follower::run(worker.clone()));
        }
        Load::Commit => drop(tasks.spawn(latency::commit(worker.clone()))),
        Load::See => drop(tasks.spawn(latency::see(worker.clone()))),
    }
    tokio::select! {
        _ = terminated.recv() => {}
        // None ends before it is told to.
        Some(ended) = tasks.join_next() => ended.unwrap(),
    }
    stop.cancel();
    tasks.join_all().await;
    worker.data.close().await;
    worker.coordinator.close().await;
}

async fn retry<T, E: std::fmt::Display>(mut attempt: impl AsyncFnMut() -> Result<T, E>) -> T {
    loop {
        match attempt().await {
            Ok(value) => return value,
            Err(error) => eprintln!("tried again: {error}"),
        }
        sleep(RETRY_DELAY).await;
    }
}

/// Something that is asked for: what it reads, and what it is to write.
#[derive(Debug)]
pub(crate) struct Asked {
    pub(crate) id: u64,
    invoked: Duration,
    at: Snapshot,
    reads: Vec<Entry>,
    caught_up: bool,
    pub(crate) writes: Vec<Entry>,
    pub(crate) append: Option<(String, String)>,
}

impl Worker {
    /// Begins something that reads what this process sees.
    pub(crate) fn begin(&self) -> Asked {
        let (id, invoked) = (self.recorder.next_id(), now());
        let (reads, writes) = (Vec::new(), Vec::new());
        Asked { id, invoked, at: self.data.snapshot(), reads, caught_up: false, writes, append: None }
    }

    /// Begins something that reads what any process was told until now.
    pub(crate) async fn begin_caught_up(&self) -> Result<Asked, Error> {
        let invoked = now();
        self.data.catch_up().await?;
        Ok(Asked { invoked, caught_up: true, ..self.begin() })
    }

    pub(crate) async fn read(&self, asked: &mut Asked, collection: &str, key: &str) -> Result<Option<String>, Error> {
        let value = self.data.get(&asked.at, collection, key.as_bytes()).await?;
        let value = value.map(|value| String::from_utf8(value.into()).unwrap());
        asked.reads.push((collection.to_owned(), key.to_owned(), value.clone()));
        Ok(value)
    }

    /// Ends what only reads.
    pub(crate) fn end_read(&self, asked: Asked) {
        let said = Said::At(asked.at.position());
        self.note_begun(&asked);
        self.recorder.write(&Line::Ended { id: asked.id, at: now(), said });
    }

    /// Commits what was asked for.
    pub(crate) async fn commit(&self, asked: Asked, leadership: Option<&Leadership>) -> Result<Position, Error> {
        self.note_begun(&asked);
        let transaction = transaction(&asked);
        let result = match leadership {
            Some(leadership) => leadership.commit(&self.data, &asked.at, transaction).await,
            None => self.data.commit(transaction).await,
        };
        let said = match &result {
            Ok(position) => Said::At(*position),
            Err(Error::Conflict { .. }) => Said::Conflict,
            Err(Error::OutcomeUnknown { .. }) => Said::Unknown,
            Err(error) => Said::Failed(error.to_string()),
        };
        self.recorder.write(&Line::Ended { id: asked.id, at: now(), said });
        result
    }

    fn note_begun(&self, asked: &Asked) {
        let Asked { id, invoked, reads, writes, append, caught_up, .. } = asked;
        let (reads, writes, append) = (reads.clone(), writes.clone(), append.clone());
        self.recorder.write(&Line::Begun(Begun {
            id: *id,
            at: *invoked,
            reads,
            writes,
            append,
            caught_up: *caught_up,
        }));
    }
}

fn transaction(asked: &Asked) -> Transaction {
    let keys = asked.reads.iter().map(|(collection, key, _)| (collection.clone(), key.clone().into()));
    let write = |(collection, key, value): Entry| match value {
        Some(value) => Action::Put { collection, key: key.into(), value: value.into() },
        None => Action::Delete { collection, key: key.into() },
    };
    let append = asked.append.clone();
    let append = append.map(|(collection, value)| Action::Append { collection, value: value.into() });
    Transaction {
        reads: ReadSet { position: asked.at.position(), keys: keys.collect(), ..ReadSet::default() },
        actions: asked.writes.iter().cloned().map(write).chain(append).collect(),
    }
}
