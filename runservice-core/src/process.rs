//! Which of the processes that share a store is this one, and do the others know that it lives?

use std::fmt;

use serde::{Deserialize, Serialize};
use tokio::sync::watch;

/// Names one life of one process: a restart has another one.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub(crate) struct ProcessId(String);

impl ProcessId {
    /// What a source of ids made.
    pub(crate) fn new(id: impl Into<String>) -> Self {
        Self(id.into())
    }
}

impl fmt::Display for ProcessId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// This process.
#[derive(Debug)]
pub(crate) struct Process {
    pub(crate) id: ProcessId,
    /// What people call it.
    pub(crate) name: String,
    /// Whether others would notice its end, so that executors may be given tasks through it.
    vouched: watch::Sender<bool>,
}

impl Process {
    /// A process that is alone needs nobody to notice its end: its next start sees to what it left.
    pub(crate) fn new(id: ProcessId, name: Option<String>, alone: bool) -> Self {
        let name = name.unwrap_or_else(|| format!("process {id}"));
        Self { id, name, vouched: watch::Sender::new(alone) }
    }

    /// Whether others would notice its end now.
    pub(crate) fn is_vouched(&self) -> bool {
        *self.vouched.borrow()
    }

    /// Says whether others would notice its end.
    pub(crate) fn set_vouched(&self, vouched: bool) {
        self.vouched.send_replace(vouched);
    }

    /// Hears of every change of that after the call.
    pub(crate) fn vouched(&self) -> watch::Receiver<bool> {
        self.vouched.subscribe()
    }
}
