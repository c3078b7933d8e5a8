//! Archives of workspaces and caches: tar + zstd, streamed in both directions.
//!
//! Symlinks, hard links, modes, mtimes (to the nanosecond) and names of any length survive; the owner is restored only
//! by root. The same files give the same bytes: entries are sorted by name.

mod glob;
mod pack;
mod unpack;

use std::io;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

pub use pack::pack;
pub use unpack::{UnpackOptions, unpack};

/// Which files make an archive.
///
/// ```
/// use runyard_toolbox::archive::PackSpec;
///
/// let spec: PackSpec = serde_json::from_str(
///     r#"{"working_dir": "~/project", "contents": [{"source_dir": "target", "paths": ["**/*.jar"]}]}"#,
/// )?;
/// assert_eq!(spec.contents[0].dest_dir, "");
/// # Ok::<(), serde_json::Error>(())
/// ```
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PackSpec {
    /// Where a relative `source_dir` begins. A leading `~` is the home of this process.
    pub working_dir: PathBuf,
    /// The choices; where two of them give the same name, the later wins.
    #[serde(default)]
    pub contents: Vec<PackContents>,
}

/// One choice of files.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct PackContents {
    /// Where `paths` begin: absolute, below `~`, or below the working directory; empty: the working directory.
    pub source_dir: String,
    /// Where the files appear in the archive; empty: at its root.
    pub dest_dir: String,
    /// Globs relative to `source_dir`: `**` any directories, `*` and `?` within a name, `[a-z]`, `{a,b}`. A directory
    /// that matches does not include its content. Symlinks are not followed; sockets, pipes and devices are left out.
    pub paths: Vec<String>,
}

/// Why an archive was not packed or unpacked.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A source directory that does not exist.
    #[error("source directory not found: {}", path.display())]
    SourceDirNotFound {
        /// The directory.
        path: PathBuf,
    },
    /// A glob that cannot be understood, or that leaves its source directory.
    #[error("bad path pattern `{pattern}`: {message}")]
    BadPattern {
        /// The glob.
        pattern: String,
        /// What is wrong.
        message: String,
    },
    /// A destination that leaves the archive.
    #[error("bad destination directory `{dest_dir}`: it must not contain `..`")]
    BadDestDir {
        /// As the spec gives it.
        dest_dir: String,
    },
    /// A file of the archive that would be written outside of the destination.
    #[error("`{}` of the archive would leave the destination: {message}", path.display())]
    LeavesDestination {
        /// Its name in the archive.
        path: PathBuf,
        /// How.
        message: String,
    },
    /// A file that is already there with other content.
    #[error("`{}` already exists with other content", path.display())]
    Conflict {
        /// Its name in the archive.
        path: PathBuf,
    },
    /// A kind of file that is never packed.
    #[error("`{}` of the archive is neither a file, a directory nor a link", path.display())]
    UnsupportedEntry {
        /// Its name in the archive.
        path: PathBuf,
    },
    /// The file system, or the stream of the archive.
    #[error("{doing} `{}`: {source}", path.display())]
    Io {
        /// What failed.
        doing: &'static str,
        /// On which file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The archive is damaged, or cannot be read or written.
    #[error("{doing}: {source}")]
    Stream {
        /// What failed.
        doing: &'static str,
        /// Why.
        source: io::Error,
    },
}

/// Adds to an I/O error what failed, on which file.
fn at<'a>(doing: &'static str, path: &'a std::path::Path) -> impl Fn(io::Error) -> Error + 'a {
    move |source| Error::Io { doing, path: path.to_owned(), source }
}

#[cfg(test)]
mod tests;
