//! Where does the object of a key lie, and what does an error there mean?

use rustix::io::Errno;

use super::staging::STAGING_DIRECTORY;
use crate::{Error, ObjectKey, Result};

/// The longest name of a directory entry on every filesystem that matters (`NAME_MAX` in *limits.h(0P)*).
const NAME_BYTES_MAX: usize = 255;

/// What ext4 and its kin keep in the root of a filesystem, where only the superuser may look into it.
const LOST_AND_FOUND: &str = "lost+found";

const BELOW_AN_OBJECT: &str =
    "an object has the name of one of its directories (`a` and `a/b` cannot both exist in a directory tree)";
const ABOVE_AN_OBJECT: &str = "there are objects below it (`a` and `a/b` cannot both exist in a directory tree)";
const LONG_COMPONENT: &str = "a component is longer than 255 bytes";
const RESERVED: &str = "the name of its first component is reserved";

/// Where an object lies: a path below the root.
#[derive(Clone, Debug)]
pub(super) struct Place {
    key: ObjectKey,
}

impl Place {
    /// The place of an object that is to be written.
    pub(super) fn to_write(key: &ObjectKey) -> Result<Self> {
        let refused = if key.components().next().is_some_and(is_reserved) {
            RESERVED
        } else if key.components().any(|component| component.len() > NAME_BYTES_MAX) {
            LONG_COMPONENT
        } else {
            return Ok(Self { key: key.clone() });
        };
        Err(Error::UnsupportedKey { key: key.clone(), reason: refused })
    }

    /// The place of an object that is to be read; what cannot be written is not found.
    pub(super) fn to_read(key: &ObjectKey) -> Result<Self> {
        Self::to_write(key).map_err(|_| Error::NotFound { key: key.clone() })
    }

    pub(super) fn key(&self) -> &ObjectKey {
        &self.key
    }

    pub(super) fn path(&self) -> &str {
        self.key.as_str()
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

    /// Objects lie below this one.
    pub(super) fn above_an_object(&self) -> Error {
        Error::UnsupportedKey { key: self.key.clone(), reason: ABOVE_AN_OBJECT }
    }

    pub(super) fn read_error(&self, errno: Errno) -> Error {
        match errno {
            Errno::NOENT | Errno::NOTDIR | Errno::NAMETOOLONG => self.not_found(),
            Errno::LOOP => self.corrupt("a symbolic link is in its path"),
            _ => Error::from_io(errno.into(), "reading", self.path()),
        }
    }

    pub(super) fn write_error(&self, errno: Errno) -> Error {
        let reason = match errno {
            Errno::NOTDIR => BELOW_AN_OBJECT,
            Errno::NAMETOOLONG => LONG_COMPONENT,
            Errno::LOOP => return self.corrupt("a symbolic link is in its path"),
            _ => return Error::from_io(errno.into(), "writing", self.path()),
        };
        Error::UnsupportedKey { key: self.key.clone(), reason }
    }
}

/// Whether a name directly below the root can be no object's.
pub(super) fn is_reserved(name: &str) -> bool {
    name == STAGING_DIRECTORY || name == LOST_AND_FOUND
}

/// The path of the directory, empty for the root, and the name in it.
pub(super) fn split_last(path: &str) -> (&str, &str) {
    path.rsplit_once('/').unwrap_or(("", path))
}
