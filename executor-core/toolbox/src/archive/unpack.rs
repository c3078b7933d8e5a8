//! How does an archive become files, without one of them outside of the destination?
//!
//! Every name is walked from the destination's descriptor, directory by directory, and no symlink is followed: neither
//! one of the archive nor one that was there before. So there is nothing to check and then to race with.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Read};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};

use rustix::fs::{
    AtFlags, CWD, Gid, Mode, OFlags, Timespec, Timestamps, UTIME_OMIT, Uid, fchmod, fchown, futimens, linkat, mkdirat,
    openat, readlinkat, statat, symlinkat, unlinkat, utimensat,
};
use rustix::io::Errno;
use tar::{Entry, EntryType};

use super::glob::relative;
use super::{Error, at};

/// How an archive is unpacked.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct UnpackOptions {
    /// Whether a file that is already there is replaced (caches), rather than compared (workspaces).
    pub overwrite: bool,
}

/// Unpacks the archive in `reader` into `dest`, which is made if it does not exist. Directories merge.
///
/// # Errors
/// [`Error::LeavesDestination`] for a name that is absolute, contains `..`, or goes through a symlink;
/// [`Error::Conflict`] for a file that is there with other content, unless `overwrite`. What was unpacked until then
/// stays.
pub fn unpack(reader: impl Read, dest: &Path, options: UnpackOptions) -> Result<(), Error> {
    std::fs::create_dir_all(dest).map_err(at("cannot create", dest))?;
    let root = openat(CWD, dest, OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty());
    let root = root.map_err(|error| at("cannot open", dest)(error.into()))?;
    let mut unpacking =
        Unpacking { root, options, is_root: rustix::process::geteuid().is_root(), directories: BTreeMap::new() };
    let damaged = |source| Error::Stream { doing: "cannot read the archive", source };
    let mut archive = tar::Archive::new(zstd::Decoder::new(reader).map_err(damaged)?);
    for entry in archive.entries().map_err(damaged)? {
        unpacking.entry(&mut entry.map_err(damaged)?)?;
    }
    // The end of the stream is part of the archive: a cut one is damaged, even where its last entry is whole.
    io::copy(&mut archive.into_inner(), &mut io::sink()).map_err(damaged)?;
    unpacking.finish_directories()
}

struct Unpacking {
    root: OwnedFd,
    options: UnpackOptions,
    is_root: bool,
    /// Modes and mtimes of directories come last: writing into them changes the one and may need the other.
    directories: BTreeMap<PathBuf, Attributes>,
}

#[derive(Clone, Copy)]
struct Attributes {
    mode: u32,
    owner: (u32, u32),
    mtime: Timespec,
}

impl Attributes {
    fn of(entry: &mut Entry<'_, impl Read>) -> io::Result<Self> {
        let mut mtime = Timespec { tv_sec: i64::try_from(entry.header().mtime()?).unwrap_or(i64::MAX), tv_nsec: 0 };
        for extension in entry.pax_extensions()?.into_iter().flatten() {
            let extension = extension?;
            if extension.key_bytes() == b"mtime" {
                mtime = extension.value().ok().and_then(parse_mtime).unwrap_or(mtime);
            }
        }
        let id = |id: u64| u32::try_from(id).unwrap_or(u32::MAX - 1);
        let header = entry.header();
        Ok(Self { mode: header.mode()?, owner: (id(header.uid()?), id(header.gid()?)), mtime })
    }

    fn times(&self) -> Timestamps {
        Timestamps { last_access: Timespec { tv_sec: 0, tv_nsec: UTIME_OMIT }, last_modification: self.mtime }
    }
}

fn parse_mtime(text: &str) -> Option<Timespec> {
    let (seconds, fraction) = text.split_once('.').unwrap_or((text, ""));
    let digits: String = fraction.chars().chain("000000000".chars()).take(9).collect();
    let (seconds, nanos): (i64, i64) = (seconds.parse().ok()?, digits.parse().ok()?);
    // "-0.5" has its sign in the text only.
    if text.starts_with('-') && nanos > 0 {
        return Some(Timespec { tv_sec: seconds.checked_sub(1)?, tv_nsec: 1_000_000_000 - nanos });
    }
    Some(Timespec { tv_sec: seconds, tv_nsec: nanos })
}

impl Unpacking {
    fn entry(&mut self, entry: &mut Entry<'_, impl Read>) -> Result<(), Error> {
        let path = entry.path().map_err(|source| Error::Stream { doing: "cannot read a name", source })?.into_owned();
        let failed = at("cannot unpack", &path);
        let inside = self.inside(&path, &path)?;
        let kind = entry.header().entry_type();
        if kind == EntryType::XGlobalHeader {
            return Ok(());
        }
        let attributes = Attributes::of(entry).map_err(&failed)?;
        let Some(name) = inside.file_name() else { return Ok(()) };
        let parent = self.parent(&inside, &path)?;
        let parent = parent.as_fd();
        let name = Path::new(name);
        let link = entry.link_name_bytes().map(|link| PathBuf::from(std::ffi::OsStr::from_bytes(&link)));
        match (kind, link) {
            (EntryType::Directory, _) => {
                if !self.directory(parent, name).map_err(&failed)? {
                    return Err(Error::Conflict { path: path.clone() });
                }
                self.directories.insert(inside, attributes);
                Ok(())
            }
            (EntryType::Regular | EntryType::Continuous | EntryType::GNUSparse, _) => {
                let created = self.file(parent, name, entry).map_err(&failed)?;
                let file = match created {
                    Created::New(file) => file,
                    Created::Same => return Ok(()),
                    Created::Different => return Err(Error::Conflict { path: path.clone() }),
                };
                self.set_attributes(&file, &attributes).map_err(failed)
            }
            (EntryType::Symlink, Some(target)) => {
                if self.make_room(parent, name).map_err(&failed)? {
                    symlinkat(&target, parent, name).map_err(|error| failed(error.into()))?;
                    let times = attributes.times();
                    utimensat(parent, name, &times, AtFlags::SYMLINK_NOFOLLOW).map_err(|error| failed(error.into()))?;
                    return Ok(());
                }
                match readlinkat(parent, name, Vec::new()) {
                    Ok(found) if found.as_bytes() == target.as_os_str().as_bytes() => Ok(()),
                    _ => Err(Error::Conflict { path: path.clone() }),
                }
            }
            (EntryType::Link, Some(target)) => self.hard_link(parent, name, &path, &target),
            _ => Err(Error::UnsupportedEntry { path: path.clone() }),
        }
    }

    // A name of the archive, below the destination. `entry` is what an error names.
    fn inside(&self, path: &Path, entry: &Path) -> Result<PathBuf, Error> {
        let leaves = |message: &str| Error::LeavesDestination { path: entry.to_owned(), message: message.into() };
        if path.is_absolute() {
            return Err(leaves("its name is absolute"));
        }
        relative(path).ok_or_else(|| leaves("its name contains `..`"))
    }

    // The directory that holds `inside`, made where it is missing.
    fn parent(&self, inside: &Path, entry: &Path) -> Result<OwnedFd, Error> {
        let failed = at("cannot unpack", entry);
        let mut dir = self.root.try_clone().map_err(&failed)?;
        for name in inside.parent().into_iter().flatten() {
            let flags = OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
            let mut next = openat(&dir, name, flags, Mode::empty());
            if matches!(next, Err(Errno::NOENT)) {
                mkdirat(&dir, name, Mode::from_raw_mode(0o777)).map_err(|error| failed(error.into()))?;
                next = openat(&dir, name, flags, Mode::empty());
            }
            dir = match next {
                Ok(next) => next,
                Err(Errno::LOOP | Errno::NOTDIR) => {
                    let message = format!("`{}` is a symlink or no directory", Path::new(name).display());
                    return Err(Error::LeavesDestination { path: entry.to_owned(), message });
                }
                Err(error) => return Err(failed(error.into())),
            };
        }
        Ok(dir)
    }

    /// Whether there is a directory of this name now, rather than something else.
    fn directory(&self, parent: BorrowedFd<'_>, name: &Path) -> io::Result<bool> {
        loop {
            match mkdirat(parent, name, Mode::from_raw_mode(0o777)) {
                Ok(()) => return Ok(true),
                Err(Errno::EXIST) if is_directory(parent, name)? => return Ok(true),
                Err(Errno::EXIST) if self.options.overwrite => unlinkat(parent, name, AtFlags::empty())?,
                Err(Errno::EXIST) => return Ok(false),
                Err(error) => return Err(error.into()),
            }
        }
    }

    /// Whether the name is free now; what is there is removed only to be overwritten.
    fn make_room(&self, parent: BorrowedFd<'_>, name: &Path) -> io::Result<bool> {
        if self.options.overwrite {
            return match unlinkat(parent, name, AtFlags::empty()) {
                Ok(()) | Err(Errno::NOENT) => Ok(true),
                Err(error) => Err(error.into()),
            };
        }
        match statat(parent, name, AtFlags::SYMLINK_NOFOLLOW) {
            Ok(_) => Ok(false),
            Err(Errno::NOENT) => Ok(true),
            Err(error) => Err(error.into()),
        }
    }

    fn file(&self, parent: BorrowedFd<'_>, name: &Path, content: &mut impl Read) -> io::Result<Created> {
        if !self.make_room(parent, name)? {
            let there = open_file(parent, name)?;
            let same = match there {
                Some(there) => same_content(content, there)?,
                None => false,
            };
            return Ok(if same { Created::Same } else { Created::Different });
        }
        let flags = OFlags::CREATE | OFlags::EXCL | OFlags::WRONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let mut file = File::from(openat(parent, name, flags, Mode::from_raw_mode(0o600))?);
        io::copy(content, &mut file)?;
        Ok(Created::New(file))
    }

    fn hard_link(&self, parent: BorrowedFd<'_>, name: &Path, path: &Path, target: &Path) -> Result<(), Error> {
        let failed = at("cannot unpack", path);
        let target = self.inside(target, path)?;
        let target_dir = self.parent(&target, path)?;
        let target_name = Path::new(target.file_name().unwrap_or_default());
        let io_failed = |error: Errno| failed(error.into());
        let stat = |dir: BorrowedFd<'_>, name: &Path| statat(dir, name, AtFlags::SYMLINK_NOFOLLOW);
        let target_inode = stat(target_dir.as_fd(), target_name).map_err(io_failed)?;
        if stat(parent, name)
            .is_ok_and(|there| (there.st_dev, there.st_ino) == (target_inode.st_dev, target_inode.st_ino))
        {
            return Ok(());
        }
        if self.make_room(parent, name).map_err(&failed)? {
            return linkat(&target_dir, target_name, parent, name, AtFlags::empty()).map_err(io_failed);
        }
        let (there, wanted) = (open_file(parent, name), open_file(target_dir.as_fd(), target_name));
        match (there.map_err(&failed)?, wanted.map_err(&failed)?) {
            (Some(there), Some(wanted)) if same_content(&mut &wanted, &there).map_err(&failed)? => Ok(()),
            _ => Err(Error::Conflict { path: path.to_owned() }),
        }
    }

    fn set_attributes(&self, file: &impl AsFd, attributes: &Attributes) -> io::Result<()> {
        // Set-user-id bits mean something only together with the owner.
        let mode = attributes.mode & if self.is_root { 0o7777 } else { 0o1777 };
        if self.is_root {
            let (uid, gid) = attributes.owner;
            // Not every file system has owners.
            let _ = fchown(file, Some(Uid::from_raw(uid)), Some(Gid::from_raw(gid)));
        }
        fchmod(file, Mode::from_raw_mode(mode))?;
        futimens(file, &attributes.times())?;
        Ok(())
    }

    // Children before parents: a parent's mode may forbid to reach them.
    fn finish_directories(self) -> Result<(), Error> {
        for (path, attributes) in self.directories.iter().rev() {
            let failed = at("cannot restore the attributes of", path);
            let parent = self.parent(path, path)?;
            let name = path.file_name().unwrap_or_default();
            let flags = OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
            let dir = openat(&parent, name, flags, Mode::empty()).map_err(|error| failed(error.into()))?;
            self.set_attributes(&dir, attributes).map_err(failed)?;
        }
        Ok(())
    }
}

enum Created {
    New(File),
    Same,
    Different,
}

fn is_directory(parent: BorrowedFd<'_>, name: &Path) -> io::Result<bool> {
    let stat = statat(parent, name, AtFlags::SYMLINK_NOFOLLOW)?;
    Ok(rustix::fs::FileType::from_raw_mode(stat.st_mode).is_dir())
}

// `None` if it is no regular file.
fn open_file(parent: BorrowedFd<'_>, name: &Path) -> io::Result<Option<File>> {
    let stat = statat(parent, name, AtFlags::SYMLINK_NOFOLLOW)?;
    if !rustix::fs::FileType::from_raw_mode(stat.st_mode).is_file() {
        return Ok(None);
    }
    Ok(Some(File::from(openat(parent, name, OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC, Mode::empty())?)))
}

fn same_content(one: &mut impl Read, other: impl Read) -> io::Result<bool> {
    let mut other = io::BufReader::with_capacity(64 << 10, other);
    let (mut buffer, mut expected) = (vec![0; 64 << 10], vec![0; 64 << 10]);
    loop {
        let count = one.read(&mut buffer)?;
        if count == 0 {
            return Ok(other.read(&mut expected[..1])? == 0);
        }
        match other.read_exact(&mut expected[..count]) {
            Ok(()) if buffer[..count] == expected[..count] => {}
            Ok(()) => return Ok(false),
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(false),
            Err(error) => return Err(error),
        }
    }
}
