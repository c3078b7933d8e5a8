//! Where is a database, and may it be written?

use std::{
    fmt,
    path::{Path, PathBuf},
    sync::Arc,
};

use clap::ValueEnum;
use futures::TryStreamExt;
use runyard_datamanager::{Report, WalBuilder, WalDataManager};
use runyard_objectstorage::{ListRequest, ObjectStorage, PosixStorage};
use runyard_runservice_core::RUN_DATA;

use super::super::Failure;
use crate::server::{CONFIG_DATA_PATH, data_dir::DataDir};

/// One of the databases of a data directory.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(super) enum Database {
    /// Runs, tasks and their events
    Run,
    /// Projects, refs and triggers; only a server has it
    Config,
}

/// A data directory.
pub(super) struct Place {
    directory: PathBuf,
    storage: Arc<PosixStorage>,
    /// That nobody else uses the directory; none where it is only read.
    _alone: Option<DataDir>,
}

/// A database cannot be used.
#[derive(Debug, thiserror::Error)]
#[error("database {database} in `{}` cannot be used", .directory.display())]
pub(super) struct DatabaseError {
    database: Database,
    directory: PathBuf,
    source: runyard_datamanager::Error,
}

impl Database {
    fn base_path(self) -> &'static str {
        match self {
            Self::Run => RUN_DATA,
            Self::Config => CONFIG_DATA_PATH,
        }
    }

    /// The database that is kept there.
    pub(super) fn of_base_path(base_path: &str) -> Option<Self> {
        Self::value_variants().iter().copied().find(|database| database.base_path() == base_path)
    }
}

impl fmt::Display for Database {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Run => "run",
            Self::Config => "config",
        })
    }
}

impl Place {
    /// A directory that is only read, while others may write.
    pub(super) async fn to_read(directory: &Path) -> Result<Self, Failure> {
        let objects = directory.join("objects");
        if !objects.is_dir() {
            return Err(nothing_in(directory));
        }
        let storage = Arc::new(PosixStorage::open(objects).await?);
        Ok(Self { directory: directory.to_owned(), storage, _alone: None })
    }

    /// A directory that nobody else uses meanwhile; made if it does not exist and `make` says so.
    pub(super) async fn alone(directory: &Path, make: bool) -> Result<Self, Failure> {
        if !make && !directory.join("objects").is_dir() {
            return Err(nothing_in(directory));
        }
        let alone = DataDir::open(directory)?;
        let storage = Arc::new(PosixStorage::open(alone.objects()).await.map_err(|error| alone.content_error(error))?);
        Ok(Self { directory: alone.root().to_owned(), storage, _alone: Some(alone) })
    }

    /// The database that was asked for, or all that there are.
    pub(super) async fn databases(&self, only: Option<Database>) -> Result<Vec<Database>, Failure> {
        if let Some(only) = only {
            return Ok(vec![only]);
        }
        let mut there = Vec::new();
        for database in Database::value_variants() {
            let mut objects = self.storage.list(ListRequest::prefix(format!("{}/", database.base_path())));
            if objects.try_next().await?.is_some() {
                there.push(*database);
            }
        }
        if there.is_empty() { Err(nothing_in(&self.directory)) } else { Ok(there) }
    }

    /// Opens a database to be read.
    pub(super) async fn read(&self, database: Database) -> Result<WalDataManager, DatabaseError> {
        self.builder(database).read_only().open().await.map_err(|source| self.failed(database, source))
    }

    /// Opens a database that there is.
    pub(super) async fn write_existing(&self, database: Database) -> Result<WalDataManager, DatabaseError> {
        // Whoever only reads makes none.
        self.read(database).await?.close().await;
        self.write(database).await
    }

    /// Opens a database from the checkpoint before its newest one, which does not verify.
    pub(super) async fn write_from_previous(&self, database: Database) -> Result<WalDataManager, DatabaseError> {
        self.builder(database).previous_manifest().open().await.map_err(|source| self.failed(database, source))
    }

    /// Opens a database, or makes it.
    pub(super) async fn write(&self, database: Database) -> Result<WalDataManager, DatabaseError> {
        self.builder(database).open().await.map_err(|source| self.failed(database, source))
    }

    /// Reads all of a database, whether it can be opened or not.
    pub(super) async fn verify(&self, database: Database) -> Result<Report, DatabaseError> {
        let verified = runyard_datamanager::verify(self.storage.clone(), database.base_path()).await;
        verified.map_err(|source| self.failed(database, source))
    }

    /// Says of an error which database it is about.
    pub(super) fn failed(&self, database: Database, source: runyard_datamanager::Error) -> DatabaseError {
        DatabaseError { database, directory: self.directory.clone(), source }
    }

    fn builder(&self, database: Database) -> WalBuilder {
        WalDataManager::builder(self.storage.clone()).base_path(database.base_path())
    }
}

fn nothing_in(directory: &Path) -> Failure {
    format!(
        "there is no database in `{}`: give the data directory of a server, or the store of `runyard run`, with --data",
        directory.display()
    )
    .into()
}
