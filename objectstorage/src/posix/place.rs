//! Where does the object of a key lie, and what does an error there mean?

use std::borrow::Cow;

use rustix::io::Errno;

use super::{
    layout::{Layout, Obstacle},
    root::split_last,
    staging::STAGING_DIRECTORY,
};
use crate::{Error, ObjectKey, Result};

/// The longest name of a directory entry on every filesystem that matters (`NAME_MAX` in *limits.h(0P)*).
pub(crate) const NAME_BYTES_MAX: usize = 255;

/// What ext4 and its kin keep in the root of a filesystem, where only the superuser may look into it.
const LOST_AND_FOUND: &str = "lost+found";

/// Where an object lies: a path below the root.
#[derive(Clone, Debug)]
pub(super) struct Place {
    key: ObjectKey,
    /// The path, where it is not the key itself.
    path: Option<String>,
    layout: &'static dyn Layout,
}

impl Place {
    /// The place of an object that is to be written.
    pub(super) fn to_write(layout: &'static dyn Layout, key: &ObjectKey) -> Result<Self> {
        let path = match layout.path(key) {
            Ok(Cow::Borrowed(_)) => None,
            Ok(Cow::Owned(path)) => Some(path),
            Err(reason) => return Err(Error::UnsupportedKey { key: key.clone(), reason }),
        };
        Ok(Self { key: key.clone(), path, layout })
    }

    /// The place of an object that is to be read; what cannot be written is not found.
    pub(super) fn to_read(layout: &'static dyn Layout, key: &ObjectKey) -> Result<Self> {
        Self::to_write(layout, key).map_err(|_| Error::NotFound { key: key.clone() })
    }

    pub(super) fn key(&self) -> &ObjectKey {
        &self.key
    }

    /// The key as text, for errors.
    pub(super) fn name(&self) -> &str {
        self.key.as_str()
    }

    /// Where it lies below the root.
    pub(super) fn path(&self) -> &str {
        self.path.as_deref().unwrap_or(self.name())
    }

    /// The path of the directory and the name in it.
    pub(super) fn split(&self) -> (&str, &str) {
        split_last(self.path())
    }

    pub(super) fn not_found(&self) -> Error {
        Error::NotFound { key: self.key.clone() }
    }

    pub(super) fn already_exists(&self) -> Error {
        Error::AlreadyExists { key: self.key.clone() }
    }

    pub(super) fn corrupt(&self, reason: impl Into<String>) -> Error {
        Error::Corrupt { key: self.key.clone(), reason: reason.into() }
    }

    /// It may not be written, because of what is in its way.
    pub(super) fn refused(&self, obstacle: Obstacle) -> Error {
        self.layout.refusal(&self.key, obstacle)
    }

    pub(super) fn read_error(&self, errno: Errno) -> Error {
        match errno {
            Errno::NOENT | Errno::NOTDIR | Errno::NAMETOOLONG => self.not_found(),
            Errno::LOOP => self.corrupt("a symbolic link is in its path"),
            _ => Error::from_io(errno.into(), "reading", self.name()),
        }
    }

    pub(super) fn write_error(&self, errno: Errno) -> Error {
        match errno {
            Errno::NOTDIR => self.refused(Obstacle::NoDirectory),
            Errno::NAMETOOLONG => self.refused(Obstacle::LongName),
            Errno::LOOP => self.corrupt("a symbolic link is in its path"),
            _ => Error::from_io(errno.into(), "writing", self.name()),
        }
    }
}

/// Whether a name directly below the root can be no object's.
pub(super) fn is_reserved(name: &str) -> bool {
    name == STAGING_DIRECTORY || name == LOST_AND_FOUND
}
