//! When is a checkpoint made, and what becomes of it?
//!
//! A task of the data manager, woken by what becomes visible, by a deadline, or by somebody who asks. It freezes what is
//! in memory, has [it written](crate::checkpoint), and goes over to it. A checkpoint of another process that is newer is
//! adopted instead. What fails is tried again later: until a checkpoint is published, nothing is given up. Where several
//! processes have a store open, one leads: the others wait a while for its checkpoints.

use std::{collections::BTreeSet, sync::Arc};

use tokio::{
    sync::{mpsc, oneshot, watch},
    time::Instant,
};

use crate::{
    Error, KeyRange, Position, Result,
    base::Base,
    broken::{self, Broken},
    checkpoint::{
        Checkpointer, Covered, Outcome,
        when::{Triggers, Uncovered, due},
        write::Changes,
    },
    entry::Entry,
    manifest::newest,
    record::Hash,
    store::{Frozen, Store},
    wal::{pins::Pins, queue::Queue, recovery::Source, status::StatusBoard},
};

/// A checkpoint, as its maker sees it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Checkpoint {
    /// Counted from 1; 0 is the empty state of a store that has none.
    pub number: u64,
    /// The last transaction that it contains.
    pub position: Position,
    /// What was written for it into data files; 0 if there was nothing to write.
    pub bytes_written: u64,
}

/// Who wants a checkpoint of everything that is visible.
pub(crate) type Request = oneshot::Sender<Result<Checkpoint>>;

/// The checkpoint that is read from.
#[derive(Debug)]
pub(crate) struct Current {
    pub(crate) store: Arc<Store>,
    pub(crate) board: Arc<StatusBoard>,
    pub(crate) pins: Arc<Pins>,
    /// The newest checkpoint that this process has published, or opened the store with. Wakes the cleaner.
    pub(crate) published: watch::Sender<u64>,
}

impl Current {
    /// Goes over to a checkpoint that is the newest. Returns whether it was newer than the one before, and of what is
    /// visible.
    pub(crate) fn replace(&self, base: Arc<Base>) -> bool {
        let manifest = Arc::clone(base.manifest());
        self.pins.add(&base);
        let installed = self.store.install(base);
        if installed {
            self.board.covered(manifest.number, manifest.tip.lsn);
        }
        installed
    }
}

/// The task that makes checkpoints.
#[derive(Debug)]
pub(crate) struct CheckpointWorker {
    pub(crate) source: Source,
    pub(crate) genesis: Hash,
    pub(crate) queue: Arc<Queue>,
    pub(crate) current: Arc<Current>,
    pub(crate) checkpointer: Checkpointer,
    pub(crate) triggers: Triggers,
    pub(crate) requests: mpsc::Receiver<Request>,
    pub(crate) attempts: Attempts,
    /// What the last attempt wanted to publish and could not. The next one takes it again: one that froze more each time
    /// would leave a table for every failure, and each of them is looked into by every read.
    pub(crate) unpublished: Option<Arc<Frozen>>,
    /// Whether this process is the one that should make them.
    pub(crate) leads: watch::Receiver<bool>,
}

/// How often a process that does not lead looks for the leader's checkpoint when one is due, before it makes one itself:
/// after about a minute.
const LOOKS_MAX: u32 = 6;

/// Since when there is something to do, and how it went so far.
#[derive(Debug, Default)]
pub(crate) struct Attempts {
    /// When the oldest batch that no checkpoint covers became visible here.
    since: Option<Instant>,
    /// How many failed in a row.
    failures: u32,
    failed_at: Option<Instant>,
}

impl Attempts {
    /// After one more that failed.
    fn failed(&self) -> Self {
        let failures = self.failures.saturating_add(1);
        Self { since: self.since, failures, failed_at: Some(Instant::now()) }
    }
}

impl Changes for Frozen {
    fn collections(&self) -> BTreeSet<String> {
        Self::collections(self)
    }

    fn entries(&self, collection: &str, range: KeyRange) -> Box<dyn Iterator<Item = Entry> + Send> {
        Box::new(Self::entries(self, collection, range))
    }
}

impl CheckpointWorker {
    /// Makes checkpoints when they are due, until the data manager has no handle left.
    pub(crate) async fn run(mut self) {
        let mut status = self.current.board.watch();
        status.mark_changed();
        loop {
            let deadline = self.deadline();
            tokio::select! {
                biased;
                request = self.requests.recv() => match request {
                    Some(request) => self.attempt(vec![request]).await,
                    None => return,
                },
                () = sleep_until(deadline) => self.attempt(Vec::new()).await,
                // Without a sender, it stays as it is.
                Ok(()) = self.leads.changed() => {
                    self.attempts = Attempts { since: self.attempts.since, ..Attempts::default() };
                }
                // The sender lives as long as this task. A batch is counted after it became visible, so that is late enough.
                _ = status.changed() => self.note_uncovered(),
            }
        }
    }

    fn deadline(&self) -> Option<Instant> {
        let status = self.current.board.watch();
        let (log_bytes, batches) = {
            let status = status.borrow();
            (status.log_bytes, status.log_batches)
        };
        let uncovered = self.attempts.since.map(|since| Uncovered { log_bytes, batches, since });
        due(&self.triggers, uncovered.as_ref(), self.attempts.failures, self.attempts.failed_at)
    }

    fn note_uncovered(&mut self) {
        if self.current.store.position() > self.current.store.base().position() {
            self.attempts.since.get_or_insert_with(Instant::now);
        } else {
            self.attempts.since = None;
        }
    }

    /// Makes a checkpoint, and answers those who wait for it.
    async fn attempt(&mut self, mut requests: Vec<Request>) {
        while let Ok(request) = self.requests.try_recv() {
            requests.push(request);
        }
        let began = Instant::now();
        if requests.is_empty() && self.is_up_to_the_leader() {
            return self.look_for_the_leaders(began).await;
        }
        let result = self.checkpoint().await;
        self.attempts = match &result {
            Ok(_) => Attempts { since: Some(began), ..Attempts::default() },
            Err(error) => {
                tracing::warn!(%error, "a checkpoint failed; it is tried again");
                self.attempts.failed()
            }
        };
        if self.current.store.position() <= self.current.store.base().position() {
            self.attempts.since = None;
        }
        self.current.board.checkpoint_ended(result.as_ref().err().cloned());
        for request in requests {
            let _ = request.send(result.clone());
        }
    }

    fn is_up_to_the_leader(&self) -> bool {
        !*self.leads.borrow() && (self.attempts.failures < LOOKS_MAX || broken::is(Broken::LeadersCheckpointIgnored))
    }

    /// Goes over to the leader's checkpoint, if it has made one. Where it has not, there is a next time: nothing says
    /// when it has.
    async fn look_for_the_leaders(&mut self, began: Instant) {
        let before = self.current.store.base().manifest().number;
        // If it cannot be read now, neither can it be later by the attempt of this process, which says so.
        let is_adopted = !broken::is(Broken::LeadersCheckpointIgnored) && self.adopt_newest().await.is_ok();
        let is_there = is_adopted && self.current.store.base().manifest().number > before;
        self.attempts = match is_there {
            true => Attempts { since: Some(began), ..Attempts::default() },
            false => self.attempts.failed(),
        };
        self.note_uncovered();
    }

    async fn checkpoint(&mut self) -> Result<Checkpoint> {
        let store = Arc::clone(&self.current.store);
        let wanted = store.position();
        let mut written_for = (0, 0);
        // Whoever finds a foreign checkpoint in its place is based on that one next time: each turn begins at a higher
        // number.
        loop {
            self.adopt_newest().await?;
            let base = store.base();
            if base.position() >= wanted {
                let number = base.manifest().number;
                let bytes_written = if written_for.0 == number { written_for.1 } else { 0 };
                return Ok(Checkpoint { number, position: base.position(), bytes_written });
            }
            let frozen = self.freeze(&base);
            let below = Arc::clone(frozen.base.manifest());
            let (tip, position, history) = (frozen.tip, frozen.position, frozen.history.clone());
            let covered = Covered { tip, position, history, changes: frozen };
            let written = self.checkpointer.checkpoint(&below, covered).await?;
            self.unpublished = None;
            let Outcome::Written { base, bytes_written } = written else { continue };
            let number = base.manifest().number;
            // One that took so long that others were made after it, and cleaned, may have created what was deleted.
            if self.newest().await? != number {
                continue;
            }
            if self.current.replace(base) {
                self.current.published.send_replace(number);
                tracing::debug!(number, %position, bytes_written, "made a checkpoint");
                written_for = (number, bytes_written);
            }
        }
    }

    /// What a checkpoint over `base` is to be made of: what was frozen for it before, or else all that is visible.
    fn freeze(&mut self, base: &Arc<Base>) -> Arc<Frozen> {
        let before = self.unpublished.take().filter(|frozen| Arc::ptr_eq(&frozen.base, base));
        let frozen = before.unwrap_or_else(|| Arc::new(self.current.store.rotate()));
        Arc::clone(self.unpublished.insert(frozen))
    }

    /// The number of the newest checkpoint that there is; 0 if there is none.
    async fn newest(&self) -> Result<u64> {
        Ok(newest::numbers(&self.source.log).await?.last().copied().unwrap_or(0))
    }

    /// Goes over to the newest checkpoint, if another process made it.
    async fn adopt_newest(&self) -> Result<()> {
        loop {
            let newest = self.newest().await?;
            if newest <= self.current.store.base().manifest().number {
                return Ok(());
            }
            let manifest = match newest::read_chained(&self.source.log, newest, self.genesis).await {
                Ok(verified) => verified.manifest,
                // What is missing was cleaned since it was listed, if there is a newer one.
                Err(Error::Corrupt { .. }) if self.newest().await? > newest => continue,
                Err(error) => return Err(error),
            };
            let is_ahead = || self.current.store.tip().lsn < manifest.tip.lsn && !broken::is(Broken::AdoptedAhead);
            if is_ahead() {
                let answer = self.queue.catch_up()?;
                answer.await.unwrap_or(Err(Error::Closed))?;
            }
            if is_ahead() {
                return Err(Error::Corrupt {
                    object: self.source.log.layout.manifest(newest).to_string(),
                    reason: format!("it covers the log up to {}, which ends before", manifest.tip.lsn),
                });
            }
            // If it is older than what catching up has brought, that is the newest.
            self.current.replace(Base::new(Arc::new(manifest), self.source.files.clone()));
        }
    }
}

/// Waits until then; without a deadline for ever.
async fn sleep_until(deadline: Option<Instant>) {
    match deadline {
        Some(deadline) => tokio::time::sleep_until(deadline).await,
        None => std::future::pending().await,
    }
}
