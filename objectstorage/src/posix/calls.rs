//! Which system calls change what is on the disk?
//!
//! All of them are made here, so that one place can watch them. In a build for tests, [`Trace`](super::power::Trace)
//! records what they do and lets a sync fail or lie; otherwise this is the plain calls and takes no memory.

use std::{
    ffi::OsStr,
    fs::File,
    io::{self, IoSlice, Write},
};

use bytes::Bytes;
use rustix::{
    fd::{AsFd, BorrowedFd, OwnedFd},
    fs::{AtFlags, Mode, OFlags, RenameFlags, fsync, linkat, mkdirat, openat, renameat, renameat_with, unlinkat},
    io::Errno,
};

#[cfg(any(test, feature = "test-util"))]
use super::power::Trace;

const FILE_MODE: Mode = Mode::from_raw_mode(0o666);
const DIRECTORY_MODE: Mode = Mode::from_raw_mode(0o777);

type Result<T, E = Errno> = std::result::Result<T, E>;

/// The way to the disk.
#[derive(Clone, Default)]
pub(super) struct Calls {
    #[cfg(any(test, feature = "test-util"))]
    trace: Option<std::sync::Arc<Trace>>,
}

/// A name in a directory.
#[derive(Clone, Copy)]
pub(super) struct Entry<'c> {
    pub(super) directory: BorrowedFd<'c>,
    pub(super) name: &'c OsStr,
}

/// The entry `name` of `directory`.
pub(super) fn at<'c>(directory: &'c impl AsFd, name: &'c (impl AsRef<OsStr> + ?Sized)) -> Entry<'c> {
    Entry { directory: directory.as_fd(), name: name.as_ref() }
}

/// What a sync is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(not(any(test, feature = "test-util")), expect(unreachable_pub, reason = "exported for tests only"))]
pub enum Syncing {
    /// The content of an object.
    File,
    /// The directory that names an object.
    Directory,
    /// A directory above that, which may have been made for it; or above the root of the storage.
    DirectoryAbove,
}

/// One call.
#[derive(Clone, Copy)]
#[cfg_attr(not(any(test, feature = "test-util")), expect(dead_code, reason = "only what watches looks into it"))]
pub(super) enum Call<'c> {
    CreateFile(Entry<'c>),
    CreateDirectory(Entry<'c>),
    Write { file: BorrowedFd<'c>, pieces: &'c [Bytes] },
    Sync { what: BorrowedFd<'c>, syncing: Syncing },
    Rename { from: Entry<'c>, to: Entry<'c>, is_exclusive: bool },
    Link { from: Entry<'c>, to: Entry<'c> },
    Remove(Entry<'c>),
}

impl Calls {
    #[cfg(any(test, feature = "test-util"))]
    pub(super) fn traced(trace: std::sync::Arc<Trace>) -> Self {
        Self { trace: Some(trace) }
    }

    /// Opens a file and creates it if it is missing; with [`OFlags::EXCL`], only if it is missing.
    pub(super) fn create_file(&self, entry: Entry<'_>, flags: OFlags) -> Result<OwnedFd> {
        let flags = flags | OFlags::CREATE | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        self.make(Call::CreateFile(entry), || openat(entry.directory, entry.name, flags, FILE_MODE))
    }

    pub(super) fn create_directory(&self, entry: Entry<'_>) -> Result<()> {
        self.make(Call::CreateDirectory(entry), || mkdirat(entry.directory, entry.name, DIRECTORY_MODE))
    }

    /// Appends pieces, with as few system calls as they allow.
    pub(super) fn write(&self, file: &File, pieces: &[Bytes]) -> io::Result<()> {
        self.make(Call::Write { file: file.as_fd(), pieces }, || write_all(file, pieces))
    }

    /// Syncs a file or a directory, once: after a failure the kernel forgets what it could not write.
    pub(super) fn sync(&self, what: impl AsFd, syncing: Syncing) -> Result<()> {
        let what = what.as_fd();
        self.make(Call::Sync { what, syncing }, || fsync(what))
    }

    /// Moves a file to a name that may be taken.
    pub(super) fn rename(&self, from: Entry<'_>, to: Entry<'_>) -> Result<()> {
        self.make(Call::Rename { from, to, is_exclusive: false }, || {
            renameat(from.directory, from.name, to.directory, to.name)
        })
    }

    /// Moves a file to a name that is free; not every filesystem can.
    pub(super) fn rename_exclusively(&self, from: Entry<'_>, to: Entry<'_>) -> Result<()> {
        self.make(Call::Rename { from, to, is_exclusive: true }, || {
            renameat_with(from.directory, from.name, to.directory, to.name, RenameFlags::NOREPLACE)
        })
    }

    /// Gives a file a second name, which is free.
    pub(super) fn link(&self, from: Entry<'_>, to: Entry<'_>) -> Result<()> {
        self.make(Call::Link { from, to }, || {
            linkat(from.directory, from.name, to.directory, to.name, AtFlags::empty())
        })
    }

    pub(super) fn remove_file(&self, entry: Entry<'_>) -> Result<()> {
        self.make(Call::Remove(entry), || unlinkat(entry.directory, entry.name, AtFlags::empty()))
    }

    /// Removes a directory, if it is empty.
    pub(super) fn remove_directory(&self, entry: Entry<'_>) -> Result<()> {
        self.make(Call::Remove(entry), || unlinkat(entry.directory, entry.name, AtFlags::REMOVEDIR))
    }

    #[cfg_attr(not(any(test, feature = "test-util")), inline(always))]
    fn make<T, E: From<Errno>>(&self, call: Call<'_>, make: impl FnOnce() -> Result<T, E>) -> Result<T, E> {
        #[cfg(any(test, feature = "test-util"))]
        if let Some(trace) = &self.trace {
            return trace.watch(call, make);
        }
        let _ = call;
        make()
    }
}

fn write_all(mut file: &File, pieces: &[Bytes]) -> io::Result<()> {
    if let [piece] = pieces {
        return file.write_all(piece);
    }
    let mut slices: Vec<_> = pieces.iter().map(|piece| IoSlice::new(piece)).collect();
    let mut left = &mut slices[..];
    IoSlice::advance_slices(&mut left, 0);
    while !left.is_empty() {
        match file.write_vectored(left) {
            Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
            Ok(written) => IoSlice::advance_slices(&mut left, written),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}
