//! The directory of an executor: who is it, and is it alone here?
//!
//! ```text
//! DIR/           0700
//!   lock         locked while the executor is open
//!   id           its id, made once
//!   journal/     one file per attempt
//!   logs/        what the executor itself writes into logs
//! ```

use std::{
    fs,
    io::{self, Write as _},
    os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _},
    path::{Path, PathBuf},
};

use rustix::fs::{FlockOperation, flock};

use super::{ExecutorError, random::Random};
use crate::contract::ExecutorId;

/// An executor's directory, locked against a second executor until it is dropped.
#[derive(Debug)]
pub(super) struct Home {
    pub(super) dir: PathBuf,
    pub(super) id: ExecutorId,
    lock: fs::File,
}

impl Home {
    /// Makes the directory if need be, locks it, and reads or makes the id.
    pub(super) fn open(dir: &Path, random: &Random) -> Result<Self, ExecutorError> {
        let io_error = |doing: &'static str| move |source| ExecutorError::Directory { dir: dir.into(), doing, source };
        for dir in [dir.to_owned(), dir.join("journal"), dir.join("logs")] {
            create_private_dir(&dir).map_err(io_error("creating it"))?;
        }
        let dir = fs::canonicalize(dir).map_err(io_error("resolving it"))?;
        let lock = private_file().truncate(false).open(dir.join("lock")).map_err(io_error("opening its lock"))?;
        match flock(&lock, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => {}
            Err(rustix::io::Errno::WOULDBLOCK) => return Err(ExecutorError::DirectoryInUse { dir }),
            Err(error) => return Err(io_error("locking it")(error.into())),
        }
        let id = read_or_make_id(&dir.join("id"), random).map_err(io_error("reading or making its id"))?;
        Ok(Self { dir, id, lock })
    }
}

impl Drop for Home {
    fn drop(&mut self) {
        // Closing is not enough: a program that another thread is just starting has the file open until it runs.
        let _ = flock(&self.lock, FlockOperation::Unlock);
    }
}

fn read_or_make_id(file: &Path, random: &Random) -> io::Result<ExecutorId> {
    let parse = |text: &str| ExecutorId::parse(text.trim()).map_err(io::Error::other);
    match fs::read_to_string(file) {
        Ok(text) => parse(&text),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            let id = random.id("x");
            write_atomically(file, id.as_bytes())?;
            sync(file)?;
            parse(&id)
        }
        Err(error) => Err(error),
    }
}

/// Makes a directory with its parents that nobody else can enter.
pub(crate) fn create_private_dir(dir: &Path) -> io::Result<()> {
    fs::DirBuilder::new().recursive(true).mode(0o700).create(dir)
}

/// Options that create and write a file that nobody else can read.
pub(crate) fn private_file() -> fs::OpenOptions {
    let mut options = fs::OpenOptions::new();
    options.create(true).write(true).truncate(true).mode(0o600);
    options
}

/// Replaces `file` by one with this content. After a crash of the process, the old or the new one is there; after a
/// crash of the machine only if [`sync`] had returned.
pub(crate) fn write_atomically(file: &Path, content: &[u8]) -> io::Result<()> {
    let mut name = file.as_os_str().to_owned();
    name.push(".new");
    let new = PathBuf::from(name);
    private_file().open(&new)?.write_all(content)?;
    fs::rename(&new, file)
}

/// Makes a file and its name survive a crash of the machine.
pub(crate) fn sync(file: &Path) -> io::Result<()> {
    fs::File::open(file)?.sync_all()?;
    let dir = file.parent().expect("a file has a directory");
    fs::File::open(dir)?.sync_all()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_executor_keeps_its_id_and_is_alone_in_its_directory() {
        let dir = tempfile::tempdir().unwrap();
        let home = Home::open(&dir.path().join("executor"), &Random::seeded(1)).unwrap();
        let second = Home::open(&dir.path().join("executor"), &Random::seeded(2)).unwrap_err();
        assert!(matches!(second, ExecutorError::DirectoryInUse { .. }), "{second:?}");
        let id = home.id.clone();
        drop(home);
        assert_eq!(Home::open(&dir.path().join("executor"), &Random::seeded(2)).unwrap().id, id);
    }
}
