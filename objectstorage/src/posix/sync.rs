//! What must reach the disk before a write is acknowledged?
//!
//! The file; the directory that names it; and every directory above, as far as this process has not yet seen it on
//! the disk. That last part cannot be left to whoever created a directory: a relaxed writer, or one that is a moment
//! behind, may have created it without having synced it.

use std::{collections::HashMap, io, sync::Mutex};

use rustix::{
    fd::OwnedFd,
    fs::{AtFlags, StatxFlags, statx},
    io::{Errno, Result},
};

use super::{
    calls::{Calls, Syncing},
    root::{Root, split_last},
};

/// How many directories are remembered; past that, all are forgotten and learnt again.
const KNOWN_MAX: usize = 4_096;

/// Syncs, and remembers which directories are on the disk with all that is above them.
pub(super) struct Syncs {
    calls: Calls,
    on_disk: Mutex<HashMap<String, Identity>>,
}

/// Tells a directory from a later one at the same path: its number may be used again, its birth not.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Identity {
    device: (u32, u32),
    inode: u64,
    birth: (i64, u32),
}

impl Syncs {
    pub(super) fn new(calls: Calls) -> Self {
        Self { calls, on_disk: Mutex::default() }
    }

    /// Syncs `directory`, which is at `path`, and what is above it and not known to be on the disk.
    pub(super) fn sync_upwards(&self, root: &Root, path: &str, directory: &OwnedFd) -> io::Result<()> {
        self.calls.sync(directory, Syncing::Directory)?;
        let mut path = path;
        let mut identity = identify(directory)?;
        let mut synced = Vec::new();
        while !path.is_empty() && !self.is_on_disk(path, identity) {
            let (parent, _) = split_last(path);
            let parent_directory = match root.open_directory(parent) {
                Ok(directory) => directory,
                // The object was deleted already, and its directories with it.
                Err(Errno::NOENT | Errno::NOTDIR) => return Ok(()),
                Err(errno) => return Err(errno.into()),
            };
            self.calls.sync(&parent_directory, Syncing::DirectoryAbove)?;
            synced.push((path.to_owned(), identity));
            path = parent;
            identity = identify(&parent_directory)?;
        }
        self.remember(synced);
        Ok(())
    }

    fn is_on_disk(&self, path: &str, identity: Option<Identity>) -> bool {
        identity.is_some() && self.known().get(path).copied() == identity
    }

    fn remember(&self, synced: Vec<(String, Option<Identity>)>) {
        if synced.is_empty() {
            return;
        }
        let mut known = self.known();
        if known.len() + synced.len() > KNOWN_MAX {
            known.clear();
        }
        known.extend(synced.into_iter().filter_map(|(path, identity)| Some((path, identity?))));
    }

    fn known(&self) -> std::sync::MutexGuard<'_, HashMap<String, Identity>> {
        self.on_disk.lock().expect("the lock is never poisoned: no panic while it is held")
    }
}

/// `None` on a filesystem that keeps no birth times; there, every synced write syncs all directories above.
fn identify(directory: &OwnedFd) -> Result<Option<Identity>> {
    let stat = statx(directory, "", AtFlags::EMPTY_PATH, StatxFlags::INO | StatxFlags::BTIME)?;
    let has_birth = stat.stx_mask & StatxFlags::BTIME.bits() != 0;
    Ok(has_birth.then_some(Identity {
        device: (stat.stx_dev_major, stat.stx_dev_minor),
        inode: stat.stx_ino,
        birth: (stat.stx_btime.tv_sec, stat.stx_btime.tv_nsec),
    }))
}
