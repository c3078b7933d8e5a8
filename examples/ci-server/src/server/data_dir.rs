//! What is in the data directory, and who uses it?

use std::path::{Path, PathBuf};

use runyard_datamanager::coordinator::{LockError, LockFile};

/// A data directory that this process alone uses, until it is dropped.
#[derive(Debug)]
pub(crate) struct DataDir {
    root: PathBuf,
    _lock: LockFile,
}

/// Why a data directory cannot be used.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    /// It is another process's.
    #[error(
        "data directory `{directory}` is in use by process {owner}: stop that one, or give another directory with --data"
    )]
    InUse {
        /// The directory.
        directory: PathBuf,
        /// The process id, or "unknown".
        owner: String,
    },
    /// It cannot be made or written.
    #[error("data directory `{directory}` cannot be used: {}", advice(.source))]
    Io {
        /// The directory.
        directory: PathBuf,
        source: std::io::Error,
    },
}

/// What is in a data directory cannot be used.
#[derive(Debug, thiserror::Error)]
#[error("data directory `{directory}` cannot be used{}", damage(&**.source))]
pub(crate) struct ContentError {
    directory: PathBuf,
    source: Box<dyn std::error::Error + Send + Sync>,
}

/// What is wrong, and what to do about it.
fn advice(error: &std::io::Error) -> String {
    use std::io::ErrorKind;
    match error.kind() {
        ErrorKind::NotADirectory | ErrorKind::AlreadyExists => {
            "there is a file in its place; give another directory with --data".to_owned()
        }
        ErrorKind::PermissionDenied => {
            let user = rustix::process::geteuid().as_raw();
            format!("user id {user} may not write there; give it the directory, or another directory with --data")
        }
        ErrorKind::ReadOnlyFilesystem => "it is mounted read-only; mount it writable".to_owned(),
        ErrorKind::StorageFull | ErrorKind::QuotaExceeded => "there is no space left; make room first".to_owned(),
        _ => "check the directory and its disk".to_owned(),
    }
}

/// Where to read more, if something is damaged.
fn damage(error: &(dyn std::error::Error + 'static)) -> &'static str {
    match error.downcast_ref() {
        Some(runyard_datamanager::Error::Corrupt { .. }) => " (`runyard data verify` names all that is damaged)",
        _ => "",
    }
}

impl DataDir {
    /// Makes the directory if it does not exist, and takes it.
    pub(crate) fn open(root: &Path) -> Result<Self, Error> {
        let failed = |source| Error::Io { directory: root.to_owned(), source };
        std::fs::create_dir_all(root).map_err(failed)?;
        // Absolute, as programs with other working directories are handed paths of it.
        let root = std::fs::canonicalize(root).map_err(failed)?;
        match LockFile::acquire(root.join("lock")) {
            Ok(lock) => Ok(Self { root, _lock: lock }),
            Err(LockError::Held { holder }) => {
                let owner = holder.map_or("unknown".to_owned(), |pid| pid.to_string());
                Err(Error::InUse { directory: root, owner })
            }
            Err(LockError::Unusable { source, .. }) => Err(failed(source)),
        }
    }

    /// The root of the object storage.
    pub(crate) fn objects(&self) -> PathBuf {
        self.root.join("objects")
    }

    /// The repositories.
    pub(crate) fn git_cache(&self) -> PathBuf {
        self.root.join("cache/git")
    }

    /// The journal of the executor.
    pub(crate) fn executor(&self) -> PathBuf {
        self.root.join("executor")
    }

    /// Where tasks run.
    pub(crate) fn pods(&self) -> PathBuf {
        self.root.join("pods")
    }

    /// The file of the first token.
    pub(crate) fn admin_token(&self) -> PathBuf {
        self.root.join("admin-token")
    }

    /// Says of an error that it is one of what is in the directory.
    pub(crate) fn content_error<E: std::error::Error + Send + Sync + 'static>(&self, source: E) -> ContentError {
        ContentError { directory: self.root.clone(), source: source.into() }
    }

    /// The directory itself.
    pub(crate) fn root(&self) -> &Path {
        &self.root
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_directory_has_one_user_at_a_time_and_the_refusal_names_it() {
        let directory = tempfile::tempdir().expect("a directory");
        let root = directory.path().join("data");
        let held = DataDir::open(&root).expect("free");
        let refused = DataDir::open(&root).expect_err("in use").to_string();
        assert!(refused.contains(&std::process::id().to_string()), "{refused}");
        drop(held);
        DataDir::open(&root).expect("free again");
    }

    #[test]
    fn a_directory_that_cannot_be_made_is_named() {
        let file = tempfile::NamedTempFile::new().expect("a file");
        let error = DataDir::open(&file.path().join("data")).expect_err("below a file");
        assert!(error.to_string().contains(&file.path().display().to_string()), "{error}");
    }
}
