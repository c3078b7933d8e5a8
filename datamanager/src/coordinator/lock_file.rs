//! Which process of this machine has something to itself?

use std::{
    fs::{File, OpenOptions},
    io::{self, Read, Seek, Write},
    path::Path,
};

use rustix::{
    fs::{FlockOperation, flock},
    io::Errno,
};

/// A lock file that this process holds until the value is dropped.
///
/// The operating system releases the lock when the process ends, in whatever way, so a file that was left behind is no
/// obstacle. The file holds the process id, for the message that the next one reads.
#[derive(Debug)]
pub struct LockFile {
    file: File,
}

/// Why a lock file could not be taken.
#[derive(Debug, thiserror::Error)]
pub enum LockError {
    /// Another process holds it.
    #[error("another process holds the lock file")]
    Held {
        /// Its process id, if it has written it.
        holder: Option<u32>,
    },
    /// The file cannot be used.
    #[error("the lock file cannot be {doing}")]
    Unusable {
        /// What could not be done to it, as a participle ("opened").
        doing: &'static str,
        /// What the operating system reported.
        source: io::Error,
    },
}

impl LockFile {
    /// Takes the lock file at `path`, which is made if need be; its directory must exist. Does not wait.
    ///
    /// # Errors
    /// [`LockError::Held`] if another process has it; [`LockError::Unusable`] if the file cannot be used.
    pub fn acquire(path: impl AsRef<Path>) -> Result<Self, LockError> {
        let unusable = |doing| move |source| LockError::Unusable { doing, source };
        let mut options = OpenOptions::new();
        options.read(true).write(true).create(true).truncate(false);
        let mut file = options.open(path).map_err(unusable("opened"))?;
        match flock(&file, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => {}
            Err(Errno::WOULDBLOCK) => return Err(LockError::Held { holder: read_holder(&mut file) }),
            Err(error) => return Err(unusable("locked")(error.into())),
        }
        write_holder(&mut file).map_err(unusable("written"))?;
        Ok(Self { file })
    }
}

impl Drop for LockFile {
    fn drop(&mut self) {
        // Closing is not enough: a program that another thread is just starting has the file open until it runs.
        let _ = flock(&self.file, FlockOperation::Unlock);
    }
}

fn write_holder(file: &mut File) -> io::Result<()> {
    file.set_len(0)?;
    file.rewind()?;
    writeln!(file, "{}", std::process::id())
}

fn read_holder(file: &mut File) -> Option<u32> {
    let mut holder = String::new();
    file.take(32).read_to_string(&mut holder).ok()?;
    holder.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_released_though_a_child_that_just_begins_has_the_file_open_too() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("lock");
        let held = LockFile::acquire(&path).unwrap();
        let of_the_child = held.file.try_clone().unwrap();
        assert!(matches!(LockFile::acquire(&path), Err(LockError::Held { .. })));
        drop(held);
        LockFile::acquire(&path).unwrap();
        drop(of_the_child);
    }
}
