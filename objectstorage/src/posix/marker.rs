//! Which storage does a directory belong to?
//!
//! Opened with another layout, a directory would look empty. So the first to open it writes down what it is, in
//! `<root>/.runyard-staging/format`, and everybody after that reads it. A directory that says nothing was written by an
//! older version, restored without that file, or is somebody's own; it is taken as what it may be.

use std::{
    fs::{self, File},
    io::{self, Read},
    path::{Path, PathBuf},
};

use rustix::{
    fs::{Mode, OFlags, openat},
    io::Errno,
};

use super::{
    calls::{Calls, Syncing, at},
    layout::{Format, Layout},
    open::{Step, unusable},
    place::is_reserved,
    staging::Common,
};
use crate::{Error, Result};

const MARKER: &str = "format";
const UNFINISHED: &str = "format.new";

/// What a marker is read up to; the longest of ours is far shorter.
const MARKER_BYTES_MAX: u64 = 256;

/// Makes sure that the directory belongs to this layout.
pub(super) fn claim(root: &Path, common: &Common, layout: &dyn Layout, calls: &Calls) -> Result<()> {
    let failed = |error: io::Error| unusable(root, Step::Staging, error);
    match read(common).map_err(failed)? {
        Some(found) if found == line(layout.format()) => Ok(()),
        Some(found) => Err(refused(root, foreign(&found, layout.format()))),
        None => match first_foreign(root, layout).map_err(failed)? {
            Some(path) => Err(refused(root, unlike(&path, layout.format()))),
            None => write(common, layout.format(), calls).map_err(failed),
        },
    }
}

fn line(format: Format) -> String {
    format!("runyard {} 1\n", format.name())
}

fn refused(root: &Path, reason: String) -> Error {
    Error::Unusable { message: format!("cannot keep objects in {}: {reason}", root.display()), source: None }
}

fn foreign(found: &str, wanted: Format) -> String {
    match Format::ALL.into_iter().find(|format| line(*format) == found) {
        Some(format) => format!(
            "it belongs to a {}, and its objects would not be seen by a {}; open it as what it is, or name another \
             directory",
            format.storage(),
            wanted.storage(),
        ),
        None => format!(
            "it says that its format is `{}`, which this version does not know; use the version that wrote it, or \
             name another directory",
            found.trim_end().escape_debug(),
        ),
    }
}

fn unlike(path: &Path, wanted: Format) -> String {
    format!(
        "it holds `{}`, which is no object of a {}; open it as a {}, or name an empty directory",
        path.display(),
        wanted.storage(),
        Format::Posix.storage(),
    )
}

fn read(common: &Common) -> io::Result<Option<String>> {
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let file = match openat(common.directory(), MARKER, flags, Mode::empty()) {
        Err(Errno::NOENT) => return Ok(None),
        opened => File::from(opened?),
    };
    let mut found = Vec::new();
    file.take(MARKER_BYTES_MAX).read_to_end(&mut found)?;
    Ok(Some(String::from_utf8_lossy(&found).into_owned()))
}

/// The marker appears whole or not at all, like an object.
fn write(common: &Common, format: Format, calls: &Calls) -> io::Result<()> {
    let directory = common.directory();
    match calls.remove_file(at(directory, UNFINISHED)) {
        Ok(()) | Err(Errno::NOENT) => {}
        Err(errno) => return Err(errno.into()),
    }
    let file = File::from(calls.create_file(at(directory, UNFINISHED), OFlags::WRONLY | OFlags::EXCL)?);
    calls.write(&file, &[line(format).into()])?;
    calls.sync(&file, Syncing::File)?;
    calls.rename(at(directory, UNFINISHED), at(directory, MARKER))?;
    // The root, which names this directory, is synced when all of the opening is done.
    Ok(calls.sync(directory, Syncing::Directory)?)
}

/// A file that no storage of this layout wrote, looked for in each name of the root.
fn first_foreign(root: &Path, layout: &dyn Layout) -> io::Result<Option<PathBuf>> {
    if layout.format().adopts_anything() {
        return Ok(None);
    }
    for entry in fs::read_dir(root)? {
        let entry = entry?;
        if entry.file_name().to_str().is_some_and(is_reserved) {
            continue;
        }
        let file = match entry.file_type()?.is_dir() {
            true => first_file(&entry.path())?,
            false => Some(entry.path()),
        };
        let below_root = file.as_deref().and_then(|file| file.strip_prefix(root).ok());
        if let Some(path) = below_root
            && path.to_str().and_then(|path| layout.key(path)).is_none()
        {
            return Ok(Some(path.to_owned()));
        }
    }
    Ok(None)
}

fn first_file(directory: &Path) -> io::Result<Option<PathBuf>> {
    for entry in fs::read_dir(directory)? {
        let entry = entry?;
        match entry.file_type()?.is_dir() {
            true => match first_file(&entry.path())? {
                None => {}
                found => return Ok(found),
            },
            false => return Ok(Some(entry.path())),
        }
    }
    Ok(None)
}
