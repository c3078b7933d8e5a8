//! Which path belongs to which key? The seam between the storages in a directory: all else is common to them.

use std::{borrow::Cow, fmt};

use super::{
    place::{NAME_BYTES_MAX, is_reserved},
    root::split_last,
};
use crate::{Error, ObjectKey};

/// How keys are laid out as paths below the root.
///
/// Paths order as their keys do, if a directory is compared with a slash at its end: so a walk lists keys in order
/// without knowing them.
pub(crate) trait Layout: fmt::Debug + Send + Sync + 'static {
    /// Which storage has it.
    fn format(&self) -> Format;

    /// Where the object of `key` lies, or why it has no place, as a phrase.
    fn path<'k>(&self, key: &'k ObjectKey) -> Result<Cow<'k, str>, &'static str>;

    /// Whose object lies at `path`; `None` if no key's does.
    fn key(&self, path: &str) -> Option<ObjectKey>;

    /// What the directory at `path`, which ends with a slash, is in a listing of one level.
    fn directory(&self, path: &str) -> Directory;

    /// What the paths of all keys that begin with `text` begin with; `None` if there can be no such key.
    fn beginning(&self, text: &str) -> Option<String>;

    /// A path with the place in the order that `text` has among the keys, whether it is one or not.
    fn position(&self, text: &str) -> String;

    /// What it means that `obstacle` is in the way of a write.
    fn refusal(&self, key: &ObjectKey, obstacle: Obstacle) -> Error;
}

/// A storage in a directory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Format {
    Posix,
    PosixFlat,
}

impl Format {
    pub(super) const ALL: [Self; 2] = [Self::Posix, Self::PosixFlat];

    /// How it is called in a directory's marker.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Posix => "posix",
            Self::PosixFlat => "posixflat",
        }
    }

    /// How it is called in code.
    pub(super) fn storage(self) -> &'static str {
        match self {
            Self::Posix => "PosixStorage",
            Self::PosixFlat => "PosixFlatStorage",
        }
    }

    /// Whether any file in a directory without a marker is one of its objects.
    pub(super) fn adopts_anything(self) -> bool {
        self == Self::Posix
    }
}

/// What a directory is in a listing of one level.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Directory {
    /// The keys below it begin with this, which ends with a slash.
    Prefix(String),
    /// The keys below it go on without a slash.
    Part,
    /// No key's.
    Foreign,
}

/// What can be in the way of a write.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Obstacle {
    /// A directory above is something else.
    NoDirectory,
    /// There is a directory, and it is not empty.
    FullDirectory,
    /// The filesystem finds a name too long.
    LongName,
}

/// The path is the key.
#[derive(Clone, Copy, Debug)]
pub(super) struct Tree;

const LONG_COMPONENT: &str = "a component is longer than 255 bytes";
const BELOW_AN_OBJECT: &str =
    "an object has the name of one of its directories (`a` and `a/b` cannot both exist in a directory tree)";
const ABOVE_AN_OBJECT: &str = "there are objects below it (`a` and `a/b` cannot both exist in a directory tree)";
const RESERVED: &str = "the name of its first component is reserved";

impl Layout for Tree {
    fn format(&self) -> Format {
        Format::Posix
    }

    fn path<'k>(&self, key: &'k ObjectKey) -> Result<Cow<'k, str>, &'static str> {
        if key.components().next().is_some_and(is_reserved) {
            Err(RESERVED)
        } else if key.components().any(|component| component.len() > NAME_BYTES_MAX) {
            Err(LONG_COMPONENT)
        } else {
            Ok(Cow::Borrowed(key.as_str()))
        }
    }

    fn key(&self, path: &str) -> Option<ObjectKey> {
        // Longer than a key can be: not written by us.
        ObjectKey::parse(path).ok()
    }

    fn directory(&self, path: &str) -> Directory {
        Directory::Prefix(path.to_owned())
    }

    fn beginning(&self, text: &str) -> Option<String> {
        // A directory that no key can have is not even looked for: it might lead elsewhere.
        let is_within = match split_last(text) {
            ("", name) => name == text,
            (directory, _) => ObjectKey::parse(directory)
                .is_ok_and(|directory| !directory.components().next().is_some_and(is_reserved)),
        };
        is_within.then(|| text.to_owned())
    }

    fn position(&self, text: &str) -> String {
        text.to_owned()
    }

    fn refusal(&self, key: &ObjectKey, obstacle: Obstacle) -> Error {
        let reason = match obstacle {
            Obstacle::NoDirectory => BELOW_AN_OBJECT,
            Obstacle::FullDirectory => ABOVE_AN_OBJECT,
            Obstacle::LongName => LONG_COMPONENT,
        };
        Error::UnsupportedKey { key: key.clone(), reason }
    }
}
