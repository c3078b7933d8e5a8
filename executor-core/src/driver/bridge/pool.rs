//! Which bridge serves the next request: one that is idle, or a new one?

use std::{
    fmt, io,
    sync::{Arc, Mutex, MutexGuard},
    time::Duration,
};

use async_trait::async_trait;
use runyard_toolbox::bridge::protocol::{BRIDGE_VERSION, FromBridge, Hello, Reply, Request};

use super::connection::{Connection, Streams};
use crate::driver::{DriverError, Result};

/// What is no work for a pod takes no longer than this.
pub(super) const ANSWERS_WITHIN: Duration = Duration::from_secs(60);

/// Starts bridges in one pod: the program `runyard-toolbox bridge STEPS_DIR POD`, as whoever may become the users of steps.
///
/// `STEPS_DIR` is a directory in the pod that stays as long as the pod does, and that nothing else uses; it is made if need
/// be. `POD` is the id of the pod.
#[async_trait]
pub trait Dial: Send + Sync + fmt::Debug + 'static {
    /// Starts one more. The ones before it go on.
    ///
    /// # Errors
    /// [`DriverError::Gone`] if nothing can be started in the pod any more; [`DriverError::Failed`] is tried again, for half
    /// a minute where a step is read.
    async fn dial(&self) -> Result<Streams>;
}

/// The bridges into one pod.
#[derive(Clone, Debug)]
pub(super) struct Bridges {
    dial: Arc<dyn Dial>,
    idle: Arc<Mutex<Option<Connection>>>,
}

impl Bridges {
    pub(super) fn new(dial: Arc<dyn Dial>) -> Self {
        Self { dial, idle: Arc::default() }
    }

    /// A bridge that nobody has used.
    pub(super) async fn open(&self) -> Result<Connection> {
        match self.dial_and_greet().await {
            // The pod may have ended just then; if it has, the next attempt says so.
            Err(DriverError::Failed { .. }) => self.dial_and_greet().await,
            connected => connected,
        }
    }

    async fn dial_and_greet(&self) -> Result<Connection> {
        let mut connection = Connection::new(self.dial.dial().await?);
        greet(&mut connection).await?;
        Ok(connection)
    }

    /// An idle bridge, which may have ended meanwhile.
    pub(super) fn take_idle(&self) -> Option<Connection> {
        self.idle().take()
    }

    /// Keeps a bridge whose last request has come to its end, if there is none: one is enough for what comes one after the
    /// other, and each is a process in the pod.
    pub(super) fn put_back(&self, connection: Connection) {
        self.idle().get_or_insert(connection);
    }

    /// Asks for something that has nothing but a reply, which comes within `patience` or is an error.
    pub(super) async fn call(&self, doing: &str, request: &Request, patience: Duration) -> Result<Reply> {
        let mut was_asked = false;
        if let Some(mut connection) = self.take_idle() {
            match within(patience, connection.call(request)).await {
                Ok(reply) => {
                    self.put_back(connection);
                    return accept(doing, reply, false);
                }
                Err(error) => {
                    tracing::debug!(%error, doing, "an idle bridge has ended; asking another one");
                    was_asked = true;
                }
            }
        }
        let mut connection = self.open().await?;
        let reply = within(patience, connection.call(request)).await.map_err(DriverError::io(doing))?;
        self.put_back(connection);
        accept(doing, reply, was_asked)
    }

    fn idle(&self) -> MutexGuard<'_, Option<Connection>> {
        self.idle.lock().expect("the lock is never poisoned: no panic while held")
    }
}

/// A pod that does not answer must not keep whoever waits for it for ever: it may be frozen.
pub(super) async fn within<T>(patience: Duration, answer: impl Future<Output = io::Result<T>>) -> io::Result<T> {
    let answered = tokio::time::timeout(patience, answer).await;
    answered.unwrap_or_else(|_| Err(io::Error::other(format!("the pod did not answer within {patience:?}"))))
}

async fn greet(connection: &mut Connection) -> Result<()> {
    let starting = || DriverError::io("starting the toolbox in the pod");
    match within(ANSWERS_WITHIN, connection.receiver.next()).await.map_err(starting())? {
        FromBridge::Hello(Hello { version: BRIDGE_VERSION }) => Ok(()),
        FromBridge::Hello(Hello { version }) => Err(DriverError::Refused {
            message: format!(
                "the pod has version {version} of the toolbox, and this executor speaks version {BRIDGE_VERSION}: the \
                 executor was replaced by another version while the task ran; run the task again"
            ),
        }),
        other => Err(starting()(io::Error::other(format!("it says {other:?}")))),
    }
}

/// A bridge that ended may have done what it was asked to: then a second one finds it done.
fn accept(doing: &str, reply: Reply, was_asked: bool) -> Result<Reply> {
    match reply {
        Reply::Refused { message } => Err(DriverError::Refused { message }),
        Reply::Failed { message } => Err(DriverError::failed(doing, message)),
        Reply::AlreadyStarted if was_asked => Ok(Reply::Done),
        reply => Ok(reply),
    }
}
