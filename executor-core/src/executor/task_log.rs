//! How does the executor itself write into a log?
//!
//! Into a file first, so that the log is the same after a restart; the file is pumped like the output of a command.

use std::{
    fs::{File, OpenOptions},
    io::{self, Write as _},
    os::unix::fs::{FileExt as _, OpenOptionsExt as _},
    path::Path,
    sync::{Arc, Mutex},
};

use async_trait::async_trait;
use bytes::Bytes;
use runyard_toolbox::Masker;
use tokio::{sync::watch, time::Instant};

use super::home;
use crate::driver::{Attachment, DriverError, Result as DriverResult, SetupLog, StepEnd, StepEvent};

/// The most that one piece of a file holds.
const PIECE_BYTES_MAX: u64 = 256 << 10;

/// A log that the executor writes line by line.
#[derive(Clone)]
pub(super) struct TaskLog(Arc<Inner>);

struct Inner {
    file: Mutex<File>,
    state: watch::Sender<State>,
    opened: Instant,
    masker: Masker,
}

#[derive(Clone, Copy)]
struct State {
    length: u64,
    closed: bool,
}

impl TaskLog {
    /// Opens the log, after what was written before. What is written into it is masked.
    pub(super) fn open(dir: &Path, name: &str, masker: Masker) -> io::Result<Self> {
        home::create_private_dir(dir)?;
        let path = dir.join(format!("{name}.log"));
        let file = OpenOptions::new().create(true).append(true).read(true).mode(0o600).open(path)?;
        let length = file.metadata()?.len();
        let state = watch::Sender::new(State { length, closed: false });
        Ok(Self(Arc::new(Inner { file: Mutex::new(file), state, opened: Instant::now(), masker })))
    }

    /// Whether anything was written, now or before.
    pub(super) fn is_empty(&self) -> bool {
        self.0.state.borrow().length == 0
    }

    /// Nothing more will be written.
    pub(super) fn close(&self) {
        self.0.state.send_modify(|state| state.closed = true);
    }

    /// Reads it from `offset` on, until it is closed.
    pub(super) fn attach(&self, offset: u64) -> Box<dyn Attachment> {
        Box::new(FileAttachment { log: self.clone(), state: self.0.state.subscribe(), offset })
    }
}

impl SetupLog for TaskLog {
    fn line(&self, text: &str) {
        let time = self.0.opened.elapsed().as_secs_f64();
        let text = self.0.masker.mask(text);
        let line = format!("[{time:8.3}s] {text}\n");
        let written = self.0.file.lock().expect("no panic happens while the file is locked").write_all(line.as_bytes());
        match written {
            Ok(()) => self.0.state.send_modify(|state| state.length += line.len() as u64),
            // What was written of the line is not counted, so the next line may be garbled, never another one.
            Err(error) => tracing::error!(%error, text, "cannot write into the log of a task"),
        }
    }
}

struct FileAttachment {
    log: TaskLog,
    state: watch::Receiver<State>,
    offset: u64,
}

#[async_trait]
impl Attachment for FileAttachment {
    async fn next(&mut self) -> DriverResult<StepEvent> {
        let offset = self.offset;
        let changed = self.state.wait_for(|state| state.closed || state.length > offset).await;
        let state = *changed.expect("the log owns the sender");
        if state.length <= offset {
            return Ok(StepEvent::Ended(StepEnd::Exited { code: 0 }));
        }
        let mut bytes = vec![0; (state.length - offset).min(PIECE_BYTES_MAX) as usize];
        let file = self.log.0.file.lock().expect("no panic happens while the file is locked");
        file.read_exact_at(&mut bytes, offset).map_err(|error| DriverError::failed("reading a log file", error))?;
        self.offset += bytes.len() as u64;
        Ok(StepEvent::Output { offset, bytes: Bytes::from(bytes) })
    }

    async fn ack(&mut self, _offset: u64) -> DriverResult<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_log_goes_on_where_it_was() {
        let dir = tempfile::tempdir().unwrap();
        let open = || TaskLog::open(dir.path(), "setup", Masker::new(["hunter2"])).unwrap();
        let log = open();
        assert!(log.is_empty());
        log.line("one");
        drop(log);
        let log = open();
        log.line("two of hunter2");
        log.close();
        let mut attachment = log.attach(0);
        let StepEvent::Output { offset: 0, bytes } = attachment.next().await.unwrap() else { panic!("no output") };
        assert_eq!(bytes, "[   0.000s] one\n[   0.000s] two of ***\n");
        assert_eq!(attachment.next().await.unwrap(), StepEvent::Ended(StepEnd::Exited { code: 0 }));
    }
}
