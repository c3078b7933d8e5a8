//! How is a path reached without leaving the root?
//!
//! Every path is resolved by the kernel relative to the root's descriptor, with the promise that no symbolic link is
//! followed (`openat2`). Where that call is missing, directory after directory is opened by hand, to the same effect.

use rustix::{
    fd::{AsFd, BorrowedFd, OwnedFd},
    fs::{AtFlags, FileType, Mode, OFlags, ResolveFlags, fstat, openat, openat2, statat},
    io::{Errno, Result},
};

use super::calls::{Calls, at};

/// How often a writer tries again that lost a directory to somebody who removed it because it was empty.
///
/// Each further try means that one more removal came between two system calls; a thousand of them in a row is a bug.
pub(super) const PRUNING_RACES_MAX: usize = 1_000;

const RESOLVE: ResolveFlags = ResolveFlags::BENEATH.union(ResolveFlags::NO_SYMLINKS).union(ResolveFlags::NO_MAGICLINKS);

/// The directory that everything lies in.
pub(super) struct Root {
    directory: OwnedFd,
    has_openat2: bool,
    calls: Calls,
}

impl Root {
    pub(super) fn new(directory: OwnedFd, calls: Calls) -> Self {
        // Kernels before 5.6 do not know the call; the sandboxes of older container runtimes forbid it.
        let has_openat2 = openat2(&directory, ".", DIRECTORY, Mode::empty(), RESOLVE).is_ok();
        Self { directory, has_openat2, calls }
    }

    /// The same directory, as an old kernel would reach into it.
    #[cfg(test)]
    pub(super) fn without_openat2(directory: OwnedFd) -> Self {
        Self { directory, has_openat2: false, calls: Calls::default() }
    }

    pub(super) fn as_fd(&self) -> BorrowedFd<'_> {
        self.directory.as_fd()
    }

    /// Opens what is at `path`; [`Errno::LOOP`] if a symbolic link is anywhere in it.
    pub(super) fn open(&self, path: &str, flags: OFlags) -> Result<OwnedFd> {
        let flags = flags | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        if path.is_empty() {
            return openat(&self.directory, ".", flags, Mode::empty());
        }
        if self.has_openat2 {
            return match openat2(&self.directory, path, flags, Mode::empty(), RESOLVE) {
                // Of a link in the last place, the kernel says only that it is no directory.
                Err(Errno::NOTDIR) if self.is_symlink(path) => Err(Errno::LOOP),
                opened => opened,
            };
        }
        let (directories, name) = split_last(path);
        if directories.is_empty() {
            return open_one(self.as_fd(), name, flags);
        }
        let mut at = None::<OwnedFd>;
        for component in directories.split('/') {
            at = Some(open_one(at.as_ref().map_or(self.as_fd(), AsFd::as_fd), component, DIRECTORY)?);
        }
        open_one(at.as_ref().map_or(self.as_fd(), AsFd::as_fd), name, flags)
    }

    fn is_symlink(&self, path: &str) -> bool {
        let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        openat2(&self.directory, path, flags, Mode::empty(), RESOLVE)
            .and_then(fstat)
            .is_ok_and(|stat| FileType::from_raw_mode(stat.st_mode) == FileType::Symlink)
    }

    pub(super) fn open_directory(&self, path: &str) -> Result<OwnedFd> {
        self.open(path, DIRECTORY)
    }

    /// Opens a directory, and creates it and those above it if they are missing.
    pub(super) fn open_or_create_directory(&self, path: &str) -> Result<OwnedFd> {
        for _ in 0..PRUNING_RACES_MAX {
            match self.open_directory(path) {
                Err(Errno::NOENT) => match self.create_directories(path) {
                    // Somebody pruned what was just created: again.
                    Ok(()) | Err(Errno::NOENT) => {}
                    Err(errno) => return Err(errno),
                },
                opened => return opened,
            }
        }
        Err(Errno::NOENT)
    }

    fn create_directories(&self, path: &str) -> Result<()> {
        let mut reached = None::<OwnedFd>;
        for component in path.split('/') {
            let parent = reached.as_ref().map_or(self.as_fd(), AsFd::as_fd);
            match self.calls.create_directory(at(&parent, component)) {
                Ok(()) | Err(Errno::EXIST) => {}
                Err(errno) => return Err(errno),
            }
            reached = Some(open_one(parent, component, DIRECTORY)?);
        }
        Ok(())
    }
}

pub(super) const DIRECTORY: OFlags =
    OFlags::RDONLY.union(OFlags::DIRECTORY).union(OFlags::NOFOLLOW).union(OFlags::CLOEXEC);

/// Opens one name; unlike the plain call, says [`Errno::LOOP`] of a symbolic link even where a directory is wanted.
pub(super) fn open_one(parent: BorrowedFd<'_>, name: &str, flags: OFlags) -> Result<OwnedFd> {
    match openat(parent, name, flags, Mode::empty()) {
        Err(Errno::NOTDIR) if kind(parent, name)? == Some(FileType::Symlink) => Err(Errno::LOOP),
        opened => opened,
    }
}

/// What `name` is, without following it; `None` if there is nothing.
pub(super) fn kind(parent: BorrowedFd<'_>, name: &str) -> Result<Option<FileType>> {
    match statat(parent, name, AtFlags::SYMLINK_NOFOLLOW) {
        Ok(stat) => Ok(Some(FileType::from_raw_mode(stat.st_mode))),
        Err(Errno::NOENT) => Ok(None),
        Err(errno) => Err(errno),
    }
}

/// The path of the directory, empty for the root, and the name in it.
pub(super) fn split_last(path: &str) -> (&str, &str) {
    path.rsplit_once('/').unwrap_or(("", path))
}
