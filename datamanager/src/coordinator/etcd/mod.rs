//! How do processes on several machines share a store, with etcd between them?
//!
//! One [task] keeps one connection with one member: over it a lease is kept alive, and everything below the prefix is
//! watched. While it stands, a [session] compares what callers [want](wants) with what etcd has told ([mirror]), and does
//! what [decide] says; [connection] is the only file that knows etcd's client. When it fails, in whatever way, it is made
//! anew, to the next member: nothing resumes half.
//!
//! Elections are those of etcd's own recipe: a key with a lease for each candidate, and the one that was created first
//! leads. Who waits reacts to the deletion of the key before its own, and asks etcd nothing; so however many wait, one
//! end of a leader is one request, of the next one. All changes below the prefix come with the one watch, because with it
//! there is one thing that can be behind, and it decides nothing alone: a candidate that is seen to be the first is the
//! first until its key is gone, and until when that is certain, the lease says, on the clock of this process.

mod backoff;
mod connection;
mod decide;
mod failure;
mod keys;
mod lease;
mod mirror;
mod session;
mod settings;
mod task;
mod url;
mod wants;

use std::sync::Arc;

use async_trait::async_trait;
use rand::{SeedableRng, rngs::StdRng, rngs::SysRng};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use self::{failure::Failure, session::Memory, task::Task, wants::Wants};
use super::{Announced, Candidacy, Coordinator, CoordinatorStatus, check_role, news::News, turns::Turns};
use crate::{Error, Result};

pub use settings::{EtcdSettings, EtcdTls, EtcdUser};
pub use url::InvalidEtcdUrl;

/// The coordinator of a store that several processes share, through an etcd of version 3.4 or later.
///
/// [`connect`](Self::connect) spawns one task, which ends by [`close`](Self::close), or after this was dropped; either
/// gives everything up that was led. Whatever happens to etcd meanwhile, the task reconnects by itself after growing
/// delays of 5 s at most, says so in the log and as [`CoordinatorStatus`], and campaigns go on. A process that is cut off
/// leads on until its lease has run out.
///
/// The name of a role is part of a key: who reads etcd reads it.
///
/// ```no_run
/// use std::sync::Arc;
///
/// use runyard_datamanager::{
///     Error,
///     coordinator::{Coordinator, EtcdCoordinator, EtcdSettings},
/// };
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let settings: EtcdSettings = "etcds://10.0.0.1:2379,10.0.0.2:2379/ci/rundata?ca=/etc/ci/ca.pem".parse()?;
/// let coordinator = Arc::new(EtcdCoordinator::connect(settings).await?);
///
/// // Who leads.
/// let candidacy = coordinator.campaign("scheduler").await?;
/// tokio::select! {
///     reason = candidacy.lost() => eprintln!("no longer the scheduler: {reason}"),
///     () = schedule() => {}
/// }
/// drop(candidacy);
///
/// // When there is news.
/// let mut announced = coordinator.announced();
/// while announced.changed().await.is_ok() {
///     look_into_the_log().await;
/// }
/// # Ok(())
/// # }
/// # async fn schedule() {}
/// # async fn look_into_the_log() {}
/// ```
#[derive(Debug)]
pub struct EtcdCoordinator {
    shared: Arc<Shared>,
    turns: Turns,
    stop: CancellationToken,
    stopped: CancellationToken,
}

/// What the callers and the task have in common.
#[derive(Debug)]
struct Shared {
    settings: EtcdSettings,
    wants: Arc<Wants>,
    news: News,
    status: watch::Sender<CoordinatorStatus>,
}

/// Says that nobody fulfils anything any more, however the task ended.
struct Ends(Arc<Shared>, #[expect(dead_code, reason = "it acts when it is dropped")] tokio_util::sync::DropGuard);

impl Drop for Ends {
    fn drop(&mut self) {
        self.0.wants.close();
        self.0.status.send_replace(CoordinatorStatus::Closed);
    }
}

impl Drop for EtcdCoordinator {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

impl EtcdCoordinator {
    /// Connects with the first member that can be used. Must be called in a Tokio runtime; the task runs in it.
    ///
    /// # Errors
    /// [`Error::Coordinator`] names each endpoint, what is wrong with it and what to do: it cannot be reached, or does
    /// not answer within the timeouts; the user, the password or the permissions are wrong; a file of TLS or a
    /// certificate is. Each member is tried once.
    pub async fn connect(settings: EtcdSettings) -> Result<Self> {
        let unusable = |reason| Error::Coordinator { message: format!("etcd cannot be used: {reason}"), source: None };
        settings.check().map_err(unusable)?;
        let random = StdRng::try_from_rng(&mut SysRng).map_err(|error| unusable(error.to_string()))?;
        let to = settings.endpoints.join(",");
        let status = watch::Sender::new(CoordinatorStatus::Connected { to });
        let shared = Arc::new(Shared { settings, wants: Arc::default(), news: News::default(), status });
        let (stop, stopped) = (CancellationToken::new(), CancellationToken::new());
        let memory = Memory::new();
        let mut task = Task { shared: Arc::clone(&shared), stop: stop.clone(), random, memory, member: 0 };
        let mut failures: Vec<(String, Failure)> = Vec::new();
        for member in 0..shared.settings.endpoints.len() {
            task.member = member;
            match Box::pin(task.connect_first()).await {
                Ok(session) => {
                    for (endpoint, failure) in failures {
                        tracing::warn!(endpoint, "this member of etcd cannot be used: {failure}");
                    }
                    let ends = Ends(Arc::clone(&shared), stopped.clone().drop_guard());
                    let run = Box::pin(task.run(session));
                    tokio::spawn(async move {
                        let _ends = ends;
                        run.await;
                    });
                    return Ok(Self { shared, turns: Turns::default(), stop, stopped });
                }
                Err(failure) => failures.push((task.endpoint().to_owned(), failure)),
            }
        }
        Err(unusable(reasons(&failures)))
    }

    /// Gives up everything that is led or campaigned for, and ends. It waits for etcd to hear of it for a second at most.
    pub async fn close(&self) {
        self.stop.cancel();
        self.stopped.cancelled().await;
    }
}

/// Each member with what is wrong with it, and once what to do about it.
fn reasons(failures: &[(String, Failure)]) -> String {
    let members: Vec<_> = failures.iter().map(|(endpoint, failure)| format!("`{endpoint}`: {failure}")).collect();
    let mut advice: Vec<_> = failures.iter().map(|(_, failure)| failure.advice()).collect();
    advice.dedup();
    format!("{}; {}", members.join("; "), advice.join("; "))
}

#[async_trait]
impl Coordinator for EtcdCoordinator {
    async fn campaign(&self, role: &str) -> Result<Candidacy> {
        let closed = || Error::Coordinator { message: "the coordinator was closed".to_owned(), source: None };
        check_role(role)?;
        let turn = self.stop.run_until_cancelled(self.turns.take(role)).await.ok_or_else(closed)?;
        let (guard, elected) = self.shared.wants.enter(role).ok_or_else(closed)?;
        let candidacy = elected.await.map_err(|_| closed())?;
        // In this order: the next one in this process begins when the role was taken back.
        Ok(candidacy.with_guard((guard, turn)))
    }

    fn announce(&self, lsn: u64) {
        self.shared.news.announce(lsn);
    }

    fn announced(&self) -> watch::Receiver<Announced> {
        self.shared.news.listen()
    }

    fn status(&self) -> watch::Receiver<CoordinatorStatus> {
        self.shared.status.subscribe()
    }
}
