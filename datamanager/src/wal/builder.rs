//! How is a store opened, and which tasks keep it?

use std::{sync::Arc, time::Duration};

use rand::{TryRng, rngs::SysRng};
use runyard_objectstorage::ObjectStorage;
use tokio::sync::{mpsc, watch};
use tokio_util::sync::CancellationToken;

use super::{
    Handle, WalDataManager,
    checkpoints::{Attempts, CheckpointWorker, Current},
    clean::Cleaner,
    committer::Committer,
    coordination::{lead_checkpoints, look_when_told},
    floor::FloorWatch,
    format,
    log::LogObjects,
    owner::Ownership,
    pins::Pins,
    queue::Queue,
    recovery::{self, Recovered, Source},
    room::Room,
    status::StatusBoard,
    uptime::{SystemUptime, Uptime},
};
use crate::{
    Error, Result,
    checkpoint::{Checkpointer, when::Triggers},
    coordinator::Coordinator,
    history::TRANSACTIONS_KEPT,
    layout::Layout,
    record::BatchId,
    table::DataFiles,
};

/// How a [`WalDataManager`] is opened; made by [`WalDataManager::builder`].
#[derive(Debug)]
pub struct WalBuilder {
    storage: Arc<dyn ObjectStorage>,
    base_path: String,
    commit_timeout: Duration,
    queue_bytes_max: usize,
    recent_bytes_max: usize,
    history_transactions_max: u64,
    writer_id: Option<[u8; 16]>,
    coordinator: Option<Arc<dyn Coordinator>>,
    uptime: Arc<dyn Uptime>,
    cache_bytes_max: u64,
    data_file_size_max: u64,
    triggers: Triggers,
    read_only: bool,
    previous_manifest: bool,
}

impl WalBuilder {
    pub(super) fn new(storage: Arc<dyn ObjectStorage>) -> Self {
        Self {
            storage,
            base_path: String::new(),
            commit_timeout: Duration::from_secs(30),
            queue_bytes_max: 16 << 20,
            recent_bytes_max: 16 << 20,
            history_transactions_max: TRANSACTIONS_KEPT,
            writer_id: None,
            coordinator: None,
            uptime: Arc::new(SystemUptime),
            cache_bytes_max: 32 << 20,
            data_file_size_max: 10 << 20,
            triggers: Triggers::default(),
            read_only: false,
            previous_manifest: false,
        }
    }

    /// Where in the storage the store is; the default is its root. Nothing outside is written, read or listed.
    #[must_use]
    pub fn base_path(mut self, base_path: impl Into<String>) -> Self {
        self.base_path = base_path.into();
        self
    }

    /// How long a commit waits for a storage that is unavailable or full; the default is 30 s.
    #[must_use]
    pub fn commit_timeout(mut self, timeout: Duration) -> Self {
        self.commit_timeout = timeout;
        self
    }

    /// How many bytes of transactions may wait before further commits wait for room; the default is 16 MiB.
    #[must_use]
    pub fn queue_bytes_max(mut self, bytes: usize) -> Self {
        self.queue_bytes_max = bytes;
        self
    }

    /// How many bytes of recent batches are kept in memory for followers; the default is 16 MiB. What is older is read
    /// from the log.
    #[must_use]
    pub fn recent_bytes_max(mut self, bytes: usize) -> Self {
        self.recent_bytes_max = bytes;
        self
    }

    /// How many transactions are remembered to find conflicts; the default is 1,000,000. A transaction that read
    /// before them must read again.
    #[must_use]
    pub fn history_transactions_max(mut self, transactions: usize) -> Self {
        self.history_transactions_max = transactions as u64;
        self
    }

    /// The id that this writer marks its batches with. By default it is drawn from the operating system; only a test
    /// that wants to be repeatable gives one, and never the same one to two openings.
    #[must_use]
    pub fn writer_id(mut self, id: [u8; 16]) -> Self {
        self.writer_id = Some(id);
        self
    }

    /// Whose hints to follow; the default is nobody's. It is kept as long as the data manager, and with it what it holds.
    ///
    /// With one of several processes, what others commit becomes visible here when it is announced, and only the process
    /// that is told to makes checkpoints and cleans; another one does so only if that one is late. With one of a
    /// [sole holder](Coordinator::sole_holder), opening takes the store over. Without any, this process hears of others
    /// when it commits or [catches up](WalDataManager::catch_up), and whoever has it open makes checkpoints.
    #[must_use]
    pub fn coordinator(mut self, coordinator: Arc<dyn Coordinator>) -> Self {
        self.coordinator = Some(coordinator);
        self
    }

    /// The clock that says whether a cleaner has waited, and whether the floor of the log must be read; the default is
    /// that of the operating system. Only a test gives another one.
    #[must_use]
    pub fn uptime(mut self, uptime: Arc<dyn Uptime>) -> Self {
        self.uptime = uptime;
        self
    }

    /// How many bytes of data files are kept in memory; the default is 32 MiB.
    #[must_use]
    pub fn cache_bytes_max(mut self, bytes: u64) -> Self {
        self.cache_bytes_max = bytes;
        self
    }

    /// How large a data file may be, unless one entry is larger; the default is 10 MiB.
    #[must_use]
    pub fn data_file_size_max(mut self, bytes: u64) -> Self {
        self.data_file_size_max = bytes;
        self
    }

    /// A checkpoint is made when the log after the last one has so many bytes; the default is 32 MiB. What is not in a
    /// checkpoint is in memory.
    #[must_use]
    pub fn checkpoint_log_bytes(mut self, bytes: u64) -> Self {
        self.triggers.log_bytes = bytes;
        self
    }

    /// A checkpoint is made when the log after the last one has so many batches; the default is 10,000.
    #[must_use]
    pub fn checkpoint_batches(mut self, batches: u64) -> Self {
        self.triggers.batches = batches;
        self
    }

    /// A checkpoint is made when something has been in the log alone for so long, so that a small store has checkpoints
    /// too; the default is 10 minutes.
    #[must_use]
    pub fn checkpoint_age(mut self, age: Duration) -> Self {
        self.triggers.age = age;
        self
    }

    /// Opens the store to be read alone, as a command does beside a running server: nothing is ever written, commits
    /// are refused, and there must be a store. [`catch_up`](WalDataManager::catch_up) makes news visible.
    #[must_use]
    pub fn read_only(mut self) -> Self {
        self.read_only = true;
        self
    }

    /// Goes back to the checkpoint before the newest one, if that does not verify; what came after is taken from the
    /// log, so nothing is lost. The manifest that does not verify is removed: copy it first to look into it. No other
    /// process may have the store open.
    #[must_use]
    pub fn previous_manifest(mut self) -> Self {
        self.previous_manifest = true;
        self
    }

    /// Opens the store, or makes a new one, and reads its newest checkpoint and the log after it.
    ///
    /// Must be called in a Tokio runtime; the tasks of the store run in it.
    ///
    /// # Errors
    /// [`Error::Corrupt`] names a damaged or missing object, [`Error::FormatVersion`] a store of another version.
    pub async fn open(self) -> Result<WalDataManager> {
        if self.read_only && self.previous_manifest {
            let reason =
                "going back to the checkpoint before removes the damaged one, and read-only nothing is removed";
            return Err(Error::Refused { reason: reason.to_owned() });
        }
        let writer = match self.writer_id {
            Some(id) => id,
            None => draw_id()?,
        };
        let log = LogObjects { storage: self.storage, layout: Layout::new(&self.base_path)? };
        let source = Source {
            files: DataFiles::new(Arc::clone(&log.storage), log.layout.clone(), self.cache_bytes_max),
            floor: FloorWatch::new(log.clone(), self.uptime),
            log,
            history_transactions_max: self.history_transactions_max,
            recent_bytes_max: self.recent_bytes_max,
        };
        let format = recovery::format(&source.log, (!self.read_only).then_some(writer)).await?;
        let genesis = format::genesis(&format);
        if self.previous_manifest {
            recovery::go_back(&source, genesis).await?;
        }
        let Recovered { store, base, tip, batches, maintenance } = recovery::recover(&source, genesis).await?;
        let (board, pins) = (Arc::<StatusBoard>::default(), Arc::<Pins>::default());
        board.reopened(base.manifest(), store.position(), &batches);
        board.maintenance(maintenance.as_deref());
        pins.add(&base);
        let queue = Arc::new(Queue::new(self.queue_bytes_max));
        let is_sole = self.coordinator.as_ref().is_some_and(|coordinator| coordinator.sole_holder().is_some());
        let committer = Committer {
            source: source.clone(),
            genesis,
            store: Arc::clone(&store),
            queue: Arc::clone(&queue),
            board: Arc::clone(&board),
            pins: Arc::clone(&pins),
            tip,
            maintenance,
            id: BatchId { writer, number: 0 },
            room: Room::new(is_sole, u32::from_le_bytes([writer[0], writer[1], writer[2], writer[3]])),
            left_behind: false,
            ownership: Ownership::new(BatchId { writer, number: 0 }),
            coordinator: self.coordinator.clone(),
        };
        let published = watch::Sender::new(base.manifest().number);
        let current = Arc::new(Current { store: Arc::clone(&store), board, pins, published });
        let stopped = CancellationToken::new();
        let stops = stopped.clone().drop_guard();
        tokio::spawn(async move {
            let _stops = stops;
            committer.run().await;
        });
        let shared = self.coordinator.as_ref().filter(|coordinator| coordinator.sole_holder().is_none());
        if let Some(coordinator) = shared {
            let look = look_when_told(Arc::clone(coordinator), Arc::clone(&queue), Arc::clone(&store));
            tokio::spawn(stopped.clone().run_until_cancelled_owned(look));
        }
        let (checkpoints, requests) = mpsc::channel(1);
        if !self.read_only {
            let (leading, leads) = watch::channel(shared.is_none());
            if let Some(coordinator) = shared {
                let lead = lead_checkpoints(Arc::clone(coordinator), leading);
                tokio::spawn(stopped.clone().run_until_cancelled_owned(lead));
            }
            let worker = CheckpointWorker {
                source: source.clone(),
                genesis,
                queue: Arc::clone(&queue),
                current: Arc::clone(&current),
                checkpointer: Checkpointer::new(source.files.clone(), self.data_file_size_max, &writer),
                triggers: self.triggers,
                requests,
                attempts: Attempts::default(),
                leads,
                unpublished: None,
            };
            let cleaner = Cleaner::new(source.log.clone(), source.floor.clone(), Arc::clone(&current.pins));
            let cleans = cleaner.run(current.published.subscribe(), Arc::clone(&current.board));
            // Apart from the committer, so that commits do not wait for files to be merged.
            tokio::spawn(stopped.clone().run_until_cancelled_owned(async { futures::join!(worker.run(), cleans) }));
        }
        let handle = Handle {
            store,
            queue,
            source,
            genesis,
            current,
            checkpoints,
            data_file_size_max: self.data_file_size_max,
            read_only: self.read_only,
            commit_timeout: self.commit_timeout,
            stopped,
            _coordinator: self.coordinator,
        };
        let opened = WalDataManager { handle: Arc::new(handle) };
        if let Some(coordinator) = opened.handle._coordinator.as_ref().filter(|_| !opened.handle.read_only) {
            opened.claim(writer, coordinator.sole_holder()).await?;
        }
        Ok(opened)
    }
}

pub(super) fn draw_id() -> Result<[u8; 16]> {
    let mut id = [0; 16];
    SysRng.try_fill_bytes(&mut id).map_err(|source| {
        Error::storage("drawing the id of the writer")(runyard_objectstorage::Error::Unusable {
            message: "the operating system gives no random bytes".to_owned(),
            source: Some(source.into()),
        })
    })?;
    Ok(id)
}
