//! How does the server host git repositories?
//!
//! Over smart HTTP. The home of a repository is the object storage (packs) and rows (refs); a push is one transaction.
//! The bare repository on disk is a cache that the `git` program works on: it can be deleted at any time.
//!
//! ```text
//! push:   body -> index-pack in a quarantine -> checks -> pack object -> transaction -> into the cache -> report
//! fetch:  rows and pack objects -> cache up to date -> git upload-pack
//! ```

mod cache;
mod command;
mod definition;
mod http;
mod packs;
mod pktline;
mod push_request;
mod receive_pack;
#[cfg(test)]
mod tests;
mod upload_pack;

use std::{path::PathBuf, sync::Arc, time::Duration};

use runyard_objectstorage::ObjectStorage;

pub(crate) use definition::{Commit, DefinitionFile};
pub(crate) use http::{Access, routes};

use crate::{
    configdata::{self, ConfigData},
    ids::Ids,
};

/// How the repositories are served.
#[derive(Clone, Debug)]
pub(crate) struct Settings {
    /// The largest body of a push, in bytes.
    pub(crate) push_size_max: u64,
    /// The directory of the caches and of unfinished pushes.
    pub(crate) directory: PathBuf,
    /// How long the answer to a push may wait until its runs exist. Default: not at all.
    pub(crate) wait_for_runs: Duration,
}

impl Settings {
    /// The default limit of 1 GiB, on a directory.
    pub(crate) fn new(directory: impl Into<PathBuf>) -> Self {
        Self { push_size_max: 1 << 30, directory: directory.into(), wait_for_runs: Duration::ZERO }
    }
}

/// The repositories of all projects.
#[derive(Debug)]
pub(crate) struct GitService {
    config: ConfigData,
    caches: cache::Caches,
    packs: packs::Packs,
    settings: Settings,
}

/// The result of a git operation.
pub(crate) type Result<T, E = Error> = std::result::Result<T, E>;

/// Why a git operation failed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    /// The client sent what git does not.
    #[error("this is not a valid git request: {0}")]
    Protocol(String),
    /// The request was not received whole.
    #[error("the request ended before it was complete")]
    Body(#[source] std::io::Error),
    /// The request is larger than allowed.
    #[error(
        "the push is larger than {limit} bytes, the limit of this server: push fewer commits at once, or raise the limit"
    )]
    TooLarge {
        /// The limit in bytes.
        limit: u64,
    },
    /// A git program said no.
    #[error("git failed while {doing}: {stderr}")]
    Git {
        /// What was being done, as a participle.
        doing: &'static str,
        /// What it printed.
        stderr: String,
    },
    /// The object is something else, so nothing can be run for it.
    #[error("object {object} is not a commit, so it has no definition")]
    NotACommit {
        /// The object.
        object: configdata::ObjectId,
    },
    /// The token opens another repository, or only reads this one.
    #[error("this token may only read the repository of its project")]
    Forbidden,
    /// The disk, or starting a program, failed.
    #[error("{doing} `{path}` failed")]
    Io {
        /// What was being done, as a participle.
        doing: &'static str,
        /// What it was done to.
        path: PathBuf,
        source: std::io::Error,
    },
    /// A pack could not be stored or read.
    #[error("the object storage failed while {doing}")]
    Storage {
        /// What was being done, as a participle.
        doing: &'static str,
        source: runyard_objectstorage::Error,
    },
    /// The project does not exist, or its rows could not be read or changed.
    #[error(transparent)]
    Config(#[from] configdata::Error),
}

impl Error {
    fn io(doing: &'static str, path: impl Into<PathBuf>) -> impl FnOnce(std::io::Error) -> Self {
        let path = path.into();
        move |source| Self::Io { doing, path, source }
    }
}

impl GitService {
    /// Opens the service on its directory, and removes what unfinished pushes left there.
    pub(crate) async fn open(
        config: ConfigData,
        storage: Arc<dyn ObjectStorage>,
        ids: Arc<Ids>,
        settings: Settings,
    ) -> Result<Self> {
        command::check_installed().await?;
        let packs = packs::Packs::new(storage, ids);
        let caches = cache::Caches::open(&settings.directory, config.clone(), packs.clone()).await?;
        Ok(Self { config, caches, packs, settings })
    }
}
