//! What does a process write down of what it does?
//!
//! A line of JSON each, written whole before anything else is done: a kill loses nothing but the end of the last line.

use std::{
    fs::File,
    io::Write,
    path::Path,
    sync::Mutex,
    sync::atomic::{AtomicU64, Ordering},
    time::Duration,
};

use runyard_datamanager::Position;
use serde::{Deserialize, Serialize};

/// Collection, key, and the value or that there is none.
pub(crate) type Entry = (String, String, Option<String>);

#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) enum Line {
    /// Something is about to be committed, or was read.
    Begun(Begun),
    /// What was said of it.
    Ended { id: u64, at: Duration, said: Said },
    /// The role `scheduler` was taken over, and that is visible from there on.
    Acquired { epoch: u64, position: Position },
    /// From there on, every transaction is seen.
    FollowsFrom(Position),
    /// A whole batch was seen.
    Followed { lsn: u64, transactions: u32, hash: u64 },
    /// One transaction was seen, at that moment. Of followers that are measured.
    Saw { position: Position, at: Duration },
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Begun {
    /// Counted from 0 in each process.
    pub(crate) id: u64,
    pub(crate) at: Duration,
    pub(crate) reads: Vec<Entry>,
    pub(crate) writes: Vec<Entry>,
    /// What is appended: collection and value.
    pub(crate) append: Option<(String, String)>,
    pub(crate) caught_up: bool,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Said {
    At(Position),
    Conflict,
    Failed(String),
    Unknown,
}

/// Where a process writes it down.
#[derive(Debug)]
pub(crate) struct Recorder {
    /// The number of the process.
    pub(crate) process: u64,
    file: Mutex<File>,
    next: AtomicU64,
}

impl Recorder {
    pub(crate) fn create(process: u64, path: &Path) -> Self {
        let file = File::options().append(true).create_new(true).open(path).unwrap();
        Self { process, file: Mutex::new(file), next: AtomicU64::new(0) }
    }

    pub(crate) fn write(&self, line: &Line) {
        let mut bytes = serde_json::to_vec(line).unwrap();
        bytes.push(b'\n');
        self.file.lock().unwrap().write_all(&bytes).unwrap();
    }

    pub(crate) fn next_id(&self) -> u64 {
        self.next.fetch_add(1, Ordering::Relaxed)
    }

    /// A value that nobody else writes: `what` can be read back from it, and which process wrote it.
    pub(crate) fn value(&self, id: u64, what: impl std::fmt::Display) -> Option<String> {
        Some(format!("{what}#{}.{id}", self.process))
    }
}

/// What a value was made of.
pub(crate) fn what(value: &str) -> &str {
    value.split('#').next().unwrap()
}

/// Which process wrote a value.
pub(crate) fn writer(value: &str) -> u64 {
    value.split(['#', '.']).nth(1).unwrap().parse().unwrap()
}

/// Reads what was written down; a line that was not finished is left out.
pub(crate) fn read(path: &Path) -> Vec<Line> {
    let text = std::fs::read_to_string(path).unwrap_or_default();
    let whole = text.rfind('\n').map_or("", |end| &text[..end]);
    whole.lines().map(|line| serde_json::from_str(line).unwrap_or_else(|error| panic!("{line}: {error}"))).collect()
}
