//! Which executors are connected to this process, and how are they told something?

use std::{
    collections::HashMap,
    sync::{
        Arc, Mutex, MutexGuard,
        atomic::{AtomicBool, Ordering},
    },
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
pub(crate) struct Sessions {
    by_executor: Mutex<HashMap<ExecutorId, Session>>,
    connected: watch::Sender<()>,
}

#[derive(Debug)]
struct Session {
    epoch: u64,
    commands: mpsc::Sender<Command>,
    /// Set before the sender is dropped because of a newer registration.
    replaced: Arc<AtomicBool>,
    heard: Instant,
}

impl Sessions {
    /// Connects an executor, in place of its older connection. The stream ends without an error when it is replaced
    /// itself, and with one when it fell behind.
    pub(crate) fn connect(&self, id: &ExecutorId, epoch: u64) -> BoxStream<'static, Result<Command, ClientError>> {
        let (commands, received) = mpsc::channel(COMMANDS_MAX);
        let replaced = Arc::new(AtomicBool::new(false));
        let session = Session { epoch, commands, replaced: Arc::clone(&replaced), heard: Instant::now() };
        let mut sessions = self.lock();
        if sessions.get(id).is_some_and(|current| current.epoch > epoch) {
            replaced.store(true, Ordering::Release);
            drop(session);
        } else if let Some(old) = sessions.insert(id.clone(), session) {
            old.replaced.store(true, Ordering::Release);
        }
        drop(sessions);
        self.connected.send_replace(());
        let commands = stream::unfold(received, |mut received| async move {
            received.recv().await.map(|command| (Ok(command), received))
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

    /// Hears of every connection after the call.
    pub(crate) fn connections(&self) -> watch::Receiver<()> {
        self.connected.subscribe()
    }

    /// Tells an executor something, if it is connected here.
    pub(crate) fn tell(&self, id: &ExecutorId, command: Command) {
        let mut sessions = self.lock();
        let Some(session) = sessions.get(id) else { return };
        if session.commands.try_send(command).is_err() {
            tracing::warn!(executor = %id, "executor does not read its commands: disconnected");
            sessions.remove(id);
        }
    }

    /// Notes that an executor was heard. False if that connection is not the current one.
    pub(crate) fn heard(&self, id: &ExecutorId, epoch: u64) -> bool {
        match self.lock().get_mut(id) {
            Some(session) if session.epoch == epoch => {
                session.heard = Instant::now();
                true
            }
            _ => false,
        }
    }

    /// Whether an executor is connected here.
    pub(crate) fn is_connected(&self, id: &ExecutorId) -> bool {
        self.lock().get(id).is_some_and(|session| !session.commands.is_closed())
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<ExecutorId, Session>> {
        self.by_executor.lock().expect("the lock is never poisoned: no panic while held")
    }
}
