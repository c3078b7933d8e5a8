//! How is an object removed? With the directories that it leaves empty.

use rustix::io::Errno;

use super::{Store, calls::at, place::Place, root::split_last};
use crate::{Error, Result};

impl Store {
    pub(super) fn delete(&self, place: &Place) -> Result<()> {
        let failed = |errno: Errno| match errno {
            Errno::LOOP => place.corrupt("a symbolic link is in its path"),
            _ => Error::from_io(errno.into(), "deleting", place.name()),
        };
        let (parent, name) = place.split();
        let directory = match self.root.open_directory(parent) {
            Err(Errno::NOENT | Errno::NOTDIR | Errno::NAMETOOLONG) => return Ok(()),
            opened => opened.map_err(failed)?,
        };
        match self.calls.remove_file(at(&directory, name)) {
            Ok(()) => self.prune(parent),
            Err(Errno::NOENT | Errno::ISDIR | Errno::NAMETOOLONG) => {}
            Err(errno) => return Err(failed(errno)),
        }
        Ok(())
    }

    /// Removes a directory and those above it, as far as they are empty. What fails is merely left.
    fn prune(&self, path: &str) {
        let mut path = path;
        while !path.is_empty() {
            let (parent, name) = split_last(path);
            let Ok(directory) = self.root.open_directory(parent) else { return };
            if self.calls.remove_directory(at(&directory, name)).is_err() {
                return;
            }
            path = parent;
        }
    }
}
