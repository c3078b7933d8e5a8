//! Is this directory fit to be a storage?

use std::{
    fs::{self, File},
    io,
    path::{Path, PathBuf},
    sync::{Arc, OnceLock},
};

use rustix::{
    fd::OwnedFd,
    fs::{CWD, Mode, OFlags, openat},
    io::Errno,
    process::geteuid,
};

use super::{Store, layout::Layout, root::Root, staging::Staging, sync::Syncs};
use crate::{Error, Result};

pub(super) fn open(path: PathBuf, layout: &'static dyn Layout) -> Result<Store> {
    create(&path).map_err(|error| unusable(&path, Step::Creating, error))?;
    let directory = open_directory(&path).map_err(|errno| unusable(&path, Step::Opening, errno.into()))?;
    let root = Root::new(directory);
    let staging = Staging::open(root.as_fd()).map_err(|errno| unusable(&path, Step::Staging, errno.into()))?;
    let syncs = Syncs::default();
    syncs.sync(root.as_fd()).map_err(|errno| unusable(&path, Step::Syncing, errno.into()))?;
    Ok(Store { path, layout, root, staging: Arc::new(staging), syncs, broken: OnceLock::new() })
}

/// Creates the directory and those above it, and syncs what names them.
fn create(path: &Path) -> io::Result<()> {
    let missing: Vec<_> = path.ancestors().take_while(|ancestor| names_nothing(ancestor)).collect();
    if missing.is_empty() {
        return Ok(());
    }
    fs::create_dir_all(path)?;
    for created in missing {
        let parent = created.parent().filter(|parent| !parent.as_os_str().is_empty());
        File::open(parent.unwrap_or(Path::new(".")))?.sync_all()?;
    }
    Ok(())
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
enum Step {
    Creating,
    Opening,
    Staging,
    Syncing,
}

fn unusable(path: &Path, step: Step, error: io::Error) -> Error {
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
