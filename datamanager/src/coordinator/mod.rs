//! Who should try to lead, and when is there news?
//!
//! Hints only: correctness never rests on them. The log decides who wrote first and who leads, so a coordinator that
//! is wrong, late or gone costs time and nothing else.

mod embedded;
mod lock_file;

use std::fmt;

use async_trait::async_trait;
use tokio::sync::watch;

use crate::Result;

pub use embedded::EmbeddedCoordinator;
pub use lock_file::{LockError, LockFile};

/// Gives hints to the processes that share a store.
#[async_trait]
pub trait Coordinator: Send + Sync + fmt::Debug + 'static {
    /// Waits until this process should try to lead `role`. Others may think the same of themselves: only a commit
    /// decides.
    async fn should_lead(&self, role: &str) -> Result<()>;

    /// Says that the log has grown to this number, to whom it may concern.
    fn announce(&self, lsn: u64);

    /// The largest number that was announced, by any process that the coordinator hears of.
    fn announced(&self) -> watch::Receiver<u64>;
}
