//! Where is the output of a step, while it runs and afterwards?
//!
//! An executor appends; the bytes are handed to followers at once, stored durably, and only then acknowledged. The end
//! of a step seals its log with a row that names the objects; readers of a sealed log follow the row, never a listing.

mod chunks;
mod lines;
mod live;
mod page;

use std::{
    collections::{HashMap, HashSet},
    sync::{
        Arc, Mutex,
        atomic::{AtomicU64, Ordering},
    },
};

use bytes::Bytes;
use futures::{StreamExt, TryStreamExt, stream, stream::BoxStream};
use runyard_executor_core::contract::{ClientError, LogEnd, StepRef, TaskId};
use runyard_objectstorage::{GetRange, ObjectStorage, ObjectStorageExt};
use tokio::sync::watch;

pub(crate) use self::lines::LineCount;
use self::{
    chunks::Chunk,
    live::{LiveLog, Next},
    page::Parts,
};
pub use self::{
    lines::{LogLine, LogPlace},
    page::LogPage,
};
use crate::{Error, Result, layout, rows::LogRow};

/// Names a log: a task, the attempt, and the setup or a step.
pub(crate) type LogId = (TaskId, u32, StepRef);

/// What a log comes to.
#[derive(Debug)]
pub(crate) struct Sealed {
    pub(crate) row: LogRow,
    /// Whether there are objects that it does not need.
    pub(crate) has_spare: bool,
}

/// The logs of all tasks.
#[derive(Debug)]
pub(crate) struct Logs {
    storage: Arc<dyn ObjectStorage>,
    /// Whether other processes write logs, too.
    shared: bool,
    /// Logs that somebody writes or follows.
    live: Mutex<HashMap<LogId, Arc<LiveLog>>>,
    /// Tasks whose logs are known to have an object that says whose they are.
    referred: Mutex<HashSet<TaskId>>,
}

impl Logs {
    pub(crate) fn new(storage: Arc<dyn ObjectStorage>, shared: bool) -> Self {
        Self { storage, shared, live: Mutex::default(), referred: Mutex::default() }
    }

    /// Appends; returns the length that is stored durably. See
    /// [`RunServiceClient::append_log`](runyard_executor_core::contract::RunServiceClient::append_log).
    pub(crate) async fn append(&self, id: &LogId, offset: u64, bytes: Bytes) -> Result<u64, ClientError> {
        let log = self.live(id);
        // Who asks how much there is goes on from there, over what is there beyond it.
        if bytes.is_empty() && self.shared { log.stored().await } else { log.append(offset, bytes).await }
    }

    /// Says what the row of a log must hold that nothing more comes to; `end` is what the executor said of its end.
    ///
    /// Doing it again changes nothing. Call [`Logs::close`] once the row is committed, and [`Logs::tidy`] if there is
    /// something to tidy.
    pub(crate) async fn seal(&self, id: &LogId, end: Option<&LogEnd>) -> Result<Sealed> {
        let (chunks, has_spare) = self.live(id).seal().await.map_err(|source| Error::Internal {
            message: "the end of a log cannot be stored at the moment".into(),
            source: Some(source.into()),
        })?;
        let bytes = chunks.last().map_or(0, |chunk| chunk.end());
        let row = LogRow {
            bytes,
            chunks: chunks.iter().map(|chunk| chunk.offset).collect(),
            lines: chunks.iter().filter_map(|chunk| chunk.count).collect(),
            missing: end.map_or(0, |end| end.bytes.saturating_sub(bytes)),
            sha256: end.and_then(|end| end.sha256.clone()),
        };
        Ok(Sealed { row, has_spare })
    }

    /// Removes the objects that the committed row of a log does not name.
    pub(crate) async fn tidy(&self, id: &LogId, row: &LogRow) -> Result<()> {
        let prefix = layout::log_prefix(&id.0, id.1, id.2);
        let named: HashSet<_> = page::chunks_of(row).map(|chunk| chunk.bytes()).collect();
        let objects = self.storage.list_objects(&prefix).await.map_err(Error::storage("listing a log"))?;
        for object in objects {
            if layout::log_chunk_bytes(&prefix, &object.key).is_some_and(|bytes| !named.contains(&bytes)) {
                self.storage.delete(&object.key).await.map_err(Error::storage("tidying a log"))?;
            }
        }
        Ok(())
    }

    /// Ends a log for its followers: it is sealed, or its step will never run.
    pub(crate) fn close(&self, id: &LogId) {
        if let Some(log) = self.lock().remove(id) {
            log.close();
        }
    }

    /// Whether it is known that there is an object that says whose the logs of a task are.
    pub(crate) fn is_referred_to(&self, task: &TaskId) -> bool {
        self.referred.lock().expect("the lock is never poisoned: no panic while held").contains(task)
    }

    /// Remembers that there is one, until the task ends.
    pub(crate) fn set_referred_to(&self, task: &TaskId) {
        self.referred.lock().expect("the lock is never poisoned: no panic while held").insert(task.clone());
    }

    /// Ends every log of a task for its followers: nothing of the task can write any more.
    pub(crate) fn close_task(&self, task: &TaskId) {
        self.referred.lock().expect("the lock is never poisoned: no panic while held").remove(task);
        let mut ended: Vec<_> = self.lock().extract_if(|(owner, ..), _| owner == task).collect();
        // Followers are woken in the same order each time, so that a simulation replays.
        ended.sort_by(|(one, _), (other, _)| one.cmp(other));
        for (_, log) in ended {
            log.close();
        }
    }

    /// A handle that hears everything from now on. Take it before the state is read that says whether the log is
    /// sealed, or an end between the two is missed.
    pub(crate) fn follow(&self, id: &LogId) -> Follower {
        Follower(self.live(id))
    }

    /// Streams a sealed log from `offset` on; the gap at its end, if any, is said in a last line.
    pub(crate) fn read_sealed(&self, id: &LogId, row: LogRow, offset: u64) -> BoxStream<'static, Result<Bytes>> {
        read_sealed(Arc::clone(&self.storage), id, row, offset)
    }

    /// Streams a log from `offset` on as it grows in this process, and then what `row` says that it has besides: another
    /// process may have written it. `row` is asked after the end.
    pub(crate) fn read_to_its_end(
        &self,
        follower: Follower,
        id: LogId,
        offset: u64,
        row: impl Future<Output = Result<Option<LogRow>>> + Send + 'static,
    ) -> BoxStream<'static, Result<Bytes>> {
        let passed = Arc::new(AtomicU64::new(offset));
        let passed_here = Arc::clone(&passed);
        let here = follower.read(offset, true);
        let here = here.inspect_ok(move |bytes| {
            passed_here.fetch_add(bytes.len() as u64, Ordering::Relaxed);
        });
        let storage = Arc::clone(&self.storage);
        let rest = async move {
            let rest = row.await?.map(|row| read_sealed(storage, &id, row, passed.load(Ordering::Relaxed)));
            Ok::<_, Error>(rest.unwrap_or_else(|| stream::empty().boxed()))
        };
        here.chain(stream::once(rest).try_flatten()).boxed()
    }

    /// Reads some lines of a sealed log.
    pub(crate) async fn sealed_page(&self, id: &LogId, row: &LogRow, place: LogPlace, limit: usize) -> Result<LogPage> {
        let prefix = layout::log_prefix(&id.0, id.1, id.2);
        let parts = Parts { prefix, chunks: page::chunks_of(row).collect(), tail: Vec::new() };
        let page = page::read(&self.storage, parts, place, limit).await.map_err(Error::storage("reading a log"))?;
        Ok(LogPage { ended: true, missing: row.missing, ..page })
    }

    /// Reads some lines of a log as it is at the moment.
    pub(crate) async fn live_page(&self, follower: &Follower, place: LogPlace, limit: usize) -> Result<LogPage> {
        /// How often the parts are looked up again because a merge took one of them away.
        const ATTEMPTS_MAX: usize = 16;
        let mut attempt = 1;
        loop {
            let parts = follower.0.parts().await.map_err(Follower::unreadable)?;
            match page::read(&self.storage, parts, place, limit).await {
                Err(error) if error.is_not_found() && attempt < ATTEMPTS_MAX => {
                    // The merge may have been that of another process.
                    if attempt > 1 {
                        follower.0.look_again().await.map_err(Follower::unreadable)?;
                    }
                    attempt += 1;
                }
                result => return result.map_err(Error::storage("reading a log")),
            }
        }
    }

    fn live(&self, id: &LogId) -> Arc<LiveLog> {
        let mut live = self.lock();
        let log = live
            .entry(id.clone())
            .or_insert_with(|| Arc::new(LiveLog::new(Arc::clone(&self.storage), id, self.shared)));
        Arc::clone(log)
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, HashMap<LogId, Arc<LiveLog>>> {
        self.live.lock().expect("the lock is never poisoned: no panic while held")
    }
}

fn read_sealed(
    storage: Arc<dyn ObjectStorage>,
    id: &LogId,
    row: LogRow,
    offset: u64,
) -> BoxStream<'static, Result<Bytes>> {
    let prefix = layout::log_prefix(&id.0, id.1, id.2);
    let missing = row.missing;
    let chunks: Vec<_> = page::chunks_of(&row).map(Chunk::bytes).filter(|bytes| bytes.end > offset).collect();
    let stored = stream::iter(chunks)
        .then(move |bytes| {
            let (storage, key) = (Arc::clone(&storage), layout::log_chunk(&prefix, &bytes));
            async move {
                let from = offset.saturating_sub(bytes.start);
                let object = storage.get(&key, GetRange::From(from)).await.map_err(Error::storage("reading a log"))?;
                Ok::<_, Error>(object.stream.map_err(|error| Error::storage("reading a log")(error)))
            }
        })
        .try_flatten();
    let stored = if offset >= row.bytes { stream::empty().boxed() } else { stored.boxed() };
    if missing == 0 {
        return stored;
    }
    let gap = format!("\n[runyard: {missing} bytes of this log were lost before they were stored]\n");
    stored.chain(stream::once(async move { Ok(Bytes::from(gap)) })).boxed()
}

/// Somebody who reads a log that may still grow.
#[derive(Debug)]
pub(crate) struct Follower(Arc<LiveLog>);

impl Follower {
    fn unreadable(source: ClientError) -> Error {
        Error::Internal { message: "the log cannot be read at the moment".into(), source: Some(source.into()) }
    }

    /// Streams from `offset` on: what is stored, then what is in memory, then, if `live`, what comes until the end.
    pub(crate) fn read(self, offset: u64, live: bool) -> BoxStream<'static, Result<Bytes>> {
        let changes = self.0.subscribe();
        let reader = Reader { log: self.0, changes, offset, live, object: None };
        let opened = async move {
            // Once: a look at the storage waits for the append that is being stored, and followers must not.
            reader.log.open().await.map_err(Self::unreadable)?;
            Ok::<_, Error>(stream::try_unfold(reader, |mut reader| async move {
                Ok(reader.next().await?.map(|bytes| (bytes, reader)))
            }))
        };
        stream::once(opened).try_flatten().boxed()
    }
}

/// How far a follower has read.
struct Reader {
    log: Arc<LiveLog>,
    changes: watch::Receiver<()>,
    offset: u64,
    live: bool,
    /// The rest of a stored object that is being read.
    object: Option<BoxStream<'static, Result<Bytes, runyard_objectstorage::Error>>>,
}

impl Reader {
    async fn next(&mut self) -> Result<Option<Bytes>> {
        loop {
            if let Some(object) = &mut self.object {
                match object.try_next().await.map_err(Error::storage("reading a log"))? {
                    Some(bytes) => return Ok(Some(self.passed(bytes))),
                    None => self.object = None,
                }
            }
            match self.log.next(self.offset) {
                Next::Bytes(bytes) => return Ok(Some(self.passed(bytes))),
                Next::Stored(chunk, start) => match self.log.get(chunk, start).await {
                    Ok(opened) => self.object = Some(opened.stream),
                    // A merge took the object away meanwhile: of this process, which knows what became of it, or of
                    // another one.
                    Err(error) if error.is_not_found() => {
                        if self.log.still_names(chunk) {
                            self.log.look_again().await.map_err(Follower::unreadable)?;
                        }
                    }
                    Err(error) => return Err(Error::storage("reading a log")(error)),
                },
                Next::End => return Ok(None),
                Next::Wait if !self.live => return Ok(None),
                // The sender lives in the log that this reader holds, so the wait ends with a change.
                Next::Wait => drop(self.changes.changed().await),
            }
        }
    }

    fn passed(&mut self, bytes: Bytes) -> Bytes {
        self.offset += bytes.len() as u64;
        bytes
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use runyard_objectstorage::{CallKind, FaultyStorage, MemoryStorage, Moment, Verdict};

    use super::*;

    fn log_id() -> LogId {
        (TaskId::parse("t").expect("valid"), 1, StepRef::Step(0))
    }

    fn texts(page: &LogPage) -> Vec<String> {
        page.lines.iter().map(|line| String::from_utf8_lossy(&line.text).into_owned()).collect()
    }

    /// Appends numbered lines, in pieces that end anywhere.
    async fn append_lines(logs: &Logs, id: &LogId, count: usize, piece: usize) -> u64 {
        let all: String = (0..count).map(|n| format!("line {n} {}\n", "x".repeat(n % 200))).collect();
        let mut offset = 0;
        for bytes in all.as_bytes().chunks(piece) {
            offset = logs.append(id, offset, Bytes::copy_from_slice(bytes)).await.expect("stored");
        }
        offset
    }

    #[tokio::test(start_paused = true)]
    async fn any_page_of_a_large_log_is_read_from_two_objects_at_most() {
        const LINES: usize = 200_000;
        let storage = FaultyStorage::new(MemoryStorage::new());
        let logs = Logs::new(Arc::new(storage.clone()), false);
        let id = log_id();
        let bytes = append_lines(&logs, &id, LINES, 100_000).await;
        assert!(bytes > 20 << 20, "{bytes}");
        let row = logs.seal(&id, None).await.expect("stored").row;
        assert!(row.chunks.len() as u64 <= bytes / (1 << 20) + 80, "{}", row.chunks.len());
        for first in [0, 1, 77_777, LINES - 100] {
            let before = storage.calls(CallKind::Get);
            let page = logs.sealed_page(&id, &row, LogPlace::From(first as u64), 100).await.expect("readable");
            assert!(storage.calls(CallKind::Get) - before <= 2);
            let expected: Vec<_> = (first..first + 100).map(|n| format!("line {n} {}", "x".repeat(n % 200))).collect();
            assert_eq!(texts(&page), expected);
            assert_eq!((page.first, page.lines_total, page.bytes_total), (first as u64, LINES as u64, bytes));
        }
        let last = logs.sealed_page(&id, &row, LogPlace::Last, 2).await.expect("readable");
        assert_eq!(last.first, LINES as u64 - 2);
        let past = logs.sealed_page(&id, &row, LogPlace::From(u64::MAX), 2).await.expect("readable");
        assert_eq!((past.first, past.offset, past.lines.len()), (LINES as u64, bytes, 0));
    }

    #[tokio::test(start_paused = true)]
    async fn a_page_of_a_log_that_grows_has_what_is_not_stored_yet() {
        let storage = FaultyStorage::new(MemoryStorage::new());
        let logs = Arc::new(Logs::new(Arc::new(storage.clone()), false));
        let id = log_id();
        logs.append(&id, 0, Bytes::from("one\ntw")).await.expect("stored");
        let held = storage.hold(CallKind::Put, Moment::Before);
        let appending = tokio::spawn({
            let (logs, id) = (Arc::clone(&logs), id.clone());
            async move { logs.append(&id, 6, Bytes::from("o\nthree")).await }
        });
        held.arrived(1).await;
        let page = logs.live_page(&logs.follow(&id), LogPlace::From(1), 10).await.expect("readable");
        assert_eq!(texts(&page), ["two", "three"]);
        assert_eq!((page.lines_total, page.bytes_total, page.offset, page.ended), (3, 13, 4, false));
        drop(held);
        appending.await.expect("no panic").expect("stored");
    }

    #[tokio::test(start_paused = true)]
    async fn lines_that_another_process_stored_are_counted_at_the_end() {
        let storage = Arc::new(MemoryStorage::new());
        let (before, id) = (Logs::new(Arc::clone(&storage) as _, false), log_id());
        let bytes = append_lines(&before, &id, 1_000, 999).await;
        let after = Logs::new(storage, false);
        assert_eq!(after.append(&id, bytes, Bytes::from("open end")).await.expect("stored"), bytes + 8);
        let row = after.seal(&id, None).await.expect("stored").row;
        let page = after.sealed_page(&id, &row, LogPlace::Last, 2).await.expect("readable");
        assert_eq!((page.lines_total, texts(&page)[1].as_str()), (1_001, "open end"));
    }

    #[tokio::test(start_paused = true)]
    async fn a_merge_whose_answer_was_lost_repeats_nothing() {
        let storage = FaultyStorage::new(MemoryStorage::new());
        let id = log_id();
        let written = Logs::new(Arc::new(storage.clone()), false);
        append_lines(&written, &id, 10, 7).await;
        let text = "line 0 \nline 1 x\nline 2 xx\n";
        // Another process, which has none of it in memory.
        let logs = Logs::new(Arc::new(storage.clone()), false);
        let mut lost = 0;
        storage.plan(move |call| match call.kind {
            CallKind::Put if lost == 0 => {
                lost += 1;
                Verdict::FailAfter
            }
            _ => Verdict::Pass,
        });
        logs.seal(&id, None).await.expect_err("it was not answered");
        let row = logs.seal(&id, None).await.expect("stored").row;
        let read: Vec<_> = logs.read_sealed(&id, row.clone(), 0).try_collect().await.expect("readable");
        let read = read.concat();
        assert_eq!(read.len() as u64, row.bytes);
        let page = logs.sealed_page(&id, &row, LogPlace::Last, 1).await.expect("readable");
        assert_eq!(page.lines_total, 10);
        assert!(read.starts_with(text.as_bytes()) && read.ends_with(b"line 9 xxxxxxxxx\n"));
    }

    #[tokio::test(start_paused = true)]
    async fn what_a_dead_process_wrote_and_arrives_late_takes_nothing_away() {
        let (storage, id) = (MemoryStorage::new(), log_id());
        let slow = FaultyStorage::new(storage.clone());
        let before = Arc::new(Logs::new(Arc::new(slow.clone()), true));
        let held = slow.hold(CallKind::Put, Moment::Before);
        let late = tokio::spawn({
            let (before, id) = (Arc::clone(&before), id.clone());
            async move { before.append(&id, 0, Bytes::from("one\n")).await }
        });
        held.arrived(1).await;
        // Its executor reconnects elsewhere, and sends what was not acknowledged, with what came meanwhile.
        let after = Logs::new(Arc::new(storage.clone()), true);
        assert_eq!(after.append(&id, 0, Bytes::from("one\ntwo\n")).await.expect("stored"), 8);
        drop(held);
        late.await.expect("no panic").expect("it arrives");
        for logs in [after, Logs::new(Arc::new(storage), true)] {
            let row = logs.seal(&id, None).await.expect("stored").row;
            let read: Vec<_> = logs.read_sealed(&id, row, 0).try_collect().await.expect("readable");
            assert_eq!(read.concat(), b"one\ntwo\n");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_process_that_does_not_know_that_it_lost_a_log_takes_nothing_from_its_successor() {
        const PIECE: usize = 20 << 10;
        let (storage, id) = (MemoryStorage::new(), log_id());
        let slow = FaultyStorage::new(storage.clone());
        let before = Arc::new(Logs::new(Arc::new(slow.clone()), true));
        let all: Bytes = (0..PIECE).flat_map(|n| format!("{n:03}\n").into_bytes()).collect();
        for n in 0..3 {
            let piece = all.slice(n * PIECE..(n + 1) * PIECE);
            before.append(&id, (n * PIECE) as u64, piece).await.expect("stored");
        }
        let held = slow.hold(CallKind::Put, Moment::Before);
        let late = tokio::spawn({
            let (before, id, piece) = (Arc::clone(&before), id.clone(), all.slice(3 * PIECE..4 * PIECE));
            // After this one, it merges all that there is.
            async move { before.append(&id, (3 * PIECE) as u64, piece).await }
        });
        held.arrived(1).await;
        // The executor sends some of it again to another process, and dies.
        let after = Logs::new(Arc::new(storage.clone()), true);
        let stored = all.slice(..3 * PIECE + 1_000);
        after.append(&id, (3 * PIECE) as u64, stored.slice(3 * PIECE..)).await.expect("stored");
        let sealed = after.seal(&id, None).await.expect("stored");
        drop(held);
        late.await.expect("no panic").expect("it arrives");
        for is_tidy in [false, true] {
            let read: Vec<_> = after.read_sealed(&id, sealed.row.clone(), 0).try_collect().await.expect("readable");
            assert!(read.concat() == stored, "it is whole");
            let objects = storage.list_objects("logs/").await.expect("listed").len();
            assert_eq!(is_tidy, objects == sealed.row.chunks.len(), "{objects} objects");
            after.tidy(&id, &sealed.row).await.expect("tidied");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_follower_hears_of_output_that_is_still_being_stored() {
        let storage = FaultyStorage::new(MemoryStorage::new());
        let logs = Arc::new(Logs::new(Arc::new(storage.clone()), false));
        let id = log_id();
        assert_eq!(logs.append(&id, 0, Bytes::from("one")).await.expect("stored"), 3);
        let mut follower = logs.follow(&id).read(0, true);
        assert_eq!(follower.try_next().await.expect("readable"), Some(Bytes::from("one")));

        let held = storage.hold(CallKind::Put, Moment::Before);
        let appending = tokio::spawn({
            let (logs, id) = (Arc::clone(&logs), id.clone());
            async move { logs.append(&id, 3, Bytes::from("two")).await }
        });
        held.arrived(1).await;
        let heard = tokio::time::timeout(Duration::from_secs(60), follower.try_next()).await;
        assert_eq!(heard.expect("heard in time").expect("readable"), Some(Bytes::from("two")));
        assert!(!appending.is_finished(), "it was heard before it was stored");
        drop(held);
        assert_eq!(appending.await.expect("no panic").expect("stored"), 6);
    }
}
