//! Which transactions wait to be committed?
//!
//! Bounded by bytes: past that, a commit waits until there is room.

use std::{
    collections::VecDeque,
    sync::{Arc, Mutex, MutexGuard},
};

use tokio::{
    sync::{Notify, OwnedSemaphorePermit, Semaphore, oneshot},
    time::Instant,
};

use crate::{
    Error, Position, ReadSet, Result,
    broken::{self, Broken},
    record::{Logged, framed_bytes},
};

/// A transaction that waits for its commit.
#[derive(Debug)]
pub(crate) struct Pending {
    pub(crate) reads: ReadSet,
    pub(crate) logged: Logged,
    pub(crate) payload: Vec<u8>,
    /// When its caller stops waiting.
    pub(crate) deadline: Instant,
    pub(crate) reply: Reply,
}

/// A transaction: what it read, what is logged of it, and how.
pub(crate) type Submission = (ReadSet, Logged, Vec<u8>);

/// What becomes of a transaction that was queued.
#[derive(Debug)]
pub(crate) enum Answer {
    /// Its outcome.
    Finished(Result<Position>),
    /// A checkpoint covers what it read since: it must be checked against that and queued again.
    HandedBack(Submission),
}

/// Answers the caller of a commit, and gives the room of the transaction back.
#[derive(Debug)]
pub(crate) struct Reply {
    sender: Option<oneshot::Sender<Answer>>,
    room: Option<OwnedSemaphorePermit>,
}

/// What waits for the committer.
#[derive(Debug)]
pub(crate) struct Queue {
    waiting: Mutex<Waiting>,
    changed: Notify,
    room: Arc<Semaphore>,
    room_bytes: usize,
}

#[derive(Debug, Default)]
struct Waiting {
    transactions: VecDeque<Pending>,
    catch_ups: Vec<oneshot::Sender<Result<()>>>,
    closed: bool,
}

impl Reply {
    /// Answers; later answers are ignored.
    pub(crate) fn send(&mut self, result: Result<Position>) {
        if broken::is(Broken::RoomKept)
            && let Some(room) = self.room.take()
        {
            room.forget();
        }
        self.room = None;
        if let Some(sender) = self.sender.take() {
            // A caller that went away does not want to know.
            let _ = sender.send(Answer::Finished(result));
        }
    }

    /// Whether the caller still waits.
    pub(crate) fn is_waiting(&self) -> bool {
        self.sender.is_some()
    }
}

impl Pending {
    pub(crate) fn framed_bytes(&self) -> usize {
        framed_bytes(self.payload.len())
    }

    /// Gives the transaction back to its caller, if that still waits.
    pub(crate) fn hand_back(self) {
        if let Some(sender) = self.reply.sender {
            let _ = sender.send(Answer::HandedBack((self.reads, self.logged, self.payload)));
        }
    }
}

impl Queue {
    /// An empty queue for about `room_bytes` of transactions.
    pub(crate) fn new(room_bytes: usize) -> Self {
        let room_bytes = room_bytes.clamp(1, Semaphore::MAX_PERMITS);
        Self {
            waiting: Mutex::default(),
            changed: Notify::new(),
            room: Arc::new(Semaphore::new(room_bytes)),
            room_bytes,
        }
    }

    /// Waits for room and queues a transaction; its answer comes from the receiver.
    pub(crate) async fn push(
        &self,
        (reads, logged, payload): Submission,
        deadline: Instant,
    ) -> Result<oneshot::Receiver<Answer>> {
        // One that is larger than all the room there is takes all of it.
        let bytes = framed_bytes(payload.len()).min(self.room_bytes) as u32;
        let room = match Arc::clone(&self.room).try_acquire_many_owned(bytes) {
            Ok(room) => room,
            Err(_) => {
                let room = Arc::clone(&self.room).acquire_many_owned(bytes);
                let waited = tokio::time::timeout_at(deadline, room).await;
                waited.map_err(|_| timed_out())?.map_err(|_| Error::Closed)?
            }
        };
        let (sender, receiver) = oneshot::channel();
        let reply = Reply { sender: Some(sender), room: Some(room) };
        {
            let mut waiting = self.lock();
            if waiting.closed {
                return Err(Error::Closed);
            }
            waiting.transactions.push_back(Pending { reads, logged, payload, deadline, reply });
        }
        if !broken::is(Broken::WakeupLost) {
            self.changed.notify_one();
        }
        Ok(receiver)
    }

    /// Asks the committer to apply what other processes wrote.
    pub(crate) fn catch_up(&self) -> Result<oneshot::Receiver<Result<()>>> {
        let (sender, receiver) = oneshot::channel();
        {
            let mut waiting = self.lock();
            if waiting.closed {
                return Err(Error::Closed);
            }
            waiting.catch_ups.push(sender);
        }
        self.changed.notify_one();
        Ok(receiver)
    }

    /// Takes no more transactions; those that wait are still committed.
    pub(crate) fn close(&self) {
        self.lock().closed = true;
        self.room.close();
        self.changed.notify_one();
    }

    /// How many bytes of transactions wait.
    pub(crate) fn bytes(&self) -> usize {
        self.room_bytes - self.room.available_permits()
    }

    /// How many transactions wait.
    pub(crate) fn waiting(&self) -> usize {
        self.lock().transactions.len()
    }

    /// Completes after something was queued, or the queue was closed.
    pub(crate) async fn changed(&self) {
        self.changed.notified().await;
    }

    /// How much more may be queued.
    #[cfg(test)]
    pub(crate) fn room_left(&self) -> usize {
        self.room.available_permits()
    }

    pub(crate) fn is_closed(&self) -> bool {
        self.lock().closed
    }

    /// Whether nothing waits, and nothing ever will.
    pub(crate) fn is_finished(&self) -> bool {
        let waiting = self.lock();
        waiting.closed && waiting.transactions.is_empty() && waiting.catch_ups.is_empty()
    }

    /// Closes the queue and lets go of everybody who waits: their answers never come.
    pub(crate) fn abandon(&self) {
        self.close();
        let mut waiting = self.lock();
        if broken::is(Broken::AbandonedUnanswered) {
            std::mem::forget(std::mem::take(&mut waiting.transactions));
        }
        waiting.transactions.clear();
        waiting.catch_ups.clear();
    }

    /// Takes the first transactions, as many as fit in `bytes`.
    pub(crate) fn take(&self, mut bytes: usize) -> Vec<Pending> {
        let mut waiting = self.lock();
        let mut taken = Vec::new();
        while let Some(next) = waiting.transactions.front() {
            let Some(left) = bytes.checked_sub(next.framed_bytes()) else { break };
            bytes = left;
            taken.extend(waiting.transactions.pop_front());
        }
        taken
    }

    /// Puts transactions back to the front.
    pub(crate) fn put_back(&self, transactions: Vec<Pending>) {
        let mut waiting = self.lock();
        for pending in transactions.into_iter().rev() {
            waiting.transactions.push_front(pending);
        }
    }

    pub(crate) fn take_catch_ups(&self) -> Vec<oneshot::Sender<Result<()>>> {
        std::mem::take(&mut self.lock().catch_ups)
    }

    /// Takes the transactions whose callers do not wait any longer.
    pub(crate) fn take_expired(&self, now: Instant) -> Vec<Pending> {
        let mut waiting = self.lock();
        let (expired, rest) = waiting.transactions.drain(..).partition(|pending: &Pending| pending.deadline <= now);
        waiting.transactions = rest;
        Vec::from(expired)
    }

    /// When the next waiting caller gives up.
    pub(crate) fn next_deadline(&self) -> Option<Instant> {
        self.lock().transactions.iter().map(|pending| pending.deadline).min()
    }

    fn lock(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().expect("the lock is never poisoned: no panic while held")
    }
}

/// The answer to a transaction that was not even tried in time.
fn timed_out() -> Error {
    Error::storage("waiting for room to commit; nothing of it was written")(runyard_objectstorage::Error::Unusable {
        message: "earlier commits did not finish in time".to_owned(),
        source: None,
    })
}
