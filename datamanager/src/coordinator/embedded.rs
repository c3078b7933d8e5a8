//! How does one process keep a second one away by mistake?

use std::path::Path;

use async_trait::async_trait;
use tokio::sync::watch;

use super::{
    Announced, Belief, Candidacy, Coordinator, CoordinatorStatus, LockError, LockFile, check_role,
    turns::{Turn, Turns},
};
use crate::{Error, Result};

/// The coordinator of a store that one process at a time has open: that process leads everything.
///
/// A data manager that is opened with it takes its store over from any process that has it open, wherever that runs: that
/// one commits nothing more, and its operator reads who took it over.
///
/// A campaign waits for nobody but others of this process, and a candidacy is never lost. Every receiver hears of every
/// announcement that is news.
///
/// It can hold a [`LockFile`], for as long as it lives. Like every hint it is a convenience: two processes on
/// two machines see different locks, and the log keeps them apart.
#[derive(Debug)]
pub struct EmbeddedCoordinator {
    _lock: Option<LockFile>,
    turns: Turns,
    holder: String,
    announced: watch::Sender<Announced>,
    status: watch::Sender<CoordinatorStatus>,
}

/// What a candidacy holds: that it is its turn, and that nobody says anything else.
struct Held {
    _turn: Turn,
    _belief: Belief,
}

impl EmbeddedCoordinator {
    /// A coordinator that holds no lock.
    pub fn new() -> Self {
        Self::with_lock(None)
    }

    fn with_lock(lock: Option<LockFile>) -> Self {
        let status = CoordinatorStatus::Connected { to: "this process alone".to_owned() };
        Self {
            _lock: lock,
            turns: Turns::default(),
            holder: this_process(),
            announced: watch::Sender::default(),
            status: watch::Sender::new(status),
        }
    }

    /// Says who this process is, to those from whom it takes a store over; the default is its id and the name of its
    /// machine.
    #[must_use]
    pub fn holder(mut self, holder: impl Into<String>) -> Self {
        self.holder = holder.into();
        self
    }

    /// A coordinator that holds the lock file at `path`, which is made if need be; its directory must exist.
    ///
    /// # Errors
    /// [`Error::TakenOver`] if another process holds it, with that process's id; or if the file cannot be used.
    pub fn lock(path: impl AsRef<Path>) -> Result<Self> {
        let path = path.as_ref();
        let lock = LockFile::acquire(path).map_err(|error| not_locked(&error, path))?;
        Ok(Self::with_lock(Some(lock)))
    }
}

fn not_locked(error: &LockError, path: &Path) -> Error {
    let path = path.display();
    let message = match error {
        LockError::Held { holder } => {
            let holder = holder.map_or("another process".to_owned(), |pid| format!("process {pid}"));
            format!(
                "the store is held by {holder} (lock file `{path}`): stop that process, or give this one a store of its own"
            )
        }
        LockError::Unusable { doing, source } => format!(
            "the lock file `{path}` cannot be {doing}: {source}; give this process the right to write it, or choose \
             another path"
        ),
    };
    Error::TakenOver { message }
}

impl Default for EmbeddedCoordinator {
    fn default() -> Self {
        Self::new()
    }
}

#[async_trait]
impl Coordinator for EmbeddedCoordinator {
    async fn campaign(&self, role: &str) -> Result<Candidacy> {
        check_role(role)?;
        let turn = self.turns.take(role).await;
        let (candidacy, belief) = Candidacy::new(role);
        Ok(candidacy.with_guard(Held { _turn: turn, _belief: belief }))
    }

    fn announce(&self, lsn: u64) {
        self.announced.send_if_modified(|announced| {
            let newer = lsn > announced.lsn;
            announced.lsn = lsn.max(announced.lsn);
            newer
        });
    }

    fn announced(&self) -> watch::Receiver<Announced> {
        self.announced.subscribe()
    }

    fn status(&self) -> watch::Receiver<CoordinatorStatus> {
        self.status.subscribe()
    }

    fn sole_holder(&self) -> Option<String> {
        Some(self.holder.clone())
    }
}

fn this_process() -> String {
    let (system, process) = (rustix::system::uname(), std::process::id());
    format!("process {process} on {}", system.nodename().to_string_lossy())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_second_holder_is_told_who_holds_the_lock_and_what_to_do() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("lock");
        let first = EmbeddedCoordinator::lock(&path).unwrap();
        let error = EmbeddedCoordinator::lock(&path).expect_err("held");
        assert!(matches!(error, Error::TakenOver { .. }));
        let message = error.to_string();
        for part in [&std::process::id().to_string(), path.to_str().unwrap(), "stop that process"] {
            assert!(message.contains(part), "{message}");
        }
        drop(first);
        EmbeddedCoordinator::lock(&path).unwrap();
    }

    #[test]
    fn a_file_that_was_left_behind_is_no_obstacle() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("lock");
        std::fs::write(&path, "999999999 and more than the next holder writes").unwrap();
        let _held = EmbeddedCoordinator::lock(&path).unwrap();
        assert_eq!(std::fs::read_to_string(&path).unwrap(), format!("{}\n", std::process::id()));
    }

    #[test]
    fn announcements_only_grow() {
        let coordinator = EmbeddedCoordinator::new();
        let announced = coordinator.announced();
        coordinator.announce(5);
        coordinator.announce(3);
        assert_eq!(announced.borrow().lsn, 5);
    }
}
