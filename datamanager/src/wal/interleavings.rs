//! Does every order in which tasks can be polled end well?
//!
//! Callers, the committer and whoever closes or goes away are polled by hand, in every order: a model check of the queue
//! and of the hand-over of answers. The committer and the callers are the real ones; the storage takes two polls for a
//! put, one before its effect and one after it. Orders are tried depth-first; each poll that is not that of the task
//! which has been ready for longest counts as so many deviations as there are tasks before it, and those are bounded.

use std::{
    sync::Mutex,
    task::{Context, Poll, Wake, Waker},
};

use futures::{
    FutureExt,
    future::{AbortHandle, Abortable, LocalBoxFuture},
    stream::BoxStream,
};
use runyard_objectstorage::{
    Body, GetObject, GetRange, ListEntry, ListRequest, MemoryStorage, ObjectKey, ObjectMeta, ObjectStorageExt,
    PutOptions, Result as StorageResult,
};

use super::*;
use crate::{
    Action, Transaction, VirtualUptime,
    base::Base,
    broken::Broken,
    layout::Layout,
    record::BatchId,
    table::DataFiles,
    wal::{
        committer::Committer, floor::FloorWatch, log::LogObjects, owner::Ownership, pins::Pins, recovery::Source,
        room::Room, status::StatusBoard,
    },
};

const VALUE_BYTES: usize = 100;

/// For two transactions, but not for three.
const ROOM_BYTES: usize = 5 * VALUE_BYTES / 2;

/// A storage whose puts let others in between.
#[derive(Debug, Default)]
struct Slow(MemoryStorage);

#[async_trait]
impl ObjectStorage for Slow {
    async fn head(&self, key: &ObjectKey) -> StorageResult<ObjectMeta> {
        self.0.head(key).await
    }

    async fn get(&self, key: &ObjectKey, range: GetRange) -> StorageResult<GetObject> {
        self.0.get(key, range).await
    }

    async fn put(&self, key: &ObjectKey, body: Body, options: PutOptions) -> StorageResult<()> {
        yield_once().await;
        let answer = self.0.put(key, body, options).await;
        yield_once().await;
        answer
    }

    async fn delete(&self, key: &ObjectKey) -> StorageResult<()> {
        self.0.delete(key).await
    }

    fn list(&self, request: ListRequest) -> BoxStream<'static, StorageResult<ListEntry>> {
        self.0.list(request)
    }
}

async fn yield_once() {
    let mut polled = false;
    std::future::poll_fn(|context| {
        if std::mem::replace(&mut polled, true) {
            return Poll::Ready(());
        }
        context.waker().wake_by_ref();
        Poll::Pending
    })
    .await;
}

/// Which tasks are ready, in the order in which they became so.
#[derive(Default)]
struct Ready(Mutex<Vec<usize>>);

struct TaskWaker {
    task: usize,
    ready: Arc<Ready>,
}

impl Wake for TaskWaker {
    fn wake(self: Arc<Self>) {
        let mut ready = self.ready.0.lock().expect("not poisoned");
        if !ready.contains(&self.task) {
            ready.push(self.task);
        }
    }
}

/// One order of polls, and the others that it leaves to be tried.
#[derive(Default)]
struct Order {
    /// At each step, which of the ready tasks is polled, and how many there are to choose from.
    choices: Vec<(usize, usize)>,
    step: usize,
    deviations_left: usize,
}

impl Order {
    fn choose(&mut self, ready: usize) -> usize {
        if self.step == self.choices.len() {
            let choices = ready.min(self.deviations_left + 1);
            self.choices.push((0, choices));
        }
        let (chosen, _) = self.choices[self.step];
        self.deviations_left -= chosen;
        self.step += 1;
        chosen
    }

    /// The next order; none if all were tried.
    fn next(mut self, deviations_max: usize) -> Option<Self> {
        while let Some((chosen, choices)) = self.choices.pop() {
            if chosen + 1 < choices {
                self.choices.push((chosen + 1, choices));
                return Some(Self { choices: self.choices, step: 0, deviations_left: deviations_max });
            }
        }
        None
    }
}

/// What happens to the callers besides.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Besides {
    Nothing,
    /// The data manager is closed.
    Close,
    /// The first caller goes away.
    Cancel,
    /// The committer's runtime ends.
    End,
    /// Somebody wants to see what other processes wrote.
    CatchUp,
}

fn transaction(caller: usize) -> Transaction {
    // Two of them fit in the queue.
    let value = Bytes::from(vec![b'0' + caller as u8; VALUE_BYTES]);
    let actions = vec![Action::Append { collection: "c".into(), value }];
    Transaction { actions, ..Transaction::default() }
}

/// Runs callers in one order; the error says what went wrong.
fn run(callers: usize, besides: Besides, order: &mut Order) -> std::result::Result<(), String> {
    let storage = Arc::new(Slow::default());
    let log = LogObjects { storage: storage.clone(), layout: Layout::new("").expect("a base path") };
    let source = Source {
        floor: FloorWatch::new(log.clone(), Arc::new(VirtualUptime::new())),
        files: DataFiles::new(storage.clone(), log.layout.clone(), 0),
        log: log.clone(),
        history_transactions_max: 100,
        recent_bytes_max: 1 << 20,
    };
    let store = Store::new(Base::empty([0; 32]), 100, 1 << 20);
    let (board, pins) = (Arc::<StatusBoard>::default(), Arc::<Pins>::default());
    let queue = Arc::new(Queue::new(ROOM_BYTES));
    let committer = Committer {
        source: source.clone(),
        genesis: [0; 32],
        store: Arc::clone(&store),
        queue: Arc::clone(&queue),
        board: Arc::clone(&board),
        pins: Arc::clone(&pins),
        maintenance: None,
        left_behind: false,
        ownership: Ownership::new(BatchId { writer: [0; 16], number: 0 }),
        coordinator: None,
        tip: store.tip(),
        id: BatchId { writer: [1; 16], number: 0 },
        room: Room::new(true, 0),
    };
    let stopped = CancellationToken::new();
    let current = Current { store: Arc::clone(&store), board, pins, published: watch::Sender::new(0) };
    let handle = Handle {
        store,
        queue: Arc::clone(&queue),
        source,
        genesis: [0; 32],
        current: Arc::new(current),
        checkpoints: mpsc::channel(1).0,
        data_file_size_max: 1 << 20,
        read_only: false,
        commit_timeout: Duration::from_secs(30),
        stopped: stopped.clone(),
        _coordinator: None,
    };
    let data = WalDataManager { handle: Arc::new(handle) };
    let stops = stopped.drop_guard();
    let (ends, ended) = AbortHandle::new_pair();
    let committer = async move {
        let _stops = stops;
        committer.run().await;
    };
    let committer = Abortable::new(committer, ended).map(drop).boxed_local();
    let answers: Arc<Mutex<Vec<Option<Result<Position>>>>> = Arc::new(Mutex::new(vec![None; callers]));
    let wrong = Arc::new(Mutex::new(None));
    let (cancel, cancelled) = AbortHandle::new_pair();
    let mut cancelled = Some(cancelled);
    let mut tasks: Vec<LocalBoxFuture<'_, ()>> = vec![committer];
    for caller in 0..callers {
        let (data, storage, answers, wrong) = (data.clone(), storage.clone(), answers.clone(), wrong.clone());
        let call = async move {
            let answer = data.commit(transaction(caller)).await;
            if let Ok(position) = &answer {
                let key = Layout::new("").expect("a base path").log(position.lsn);
                let is_stored = storage.0.exists(&key).now_or_never().expect("memory does not wait");
                if !is_stored.expect("memory does not fail") {
                    *wrong.lock().expect("not poisoned") = Some(format!("{position} is answered before it is stored"));
                }
            }
            answers.lock().expect("not poisoned")[caller] = Some(answer);
        };
        match cancelled.take().filter(|_| besides == Besides::Cancel) {
            Some(registration) => tasks.push(Abortable::new(call, registration).map(drop).boxed_local()),
            None => tasks.push(call.boxed_local()),
        }
    }
    // Closing keeps everybody's handle: the last one that is dropped would close as well.
    let closing = data.clone();
    let last = async move {
        match besides {
            Besides::Nothing => {}
            Besides::Close => closing.close().await,
            Besides::Cancel => cancel.abort(),
            Besides::End => ends.abort(),
            Besides::CatchUp => closing.catch_up().await.expect("an empty log can be read"),
        }
    };
    tasks.push(last.boxed_local());
    drop(data);
    poll_all(tasks, order)?;
    if let Some(wrong) = wrong.lock().expect("not poisoned").take() {
        return Err(wrong);
    }
    let answers = std::mem::take(&mut *answers.lock().expect("not poisoned"));
    check(&answers, besides, &log, &queue)
}

/// Polls tasks until all are done.
fn poll_all(tasks: Vec<LocalBoxFuture<'_, ()>>, order: &mut Order) -> std::result::Result<(), String> {
    let ready = Arc::new(Ready(Mutex::new((0..tasks.len()).collect())));
    let wakers: Vec<Waker> =
        (0..tasks.len()).map(|task| Arc::new(TaskWaker { task, ready: Arc::clone(&ready) }).into()).collect();
    let mut tasks: Vec<_> = tasks.into_iter().map(Some).collect();
    loop {
        let count = ready.0.lock().expect("not poisoned").len();
        if count == 0 {
            let waiting: Vec<_> = (0..tasks.len()).filter(|task| tasks[*task].is_some()).collect();
            return if waiting.is_empty() { Ok(()) } else { Err(format!("tasks {waiting:?} are never woken")) };
        }
        let task = ready.0.lock().expect("not poisoned").remove(order.choose(count));
        let Some(future) = &mut tasks[task] else { continue };
        if future.poll_unpin(&mut Context::from_waker(&wakers[task])).is_ready() {
            tasks[task] = None;
        }
    }
}

fn check(
    answers: &[Option<Result<Position>>],
    besides: Besides,
    log: &LogObjects,
    queue: &Queue,
) -> std::result::Result<(), String> {
    let mut stored = std::collections::BTreeMap::new();
    for lsn in 1.. {
        let read = log.read(lsn).now_or_never().expect("memory does not wait");
        let Some(found) = read.map_err(|error| format!("{error}"))? else { break };
        for logged in found.into_batch().transactions {
            let value = logged.committed.changes[0].value.clone().expect("an append");
            if stored.insert(usize::from(value[0] - b'0'), logged.committed.position).is_some() {
                return Err(format!("{value:?} is stored twice"));
            }
        }
    }
    for (caller, answer) in answers.iter().enumerate() {
        let place = stored.get(&caller);
        let is_right = match answer {
            Some(Ok(position)) => place == Some(position),
            Some(Err(Error::Closed)) => place.is_none() && matches!(besides, Besides::Close | Besides::End),
            Some(Err(Error::OutcomeUnknown { .. })) => besides == Besides::End,
            Some(Err(_)) => false,
            None => besides == Besides::Cancel && caller == 0,
        };
        if !is_right {
            return Err(format!("caller {caller} is answered {answer:?}, and is at {place:?}"));
        }
    }
    match queue.room_left() {
        ROOM_BYTES => Ok(()),
        left => Err(format!("{left} bytes of room are left of {ROOM_BYTES}")),
    }
}

/// Tries all orders with at most so many deviations. Returns how many there are, or what went wrong in one.
fn explore(callers: usize, besides: Besides, deviations_max: usize) -> std::result::Result<usize, String> {
    // Deadlines need a clock; it stands still.
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build();
    let runtime = runtime.expect("a runtime");
    let _context = runtime.enter();
    let mut order = Order { deviations_left: deviations_max, ..Order::default() };
    for count in 1.. {
        let outcome = run(callers, besides, &mut order);
        let choices: Vec<_> = order.choices.iter().map(|(chosen, _)| *chosen).collect();
        outcome.map_err(|wrong| format!("{callers} callers, {besides:?}, order {choices:?}: {wrong}"))?;
        match order.next(deviations_max) {
            Some(next) => order = next,
            None => return Ok(count),
        }
    }
    unreachable!("the loop has no end of its own")
}

const ALL: [Besides; 5] = [Besides::Nothing, Besides::Close, Besides::Cancel, Besides::End, Besides::CatchUp];

#[test]
fn every_order_of_polls_ends_well() {
    for besides in ALL {
        for (callers, deviations_max) in [(1, 100), (2, 8), (3, 5)] {
            let orders = explore(callers, besides, deviations_max).unwrap_or_else(|wrong| panic!("{wrong}"));
            println!("{callers} callers, {besides:?}: {orders} orders");
            assert!(orders > 10);
        }
    }
}

#[test]
fn what_is_broken_in_the_hand_over_is_found() {
    for broken in [Broken::AcknowledgedBeforePut, Broken::WakeupLost, Broken::RoomKept, Broken::AbandonedUnanswered] {
        let _broken = broken.on_this_thread();
        let found = ALL.iter().find_map(|besides| explore(3, *besides, 4).err());
        println!("{broken:?}: {}", found.unwrap_or_else(|| panic!("{broken:?} is not found")));
    }
}
