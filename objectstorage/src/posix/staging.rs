//! Where is an object until it is whole, and who removes it if it never is?
//!
//! ```text
//! <root>/.runyard-staging/lock      held while somebody opens the storage: one sweeps at a time
//! <root>/.runyard-staging/format    which storage the directory belongs to; see `marker.rs`
//! <root>/.runyard-staging/0/lock    held by the process that writes in `0`, as long as it lives
//! <root>/.runyard-staging/0/17      an object that is being written
//! ```
//!
//! A directory whose lock nobody holds belonged to a process that died; opening the storage removes it.

use std::{
    fs::File,
    io,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use bytes::Bytes;
use rustix::{
    fd::{BorrowedFd, OwnedFd},
    fs::{Dir, FlockOperation, Mode, OFlags, flock, openat},
    io::{Errno, Result},
};

use super::{
    calls::{Calls, at},
    root::DIRECTORY,
};
use crate::PutMode;

/// The name below the root that no key can have.
pub(super) const STAGING_DIRECTORY: &str = ".runyard-staging";

const LOCK: &str = "lock";

/// What all who have the storage open share. While it lives, nobody else opens it.
pub(super) struct Common {
    directory: OwnedFd,
    calls: Calls,
    _lock: OwnedFd,
}

impl Common {
    /// Makes the directory if it is missing, and waits for others who are opening the storage.
    pub(super) fn lock(root: BorrowedFd<'_>, calls: Calls) -> Result<Self> {
        match calls.create_directory(at(&root, STAGING_DIRECTORY)) {
            Ok(()) | Err(Errno::EXIST) => {}
            Err(errno) => return Err(errno),
        }
        let directory = openat(root, STAGING_DIRECTORY, DIRECTORY, Mode::empty())?;
        let lock = open_lock(&calls, &directory)?;
        flock(&lock, FlockOperation::LockExclusive)?;
        Ok(Self { directory, calls, _lock: lock })
    }

    pub(super) fn directory(&self) -> &OwnedFd {
        &self.directory
    }
}

/// The staging directory of one open storage.
pub(super) struct Staging {
    all: OwnedFd,
    own_name: String,
    own: OwnedFd,
    /// Keeps the lock for as long as this lives.
    _own_lock: OwnedFd,
    next: AtomicU64,
    calls: Calls,
}

impl Staging {
    /// Removes what dead writers left behind and makes a directory of one's own.
    pub(super) fn open(common: Common) -> Result<Self> {
        let Common { directory: all, calls, _lock } = common;
        sweep(&calls, &all)?;
        let own_name = create_numbered(&calls, &all)?;
        let own = openat(&all, &*own_name, DIRECTORY, Mode::empty())?;
        let own_lock = open_lock(&calls, &own)?;
        flock(&own_lock, FlockOperation::NonBlockingLockExclusive)?;
        Ok(Self { all, own_name, own, _own_lock: own_lock, next: AtomicU64::new(0), calls })
    }

    /// Begins an object.
    pub(super) fn stage(self: &Arc<Self>) -> Result<Staged> {
        let name = self.next.fetch_add(1, Ordering::Relaxed).to_string();
        let file = File::from(self.calls.create_file(at(&self.own, &name), OFlags::WRONLY | OFlags::EXCL)?);
        Ok(Staged { staging: self.clone(), name, file, is_gone: false })
    }
}

impl Drop for Staging {
    /// Best effort: what is left is swept when the storage is opened next.
    fn drop(&mut self) {
        let Ok(opening) = open_lock(&self.calls, &self.all) else { return };
        // Only under the common lock, so that nobody makes a directory of the same name meanwhile.
        if flock(&opening, FlockOperation::NonBlockingLockExclusive).is_ok() {
            let _ = remove_directory(&self.calls, &self.all, &self.own_name);
        }
    }
}

/// An object that is being written. Dropping it removes it.
pub(super) struct Staged {
    staging: Arc<Staging>,
    name: String,
    file: File,
    is_gone: bool,
}

impl Staged {
    pub(super) fn file(&self) -> &File {
        &self.file
    }

    pub(super) fn write(&mut self, pieces: &[Bytes]) -> io::Result<()> {
        self.staging.calls.write(&self.file, pieces)
    }

    /// Gives the object its name, in one step.
    ///
    /// # Errors
    /// [`Errno::EXIST`] if it is to be created and the name is taken; [`Errno::NOENT`] if `directory` was removed.
    pub(super) fn publish(&mut self, directory: &OwnedFd, name: &str, mode: PutMode) -> Result<()> {
        let calls = &self.staging.calls;
        let (from, to) = (at(&self.staging.own, &self.name), at(directory, name));
        match mode {
            PutMode::Overwrite => calls.rename(from, to)?,
            PutMode::Create => match calls.rename_exclusively(from, to) {
                // A filesystem without this kind of rename; a second name does the same in two steps.
                Err(Errno::INVAL | Errno::NOSYS | Errno::OPNOTSUPP | Errno::PERM) => return calls.link(from, to),
                renamed => renamed?,
            },
        }
        self.is_gone = true;
        Ok(())
    }
}

impl Drop for Staged {
    fn drop(&mut self) {
        if !self.is_gone {
            let _ = self.staging.calls.remove_file(at(&self.staging.own, &self.name));
        }
    }
}

fn create_numbered(calls: &Calls, all: &OwnedFd) -> Result<String> {
    let mut number = 0_u32;
    loop {
        let name = number.to_string();
        match calls.create_directory(at(all, &name)) {
            Ok(()) => return Ok(name),
            Err(Errno::EXIST) => number += 1,
            Err(errno) => return Err(errno),
        }
    }
}

fn open_lock(calls: &Calls, directory: &OwnedFd) -> Result<OwnedFd> {
    calls.create_file(at(directory, LOCK), OFlags::RDWR)
}

/// Removes the directories of dead processes. Only under the common lock.
fn sweep(calls: &Calls, all: &OwnedFd) -> Result<()> {
    for name in names(all)? {
        // Whatever is no directory belongs to all.
        let Ok(directory) = openat(all, &*name, DIRECTORY, Mode::empty()) else { continue };
        let lock = open_lock(calls, &directory)?;
        match flock(&lock, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => remove_directory(calls, all, &name)?,
            Err(Errno::WOULDBLOCK) => {}
            Err(errno) => return Err(errno),
        }
    }
    Ok(())
}

fn remove_directory(calls: &Calls, all: &OwnedFd, name: &str) -> Result<()> {
    let directory = openat(all, name, DIRECTORY, Mode::empty())?;
    for file in names(&directory)? {
        calls.remove_file(at(&directory, &file))?;
    }
    calls.remove_directory(at(all, name))
}

fn names(directory: &OwnedFd) -> Result<Vec<String>> {
    let mut names = Vec::new();
    for entry in Dir::read_from(directory)? {
        if let Ok(name) = entry?.file_name().to_str()
            && !matches!(name, "." | "..")
        {
            names.push(name.to_owned());
        }
    }
    Ok(names)
}
