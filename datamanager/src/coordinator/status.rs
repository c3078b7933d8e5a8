//! Do hints arrive?

use std::time::Duration;

use tokio::time::Instant;

/// Whether a coordinator hears of the others, and why not.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum CoordinatorStatus {
    /// It does.
    Connected {
        /// With what it is connected, in words: a server, or nothing but the process itself.
        to: String,
    },
    /// It does not, and tries again by itself.
    Disconnected {
        /// Since when.
        since: Instant,
        /// How often it has tried since then.
        attempts: u32,
        /// What went wrong last.
        reason: String,
    },
    /// It was closed.
    Closed,
}

impl CoordinatorStatus {
    /// Whether hints arrive.
    pub fn is_connected(&self) -> bool {
        matches!(self, Self::Connected { .. })
    }

    /// For how long hints have not arrived.
    pub fn disconnected_for(&self) -> Option<Duration> {
        match self {
            Self::Disconnected { since, .. } => Some(since.elapsed()),
            Self::Connected { .. } | Self::Closed => None,
        }
    }
}
