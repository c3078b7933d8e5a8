//! How do files become an archive? First all names are collected and sorted, then the files are streamed.

use std::collections::{BTreeMap, HashMap};
use std::fs::{self, File, Metadata};
use std::io::{self, Read, Write};
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use tar::{Builder, EntryType, Header};

use super::glob::{Patterns, relative};
use super::{Error, PackContents, PackSpec, at};

/// The longest link target that a tar header itself can hold.
const LINK_MAX: usize = 100;

/// Writes the archive of `spec` to `writer`. Memory is bounded by the number of files, not by their size.
///
/// # Errors
/// [`Error`]; what was written until then is no whole archive.
pub fn pack(spec: &PackSpec, writer: impl Write) -> Result<(), Error> {
    let stream = |source| Error::Stream { doing: "cannot write the archive", source };
    let files = collect(spec)?;
    let mut archive = Archive {
        builder: Builder::new(zstd::Encoder::new(writer, zstd::DEFAULT_COMPRESSION_LEVEL).map_err(stream)?),
        links: HashMap::new(),
    };
    for (name, source) in &files {
        archive.append(name, source)?;
    }
    let mut writer = archive.builder.into_inner().and_then(zstd::Encoder::finish).map_err(stream)?;
    writer.flush().map_err(stream)
}

/// The files of the archive, by their name in it.
fn collect(spec: &PackSpec) -> Result<BTreeMap<PathBuf, PathBuf>, Error> {
    let expand = |path: &Path| crate::supervise::expand_home(path, &BTreeMap::new(), None);
    let working_dir = expand(&spec.working_dir);
    let mut files = BTreeMap::new();
    for PackContents { source_dir, dest_dir, paths } in &spec.contents {
        let bad_dest_dir = || Error::BadDestDir { dest_dir: dest_dir.clone() };
        let dest_dir = relative(Path::new(dest_dir)).ok_or_else(bad_dest_dir)?;
        let source_dir = working_dir.join(expand(Path::new(source_dir)));
        if !source_dir.is_dir() {
            return Err(Error::SourceDirNotFound { path: source_dir });
        }
        let patterns = Patterns::parse(paths)?;
        let mut unvisited = vec![PathBuf::new()];
        while let Some(dir) = unvisited.pop() {
            let source = source_dir.join(&dir);
            for entry in fs::read_dir(&source).map_err(at("cannot list", &source))? {
                let entry = entry.map_err(at("cannot list", &source))?;
                let path = dir.join(entry.file_name());
                let kind = entry.file_type().map_err(at("cannot read", &entry.path()))?;
                if patterns.matches(&path) {
                    files.insert(dest_dir.join(&path), entry.path());
                }
                if kind.is_dir() && patterns.may_match_below(&path) {
                    unvisited.push(path);
                }
            }
        }
    }
    Ok(files)
}

struct Archive<W: Write> {
    builder: Builder<W>,
    /// The name of the first of each set of hard links, by device and inode.
    links: HashMap<(u64, u64), PathBuf>,
}

impl<W: Write> Archive<W> {
    fn append(&mut self, name: &Path, source: &Path) -> Result<(), Error> {
        let failed = at("cannot pack", source);
        // Symlinks are not followed, also not by the open below.
        let metadata = fs::symlink_metadata(source).map_err(&failed)?;
        let kind = metadata.file_type();
        if kind.is_dir() {
            self.entry(name, &metadata, EntryType::Directory, None, io::empty()).map_err(failed)
        } else if kind.is_symlink() {
            let target = fs::read_link(source).map_err(&failed)?;
            self.entry(name, &metadata, EntryType::Symlink, Some(&target), io::empty()).map_err(failed)
        } else if kind.is_file() {
            let inode = (metadata.dev(), metadata.ino());
            if let Some(first) = self.links.get(&inode).cloned() {
                return self.entry(name, &metadata, EntryType::Link, Some(&first), io::empty()).map_err(failed);
            }
            if metadata.nlink() > 1 {
                self.links.insert(inode, name.to_owned());
            }
            let file = File::open(source).map_err(&failed)?;
            let metadata = file.metadata().map_err(&failed)?;
            let content = Exactly { file, left: metadata.len() };
            self.entry(name, &metadata, EntryType::Regular, None, content).map_err(failed)
        } else {
            Ok(())
        }
    }

    fn entry(
        &mut self,
        name: &Path,
        metadata: &Metadata,
        kind: EntryType,
        link: Option<&Path>,
        content: impl Read,
    ) -> io::Result<()> {
        let mut header = Header::new_gnu();
        header.set_metadata(metadata);
        header.set_entry_type(kind);
        if kind != EntryType::Regular {
            header.set_size(0);
        }
        // A tar header has whole seconds since 1970 only.
        let mtime = mtime(metadata);
        let mut extensions = vec![("mtime", mtime.as_bytes())];
        match link.map(|link| link.as_os_str().as_bytes()) {
            Some(link) if link.len() > LINK_MAX => extensions.push(("linkpath", link)),
            Some(link) => header.set_link_name_literal(link)?,
            None => {}
        }
        self.builder.append_pax_extensions(extensions)?;
        self.builder.append_data(&mut header, name, content)
    }
}

fn mtime(metadata: &Metadata) -> String {
    // Before 1970 the decimal fraction counts the other way.
    match (metadata.mtime(), metadata.mtime_nsec()) {
        (seconds, nanos) if seconds < 0 && nanos > 0 => format!("-{}.{:09}", -(seconds + 1), 1_000_000_000 - nanos),
        (seconds, nanos) => format!("{seconds}.{nanos:09}"),
    }
}

/// A file as long as its header says; what is appended meanwhile is left out.
struct Exactly {
    file: File,
    left: u64,
}

impl Read for Exactly {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let most = usize::try_from(self.left).unwrap_or(usize::MAX).min(buffer.len());
        let count = self.file.read(&mut buffer[..most])?;
        if count == 0 && most > 0 {
            return Err(io::Error::new(io::ErrorKind::UnexpectedEof, "it became shorter while it was packed"));
        }
        self.left -= count as u64;
        Ok(count)
    }
}
