//! How are keys listed in order, without walking what was not asked for?
//!
//! Depth first, one sorted directory at a time. A directory sorts as its name with a slash behind it, because that is
//! how its keys go on: `a-b` (file) < `a.b` (file) < `a/` (directory) < `a0` (file). What is in memory is the names of
//! the directories on the way down; sizes are asked for when their turn comes.

use std::vec;

use rustix::{
    fd::{AsFd, OwnedFd},
    fs::{AtFlags, Dir, FileType, statat},
    io::{Errno, Result},
};

use super::{
    layout::{Directory, Layout},
    place::is_reserved,
    root::{Root, kind},
};
use crate::{Error, ListDepth, ListEntry, ListRequest, ObjectMeta};

/// How many entries are handed out at a time, and how many names are looked at before that.
const PAGE_ENTRIES: usize = 256;
const PAGE_STEPS: usize = 1_024;

/// A listing and how far it has come.
pub(super) struct Walk {
    layout: &'static dyn Layout,
    request: ListRequest,
    /// What the paths of the keys that were asked for begin with.
    beginning: String,
    /// What they come after.
    after: Option<String>,
    /// The directory that holds everything with the prefix, until it has been opened.
    start: Option<String>,
    levels: Vec<Level>,
    /// The directories that were opened, each time.
    #[cfg(test)]
    pub(super) opened: std::cell::RefCell<Vec<String>>,
}

/// A directory on the way down.
struct Level {
    /// Its path, with a slash at its end unless it is the root.
    path: String,
    /// What is left of it, in order; a directory's name has a slash at its end.
    names: vec::IntoIter<String>,
    /// Closed while something below is being listed, so that a deep tree does not use up the descriptors.
    directory: Option<OwnedFd>,
}

impl Walk {
    pub(super) fn new(layout: &'static dyn Layout, request: ListRequest) -> Self {
        let beginning = layout.beginning(&request.prefix);
        let directory = |path: &String| path[..path.rfind('/').map_or(0, |slash| slash + 1)].to_owned();
        Self {
            layout,
            start: beginning.as_ref().map(directory),
            beginning: beginning.unwrap_or_default(),
            after: request.start_after.as_deref().map(|text| layout.position(text)),
            request,
            levels: Vec::new(),
            #[cfg(test)]
            opened: std::cell::RefCell::default(),
        }
    }

    pub(super) fn is_done(&self) -> bool {
        self.start.is_none() && self.levels.is_empty()
    }

    /// The next entries; there may be none although the listing goes on.
    pub(super) fn page(&mut self, root: &Root) -> crate::Result<Vec<ListEntry>> {
        let page = self.advance(root);
        page.map_err(|errno| Error::from_io(errno.into(), "listing", self.request.prefix.clone()))
    }

    fn advance(&mut self, root: &Root) -> Result<Vec<ListEntry>> {
        if let Some(start) = self.start.take() {
            self.descend(root, start)?;
        }
        let mut entries = Vec::new();
        for _ in 0..PAGE_STEPS {
            if entries.len() == PAGE_ENTRIES {
                break;
            }
            let Some(level) = self.levels.last_mut() else { break };
            let Some(name) = level.names.next() else {
                self.levels.pop();
                continue;
            };
            let full = format!("{}{name}", level.path);
            if !name.ends_with('/') {
                entries.extend(level.describe(root, self.layout, &name, &full)?.map(ListEntry::Object));
                continue;
            }
            let directory = match self.request.depth {
                ListDepth::Recursive => Directory::Part,
                ListDepth::OneLevel => self.layout.directory(&full),
            };
            match directory {
                Directory::Part => {
                    level.directory = None;
                    self.descend(root, full)?;
                }
                Directory::Prefix(prefix) if self.holds_anything(root, &full)? => {
                    entries.push(ListEntry::Prefix(prefix));
                }
                Directory::Prefix(_) | Directory::Foreign => {}
            }
        }
        Ok(entries)
    }

    fn descend(&mut self, root: &Root, path: String) -> Result<()> {
        if let Some((directory, mut names)) = self.read(root, &path)? {
            names.sort_unstable();
            names.dedup();
            self.levels.push(Level { path, names: names.into_iter(), directory: Some(directory) });
        }
        Ok(())
    }

    /// The names in a directory that were asked for; `None` if it is gone.
    fn read(&self, root: &Root, path: &str) -> Result<Option<(OwnedFd, Vec<String>)>> {
        let Some(directory) = self.open(root, path)? else { return Ok(None) };
        let mut names = Vec::new();
        for_each_name(&directory, path, |name| {
            if self.is_wanted(path, &name) {
                names.push(name);
            }
            true
        })?;
        Ok(Some((directory, names)))
    }

    fn open(&self, root: &Root, path: &str) -> Result<Option<OwnedFd>> {
        #[cfg(test)]
        self.opened.borrow_mut().push(path.to_owned());
        open(root, path)
    }

    /// Whether there is a key below `path` that was asked for. Directories may be empty, after a crash for one.
    fn holds_anything(&self, root: &Root, path: &str) -> Result<bool> {
        let Some(directory) = self.open(root, path)? else { return Ok(false) };
        let mut is_found = false;
        let mut below = Vec::new();
        for_each_name(&directory, path, |name| {
            if self.is_wanted(path, &name) {
                match name.ends_with('/') {
                    true => below.push(name),
                    false => is_found = self.layout.key(&format!("{path}{name}")).is_some(),
                }
            }
            !is_found
        })?;
        drop(directory);
        for name in below {
            if is_found {
                break;
            }
            is_found = self.holds_anything(root, &format!("{path}{name}"))?;
        }
        Ok(is_found)
    }

    fn is_wanted(&self, path: &str, name: &str) -> bool {
        if path.is_empty() && is_reserved(name.trim_end_matches('/')) {
            return false;
        }
        let full = format!("{path}{name}");
        full.starts_with(&self.beginning) && is_after(&full, self.after.as_deref())
    }
}

impl Level {
    /// `None` if the object is gone.
    fn describe(&mut self, root: &Root, layout: &dyn Layout, name: &str, full: &str) -> Result<Option<ObjectMeta>> {
        let Some(key) = layout.key(full) else { return Ok(None) };
        if self.directory.is_none() {
            self.directory = open(root, &self.path)?;
        }
        let Some(directory) = &self.directory else { return Ok(None) };
        match statat(directory, name, AtFlags::SYMLINK_NOFOLLOW) {
            Ok(stat) if FileType::from_raw_mode(stat.st_mode) == FileType::RegularFile => {
                Ok(Some(ObjectMeta::new(key, stat.st_size as u64)))
            }
            Ok(_) | Err(Errno::NOENT) => Ok(None),
            Err(errno) => Err(errno),
        }
    }
}

/// Whether `full`, or something below it if it ends with a slash, comes after `start_after`.
fn is_after(full: &str, start_after: Option<&str>) -> bool {
    let Some(start_after) = start_after else { return true };
    full > start_after || (full.ends_with('/') && start_after.starts_with(full))
}

/// `None` if it is no directory, or no longer.
fn open(root: &Root, path: &str) -> Result<Option<OwnedFd>> {
    match root.open_directory(path.trim_end_matches('/')) {
        Ok(directory) => Ok(Some(directory)),
        Err(Errno::NOENT | Errno::NOTDIR | Errno::LOOP | Errno::NAMETOOLONG) => Ok(None),
        Err(errno) => Err(errno),
    }
}

/// Calls `visit` with every name that can be part of a key, directories with a slash, until it says `false`.
fn for_each_name(directory: &OwnedFd, path: &str, mut visit: impl FnMut(String) -> bool) -> Result<()> {
    for entry in Dir::read_from(directory)? {
        let entry = match entry {
            // What a removed directory says.
            Err(Errno::NOENT) => return Ok(()),
            entry => entry?,
        };
        let Ok(name) = entry.file_name().to_str() else {
            tracing::debug!(directory = path, "a name that is not UTF-8 was passed over");
            continue;
        };
        if matches!(name, "." | "..") {
            continue;
        }
        let kind = match entry.file_type() {
            FileType::Unknown => kind(directory.as_fd(), name)?,
            kind => Some(kind),
        };
        let name = match kind {
            Some(FileType::RegularFile) => name.to_owned(),
            Some(FileType::Directory) => format!("{name}/"),
            _ => continue,
        };
        if !visit(name) {
            break;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_directory_is_walked_only_if_keys_below_it_can_come_after_the_start() {
        for (full, start_after, expected) in [
            ("a/", "a", true),
            ("a/", "a/", true),
            ("a/", "a/b/c", true),
            ("a/", "a-b", true),
            ("a/", "a0", false),
            ("a/", "b", false),
            ("a", "a", false),
            ("b", "a/zzz", true),
        ] {
            assert_eq!(is_after(full, Some(start_after)), expected, "{full} after {start_after}");
        }
    }
}
