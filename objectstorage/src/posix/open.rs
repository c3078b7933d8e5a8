//! Is this directory fit to be a storage?

use std::{
    fs, io,
    path::{Path, PathBuf},
    sync::{Arc, OnceLock},
};

use rustix::{
    fd::{AsFd, OwnedFd},
    fs::{CWD, Mode, OFlags, fstat, openat},
    io::Errno,
    process::geteuid,
};

use super::{
    Store,
    calls::{Calls, Syncing, at},
    layout::Layout,
    marker,
    root::Root,
    staging::{Common, Staging},
    sync::Syncs,
};
use crate::{Error, Result};

pub(super) fn open(path: PathBuf, layout: &'static dyn Layout, calls: Calls) -> Result<Store> {
    let made = create(&path, &calls).map_err(|error| unusable(&path, Step::Creating, error))?;
    let directory = open_directory(&path).map_err(|errno| unusable(&path, Step::Opening, errno.into()))?;
    let root = Root::new(directory, calls.clone());
    let unstageable = |errno: Errno| unusable(&path, Step::Staging, errno.into());
    let common = Common::lock(root.as_fd(), calls.clone()).map_err(unstageable)?;
    marker::claim(&path, &common, layout, &calls)?;
    let staging = Staging::open(common).map_err(unstageable)?;
    sync(&root, made, &calls).map_err(|errno| unusable(&path, Step::Syncing, errno.into()))?;
    let syncs = Syncs::new(calls.clone());
    Ok(Store { path, layout, root, staging: Arc::new(staging), syncs, calls, broken: OnceLock::new() })
}

/// Creates the directory and those above it; returns how many it made.
fn create(path: &Path, calls: &Calls) -> io::Result<usize> {
    let missing: Vec<_> = path.ancestors().take_while(|ancestor| names_nothing(ancestor)).collect();
    for directory in missing.iter().rev() {
        // A path that ends with `..` names one that was made before.
        let Some(name) = directory.file_name() else { continue };
        let parent = directory.parent().filter(|parent| !parent.as_os_str().is_empty());
        let parent = open_directory(parent.unwrap_or(Path::new(".")))?;
        match calls.create_directory(at(&parent, name)) {
            // Somebody else made it meanwhile.
            Ok(()) | Err(Errno::EXIST) => {}
            Err(errno) => return Err(errno.into()),
        }
    }
    Ok(missing.len())
}

/// Syncs the root and what is above it in the same filesystem.
///
/// Whatever was made here has to be synced. But a process that made a directory a moment ago may have died before it
/// came to that, so the others are synced as well, as far as they may be.
fn sync(root: &Root, made: usize, calls: &Calls) -> rustix::io::Result<()> {
    calls.sync(root.as_fd(), Syncing::DirectoryAbove)?;
    let mut below = fstat(root.as_fd())?;
    let mut parent = open_parent(root.as_fd());
    for level in 0.. {
        let synced = parent.and_then(|parent| {
            let found = fstat(&parent)?;
            let is_top = found.st_dev != below.st_dev || found.st_ino == below.st_ino;
            if !is_top {
                calls.sync(&parent, Syncing::DirectoryAbove)?;
            }
            Ok((parent, found, is_top))
        });
        match synced {
            Ok((_, _, true)) => break,
            Ok((directory, found, false)) => {
                below = found;
                parent = open_parent(&directory);
            }
            Err(_) if level >= made => break,
            Err(errno) => return Err(errno),
        }
    }
    Ok(())
}

fn open_parent(directory: impl AsFd) -> rustix::io::Result<OwnedFd> {
    openat(directory, "..", OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())
}

fn names_nothing(path: &Path) -> bool {
    !path.as_os_str().is_empty()
        && fs::symlink_metadata(path).is_err_and(|error| error.kind() == io::ErrorKind::NotFound)
}

/// The root itself may be a symbolic link: it is the operator's.
fn open_directory(path: &Path) -> rustix::io::Result<OwnedFd> {
    openat(CWD, path, OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())
}

/// How far opening came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Step {
    Creating,
    Opening,
    Staging,
    Syncing,
}

pub(super) fn unusable(path: &Path, step: Step, error: io::Error) -> Error {
    let message = format!("cannot keep objects in {}: {}", path.display(), explain(step, &error));
    Error::Unusable { message, source: Some(error.into()) }
}

/// What is wrong with the directory, and what to do about it.
fn explain(step: Step, error: &io::Error) -> String {
    let errno = Errno::from_io_error(error);
    let user = geteuid().as_raw();
    match (step, errno) {
        (_, Some(Errno::NOTDIR)) => "it is not a directory; name one that the storage has for itself".to_owned(),
        (_, Some(Errno::ROFS)) => "its filesystem is mounted read-only; mount it writable".to_owned(),
        (_, Some(Errno::NOSPC | Errno::DQUOT)) => "there is no space left; make room first".to_owned(),
        (Step::Creating, Some(Errno::ACCESS | Errno::PERM)) => {
            format!("it does not exist and may not be created; create it and give it to user id {user}")
        }
        (Step::Opening, Some(Errno::NOENT)) => "it is a symbolic link to nothing; create what it points to".to_owned(),
        (Step::Opening, Some(Errno::ACCESS | Errno::PERM)) => {
            format!("it may not be read; give user id {user} read, write and search permission")
        }
        (Step::Staging, Some(Errno::ACCESS | Errno::PERM)) => {
            format!("it is not writable; give user id {user} read, write and search permission")
        }
        (Step::Staging, Some(Errno::NOSYS | Errno::OPNOTSUPP | Errno::NOLCK)) => {
            "its filesystem has no file locks; use another one".to_owned()
        }
        (Step::Syncing, _) => {
            "its filesystem cannot sync a directory, so that nothing written could be promised to last; \
             use another one"
                .to_owned()
        }
        (Step::Creating, _) => "it could not be created".to_owned(),
        (Step::Opening, _) => "it could not be opened".to_owned(),
        (Step::Staging, _) => "nothing can be written into it".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_reason_says_what_to_do() {
        for (step, errno, expected) in [
            (Step::Opening, Errno::NOTDIR, "not a directory"),
            (Step::Creating, Errno::NOTDIR, "not a directory"),
            (Step::Creating, Errno::ACCESS, "create it and give it to user id"),
            (Step::Opening, Errno::ACCESS, "may not be read"),
            (Step::Staging, Errno::ACCESS, "not writable"),
            (Step::Staging, Errno::ROFS, "mount it writable"),
            (Step::Staging, Errno::NOLCK, "no file locks"),
            (Step::Staging, Errno::NOSPC, "make room"),
            (Step::Syncing, Errno::INVAL, "cannot sync a directory"),
        ] {
            let reason = explain(step, &errno.into());
            assert!(reason.contains(expected), "{step:?}, {errno}: {reason}");
        }
    }
}
