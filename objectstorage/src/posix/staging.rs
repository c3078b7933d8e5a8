//! Where is an object until it is whole, and who removes it if it never is?
//!
//! ```text
//! <root>/.runyard-staging/lock      held while somebody opens the storage: one sweeps at a time
//! <root>/.runyard-staging/0/lock    held by the process that writes in `0`, as long as it lives
//! <root>/.runyard-staging/0/17      an object that is being written
//! ```
//!
//! A directory whose lock nobody holds belonged to a process that died; opening the storage removes it.

use std::{
    fs::File,
    io::{self, IoSlice, Write},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use bytes::Bytes;
use rustix::{
    fd::{AsFd, BorrowedFd, OwnedFd},
    fs::{
        AtFlags, Dir, FlockOperation, Mode, OFlags, RenameFlags, flock, linkat, mkdirat, openat, renameat,
        renameat_with, unlinkat,
    },
    io::{Errno, Result},
};

use super::root::DIRECTORY;
use crate::PutMode;

/// The name below the root that no key can have.
pub(super) const STAGING_DIRECTORY: &str = ".runyard-staging";

const LOCK: &str = "lock";
const FILE_MODE: Mode = Mode::from_raw_mode(0o666);
const DIRECTORY_MODE: Mode = Mode::from_raw_mode(0o777);

/// The staging directory of one open storage.
pub(super) struct Staging {
    all: OwnedFd,
    own_name: String,
    own: OwnedFd,
    /// Keeps the lock for as long as this lives.
    _own_lock: OwnedFd,
    next: AtomicU64,
}

impl Staging {
    /// Removes what dead writers left behind and makes a directory of one's own.
    pub(super) fn open(root: BorrowedFd<'_>) -> Result<Self> {
        create_directory(root, STAGING_DIRECTORY)?;
        let all = openat(root, STAGING_DIRECTORY, DIRECTORY, Mode::empty())?;
        let opening = open_lock(&all)?;
        flock(&opening, FlockOperation::LockExclusive)?;
        sweep(&all)?;
        let own_name = create_numbered(&all)?;
        let own = openat(&all, &*own_name, DIRECTORY, Mode::empty())?;
        let own_lock = open_lock(&own)?;
        flock(&own_lock, FlockOperation::NonBlockingLockExclusive)?;
        Ok(Self { all, own_name, own, _own_lock: own_lock, next: AtomicU64::new(0) })
    }

    /// Begins an object.
    pub(super) fn stage(self: &Arc<Self>) -> Result<Staged> {
        let name = self.next.fetch_add(1, Ordering::Relaxed).to_string();
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let file = File::from(openat(&self.own, &*name, flags, FILE_MODE)?);
        Ok(Staged { staging: self.clone(), name, file, is_gone: false })
    }
}

impl Drop for Staging {
    /// Best effort: what is left is swept when the storage is opened next.
    fn drop(&mut self) {
        let Ok(opening) = open_lock(&self.all) else { return };
        // Only under the common lock, so that nobody makes a directory of the same name meanwhile.
        if flock(&opening, FlockOperation::NonBlockingLockExclusive).is_ok() {
            let _ = remove_directory(&self.all, &self.own_name);
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

    /// Appends pieces, with as few system calls as they allow.
    pub(super) fn write(&mut self, pieces: &[Bytes]) -> io::Result<()> {
        if let [piece] = pieces {
            return self.file.write_all(piece);
        }
        let mut slices: Vec<_> = pieces.iter().map(|piece| IoSlice::new(piece)).collect();
        let mut left = &mut slices[..];
        IoSlice::advance_slices(&mut left, 0);
        while !left.is_empty() {
            match self.file.write_vectored(left) {
                Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                Ok(written) => IoSlice::advance_slices(&mut left, written),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// Gives the object its name, in one step.
    ///
    /// # Errors
    /// [`Errno::EXIST`] if it is to be created and the name is taken; [`Errno::NOENT`] if `directory` was removed.
    pub(super) fn publish(&mut self, directory: &OwnedFd, name: &str, mode: PutMode) -> Result<()> {
        let own = &self.staging.own;
        match mode {
            PutMode::Overwrite => renameat(own, &*self.name, directory, name)?,
            PutMode::Create => match renameat_with(own, &*self.name, directory, name, RenameFlags::NOREPLACE) {
                // A filesystem without this kind of rename; a second name does the same in two steps.
                Err(Errno::INVAL | Errno::NOSYS | Errno::OPNOTSUPP | Errno::PERM) => {
                    return linkat(own, &*self.name, directory, name, AtFlags::empty());
                }
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
            let _ = unlinkat(&self.staging.own, &*self.name, AtFlags::empty());
        }
    }
}

fn create_directory(parent: impl AsFd, name: &str) -> Result<()> {
    match mkdirat(parent, name, DIRECTORY_MODE) {
        Err(Errno::EXIST) => Ok(()),
        created => created,
    }
}

fn create_numbered(all: &OwnedFd) -> Result<String> {
    let mut number = 0_u32;
    loop {
        let name = number.to_string();
        match mkdirat(all, &*name, DIRECTORY_MODE) {
            Ok(()) => return Ok(name),
            Err(Errno::EXIST) => number += 1,
            Err(errno) => return Err(errno),
        }
    }
}

fn open_lock(directory: &OwnedFd) -> Result<OwnedFd> {
    openat(directory, LOCK, OFlags::RDWR | OFlags::CREATE | OFlags::NOFOLLOW | OFlags::CLOEXEC, FILE_MODE)
}

/// Removes the directories of dead processes. Only under the common lock.
fn sweep(all: &OwnedFd) -> Result<()> {
    for name in names(all)? {
        if name == LOCK {
            continue;
        }
        let Ok(directory) = openat(all, &*name, DIRECTORY, Mode::empty()) else { continue };
        let lock = open_lock(&directory)?;
        match flock(&lock, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => remove_directory(all, &name)?,
            Err(Errno::WOULDBLOCK) => {}
            Err(errno) => return Err(errno),
        }
    }
    Ok(())
}

fn remove_directory(all: &OwnedFd, name: &str) -> Result<()> {
    let directory = openat(all, name, DIRECTORY, Mode::empty())?;
    for file in names(&directory)? {
        unlinkat(&directory, &*file, AtFlags::empty())?;
    }
    unlinkat(all, name, AtFlags::REMOVEDIR)
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
