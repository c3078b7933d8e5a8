//! Who should try to lead, and when is there news?
//!
//! Hints only: correctness never rests on them. The log decides who wrote first and who leads
//! ([`Leadership`](crate::Leadership)), so a coordinator that is wrong, late or gone costs time and nothing else.
//!
//! | coordinator | for |
//! |---|---|
//! | [`EmbeddedCoordinator`] | a store that one process has open |
//! | `EtcdCoordinator` (feature `etcd`) | a store that several processes share |
//! | `ModelCoordinator` (feature `test-util`) | tests of what becomes of a process when its etcd fails |
//!
//! # What a host must do
//!
//! *To lead a role*, it waits for [`campaign`](Coordinator::campaign), then takes the role over in the log with
//! [`Leadership::acquire`](crate::Leadership::acquire), and works until [`Candidacy::lost`] completes or a commit says
//! [`Error::TakenOver`]. Then it drops the candidacy and campaigns again. Whatever it does
//! while it leads, it commits through its `Leadership`: two processes may believe in themselves at once, and only the
//! log tells them apart.
//!
//! *To hear of news*, it looks into the log when a larger number was [`announced`](Coordinator::announced) than is visible
//! to it, when there was another gap, and after it was opened. A data manager that was
//! [given](crate::WalBuilder::coordinator) a coordinator does that by itself.
//!
//! *Each store has a coordinator of its own*, since roles and numbers are those of one log. Several stores on one etcd
//! have a prefix each.
//!
//! ```
//! use runyard_datamanager::{
//!     Error, Leadership, MemoryDataManager,
//!     coordinator::{Coordinator, EmbeddedCoordinator},
//! };
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Error> {
//! # let data = MemoryDataManager::new();
//! let coordinator = EmbeddedCoordinator::new();
//! let candidacy = coordinator.campaign("cleaner").await?;
//! let leadership = Leadership::acquire(&data, candidacy.role(), "host a").await?;
//! tokio::select! {
//!     reason = candidacy.lost() => println!("{reason}: somebody else may be the cleaner now"),
//!     () = clean(&leadership) => {}
//! }
//! # Ok(())
//! # }
//! # async fn clean(_: &Leadership) {}
//! ```

mod candidacy;
mod embedded;
#[cfg(feature = "etcd")]
mod etcd;
mod lock_file;
#[cfg(feature = "test-util")]
mod model;
#[cfg(any(feature = "etcd", feature = "test-util"))]
mod news;
mod status;
mod turns;

use std::fmt;

use async_trait::async_trait;
use tokio::sync::watch;

use crate::{Error, Result};

pub use candidacy::{Belief, Candidacy, LostReason};
pub use embedded::EmbeddedCoordinator;
#[cfg(feature = "etcd")]
pub use etcd::{EtcdCoordinator, EtcdSettings, EtcdTls, EtcdUser, InvalidEtcdUrl};
pub use lock_file::{LockError, LockFile};
#[cfg(feature = "test-util")]
pub use model::{ModelCoordinator, ModelEtcd, ModelSnapshot};
pub use status::CoordinatorStatus;

/// How many bytes the name of a role has at most.
pub const ROLE_BYTES_MAX: usize = 1024;

/// How far a log has grown, as far as a coordinator has heard.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Announced {
    /// The largest number that was announced. It never falls.
    pub lsn: u64,
    /// How often something may have got lost: a connection was broken, or a process that announces ended. After each the
    /// log is to be looked at, whatever the number is.
    pub gaps: u64,
}

/// Gives hints to the processes that share a store; the [module](self) says what a host does with them.
///
/// `conformance::run_coordinator` (feature `conformance`) tries an implementation.
#[async_trait]
pub trait Coordinator: Send + Sync + fmt::Debug + 'static {
    /// Waits until this process should try to lead `role`, of which there may be any number, with any names.
    ///
    /// Of those that campaign for a role, one at a time gets through, first come first served. Others may think the
    /// same of themselves all the same, when the coordinator was cut off or lost its memory: only a commit decides.
    /// While the coordinator cannot be reached, this waits.
    ///
    /// # Errors
    /// [`Error::Coordinator`] if the name has more than [`ROLE_BYTES_MAX`] bytes, or the coordinator was closed.
    ///
    /// # Cancel safety
    /// Dropping the future withdraws.
    async fn campaign(&self, role: &str) -> Result<Candidacy>;

    /// Says that the log has grown to this number, to whom it may concern.
    ///
    /// Returns at once, whatever the coordinator does: of numbers that come quickly, only the newest is passed on. It
    /// may get lost.
    fn announce(&self, lsn: u64);

    /// What was announced, by any process that the coordinator hears of. A process need not be notified of what it
    /// announced itself.
    fn announced(&self) -> watch::Receiver<Announced>;

    /// Whether hints arrive, for logs and operators.
    fn status(&self) -> watch::Receiver<CoordinatorStatus>;

    /// Who this process is, in words, if it is to have the store to itself; none if others may have it open as well.
    ///
    /// A store that is opened with such a coordinator is taken over, in the log, from every process that has it open:
    /// they commit nothing more, and say who took it over.
    fn sole_holder(&self) -> Option<String> {
        None
    }
}

/// Every coordinator refuses the same names.
fn check_role(role: &str) -> Result<()> {
    if role.len() <= ROLE_BYTES_MAX {
        return Ok(());
    }
    let length = role.len();
    let message = format!("the name of a role has at most {ROLE_BYTES_MAX} bytes, and this one has {length}");
    Err(Error::Coordinator { message, source: None })
}
