//! What is committed, as the orchestrator sees it, which is never killed: all of the log, and who is alive.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex},
    time::Duration,
};

use futures::StreamExt;
use runyard_datamanager::{Committed, DataManager, Position, WalDataManager, coordinator::Coordinator};
use runyard_objectstorage::ObjectStorage;
use tokio::{
    sync::watch,
    task::JoinSet,
    time::{Instant, timeout},
};

use crate::{
    leader,
    place::{self, Place, now},
    record::writer,
};

/// What was seen until now.
#[derive(Clone, Debug, Default)]
pub(crate) struct Board {
    /// How many transactions each process has committed.
    pub(crate) commits: BTreeMap<u64, u64>,
    /// The epoch of the last transaction of a leader, which process it was, and when it was seen.
    pub(crate) leader: Option<(u64, u64, Duration)>,
}

/// Follows the log from its beginning.
#[derive(Debug)]
pub(crate) struct Observer {
    pub(crate) data: WalDataManager,
    log: Arc<Mutex<Vec<Committed>>>,
    board: watch::Sender<Board>,
    _task: JoinSet<()>,
}

impl Observer {
    pub(crate) async fn open(
        place: &Place,
        storage: Arc<dyn ObjectStorage>,
        coordinator: Arc<dyn Coordinator>,
    ) -> Self {
        let data = place::builder(place, storage).coordinator(coordinator).read_only().open().await.unwrap();
        let (log, board) = (Arc::default(), watch::Sender::default());
        let mut task = JoinSet::new();
        task.spawn(observe(data.clone(), Arc::clone(&log), board.clone()));
        Self { data, log, board, _task: task }
    }

    pub(crate) fn board(&self) -> Board {
        self.board.borrow().clone()
    }

    /// Waits until something is on the board, and says how long it took.
    pub(crate) async fn wait_for(
        &self,
        what: &str,
        within: Duration,
        mut holds: impl FnMut(&Board) -> bool,
    ) -> Duration {
        let began = Instant::now();
        let mut board = self.board.subscribe();
        let held = timeout(within, board.wait_for(|board| holds(board))).await.is_ok();
        assert!(held, "not within {within:?}: {what}; {:?}", self.board());
        began.elapsed()
    }

    /// Everything that was committed up to a position.
    pub(crate) async fn log_up_to(&self, position: Position) -> Vec<Committed> {
        self.data.wait_for(position).await.unwrap();
        let is_there = |_: &Board| self.log.lock().unwrap().last().is_some_and(|last| last.position >= position);
        self.wait_for("the end of the log", Duration::from_secs(30), is_there).await;
        self.log.lock().unwrap().clone()
    }
}

async fn observe(data: WalDataManager, log: Arc<Mutex<Vec<Committed>>>, board: watch::Sender<Board>) {
    let mut followed = data.follow(Position::ZERO);
    while let Some(committed) = followed.next().await {
        let committed = committed.expect("the orchestrator is never so late that the log was cleaned");
        let wrote = committed.changes.iter().find_map(|change| change.value.as_ref());
        let wrote = wrote.map(|value| writer(std::str::from_utf8(value).unwrap()));
        let lead = committed.changes.iter().find(|change| change.collection == leader::SEQUENCE);
        let epoch = lead
            .and_then(|change| change.value.as_ref())
            .map(|value| leader::number(std::str::from_utf8(value).unwrap()).0);
        log.lock().unwrap().push(committed);
        board.send_modify(|board| {
            if let Some(process) = wrote {
                *board.commits.entry(process).or_default() += 1;
                if let Some(epoch) = epoch {
                    board.leader = Some((epoch, process, now()));
                }
            }
        });
    }
}
