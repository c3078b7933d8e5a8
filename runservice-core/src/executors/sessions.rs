//! Which executors are connected to this process, and how are they told something?

use std::{
    collections::{BTreeMap, HashMap},
    sync::{
        Arc, Mutex, MutexGuard,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use futures::{StreamExt, stream, stream::BoxStream};
use runyard_executor_core::contract::{ClientError, Command, ExecutorId};
use tokio::{
    sync::{mpsc, watch},
    time::Instant,
};

/// So many commands may wait for an executor; one that falls behind further is disconnected and told everything anew
/// when it registers again.
const COMMANDS_MAX: usize = 1024;

/// The executors that are connected to this process.
#[derive(Debug, Default)]
pub(crate) struct Sessions(Arc<Inner>);

#[derive(Debug, Default)]
struct Inner {
    state: Mutex<State>,
    changed: watch::Sender<()>,
}

#[derive(Debug, Default)]
struct State {
    by_executor: HashMap<ExecutorId, Session>,
    /// How many registrations of an executor are under way.
    registering: HashMap<ExecutorId, usize>,
}

#[derive(Debug)]
struct Session {
    epoch: u64,
    commands: mpsc::Sender<Command>,
    /// Set before the sender is dropped because of a newer registration.
    replaced: Arc<AtomicBool>,
    heard: Instant,
    /// Whether it was found to be silent, and nothing was heard since.
    silent: bool,
}

/// How an executor stands with this process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Standing {
    /// It registers: what its row says is about to be true.
    Registering,
    /// It is connected, by the registration of this epoch, and was heard lately.
    Connected(u64),
    /// It is connected, and nothing was heard for so long that it may be gone.
    Silent(u64),
}

/// Who is connected to this process, and who is about to be.
#[derive(Debug)]
pub(crate) struct Standings {
    pub(crate) by_executor: BTreeMap<ExecutorId, Standing>,
    /// When the next one becomes silent if nothing is heard of it.
    pub(crate) next_silence: Option<Instant>,
}

/// That an executor registers, until this is dropped.
#[derive(Debug)]
pub(crate) struct Registering {
    inner: Arc<Inner>,
    id: ExecutorId,
}

/// The end of a connection that is with the executor; dropped with its stream.
struct Connection {
    inner: Arc<Inner>,
    id: ExecutorId,
    /// Tells it from another connection of the same registration, too.
    replaced: Arc<AtomicBool>,
}

impl Sessions {
    /// Says that an executor registers. To be held until it is connected.
    pub(crate) fn registering(&self, id: &ExecutorId) -> Registering {
        *self.0.lock().registering.entry(id.clone()).or_default() += 1;
        Registering { inner: Arc::clone(&self.0), id: id.clone() }
    }

    /// Connects an executor, in place of its older connection. The stream ends without an error when it is replaced
    /// itself, and with one when it fell behind.
    pub(crate) fn connect(&self, id: &ExecutorId, epoch: u64) -> BoxStream<'static, Result<Command, ClientError>> {
        let (commands, received) = mpsc::channel(COMMANDS_MAX);
        let replaced = Arc::new(AtomicBool::new(false));
        let session =
            Session { epoch, commands, replaced: Arc::clone(&replaced), heard: Instant::now(), silent: false };
        let mut state = self.0.lock();
        if state.by_executor.get(id).is_some_and(|current| current.epoch > epoch) {
            replaced.store(true, Ordering::Release);
            drop(session);
        } else if let Some(old) = state.by_executor.insert(id.clone(), session)
            && old.epoch < epoch
        {
            // A connection that was only taken up again just ends.
            old.replaced.store(true, Ordering::Release);
        }
        drop(state);
        self.0.changed.send_replace(());
        let connection = Connection { inner: Arc::clone(&self.0), id: id.clone(), replaced: Arc::clone(&replaced) };
        let commands = stream::unfold((received, connection), |(mut received, connection)| async move {
            received.recv().await.map(|command| (Ok(command), (received, connection)))
        });
        let end = stream::once(async move { replaced.load(Ordering::Acquire) }).filter_map(|replaced| async move {
            (!replaced).then(|| {
                Err(ClientError::Unavailable {
                    doing: "reading commands",
                    source: "the connection was given up by the run service".into(),
                })
            })
        });
        commands.chain(end).boxed()
    }

    /// Ends the connection of an executor, which may try to come back.
    pub(crate) fn disconnect(&self, id: &ExecutorId) {
        self.0.lock().by_executor.remove(id);
        self.0.changed.send_replace(());
    }

    /// Ends a connection that is older than a registration elsewhere.
    pub(crate) fn replaced(&self, id: &ExecutorId, epoch: u64) {
        let mut state = self.0.lock();
        if state.by_executor.get(id).is_some_and(|session| session.epoch < epoch)
            && let Some(old) = state.by_executor.remove(id)
        {
            old.replaced.store(true, Ordering::Release);
        }
    }

    /// Hears of every connection that begins or ends after the call.
    pub(crate) fn changes(&self) -> watch::Receiver<()> {
        self.0.changed.subscribe()
    }

    /// How everybody stands who is connected here; who was not heard for `silent_after` is silent.
    pub(crate) fn standings(&self, silent_after: Duration) -> Standings {
        let mut state = self.0.lock();
        let State { by_executor, registering } = &mut *state;
        let now = Instant::now();
        let (mut standings, mut next_silence) = (BTreeMap::new(), None::<Instant>);
        for (id, session) in by_executor.iter_mut().filter(|(_, session)| !session.commands.is_closed()) {
            let silence = session.heard + silent_after;
            session.silent = silence <= now;
            if !session.silent {
                next_silence = Some(next_silence.map_or(silence, |next| next.min(silence)));
            }
            let standing = if session.silent { Standing::Silent } else { Standing::Connected };
            standings.insert(id.clone(), standing(session.epoch));
        }
        // The later ones win.
        standings.extend(registering.keys().map(|id| (id.clone(), Standing::Registering)));
        Standings { by_executor: standings, next_silence }
    }

    /// Tells an executor something, if it is connected here.
    pub(crate) fn tell(&self, id: &ExecutorId, command: Command) {
        let mut state = self.0.lock();
        let Some(session) = state.by_executor.get(id) else { return };
        if session.commands.try_send(command).is_err() {
            tracing::warn!(executor = %id, "executor does not read its commands: disconnected");
            state.by_executor.remove(id);
            drop(state);
            self.0.changed.send_replace(());
        }
    }

    /// Tells an executor something that concerns only one of its registrations.
    pub(crate) fn tell_registered(&self, id: &ExecutorId, epoch: u64, command: Command) {
        if self.0.lock().by_executor.get(id).is_some_and(|session| session.epoch == epoch) {
            self.tell(id, command);
        }
    }

    /// Notes that an executor was heard. False if that connection is not the current one.
    pub(crate) fn heard(&self, id: &ExecutorId, epoch: u64) -> bool {
        let mut state = self.0.lock();
        let Some(session) = state.by_executor.get_mut(id).filter(|session| session.epoch == epoch) else {
            return false;
        };
        session.heard = Instant::now();
        let was_silent = std::mem::take(&mut session.silent);
        drop(state);
        if was_silent {
            self.0.changed.send_replace(());
        }
        true
    }

    /// Whether an executor is connected here.
    pub(crate) fn is_connected(&self, id: &ExecutorId) -> bool {
        self.0.lock().by_executor.get(id).is_some_and(|session| !session.commands.is_closed())
    }
}

impl Inner {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("the lock is never poisoned: no panic while held")
    }
}

impl Drop for Registering {
    fn drop(&mut self) {
        let mut state = self.inner.lock();
        if let Some(count) = state.registering.get_mut(&self.id) {
            *count -= 1;
            if *count == 0 {
                state.registering.remove(&self.id);
            }
        }
        drop(state);
        self.inner.changed.send_replace(());
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        let mut state = self.inner.lock();
        if state.by_executor.get(&self.id).is_some_and(|session| Arc::ptr_eq(&session.replaced, &self.replaced)) {
            state.by_executor.remove(&self.id);
        }
        drop(state);
        self.inner.changed.send_replace(());
    }
}
