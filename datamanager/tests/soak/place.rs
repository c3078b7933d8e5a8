//! Where is the store that the processes share?

use std::{ops::Range, path::PathBuf, sync::Arc, time::Duration};

use runyard_datamanager::{SystemUptime, Uptime, WalBuilder, WalDataManager};
use runyard_objectstorage::{ObjectStorage, PosixStorage, S3Credentials, S3Settings, S3Storage};
use serde::{Deserialize, Serialize};

pub(crate) const BASE_PATH: &str = "soak";

/// The storage.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) enum Place {
    Directory(PathBuf),
    Bucket { endpoint: String },
}

impl Place {
    /// How many milliseconds a writer does nothing between two transactions: so that a machine of two processors, and a
    /// slow server, have something left for what is measured. In a bucket there must be pauses in which nobody writes: a
    /// process that is behind one that always does only catches up slowly.
    pub(crate) fn pause(&self) -> Range<u64> {
        match self {
            Self::Directory(_) => 5..25,
            Self::Bucket { .. } => 1_000..5_000,
        }
    }

    /// How long it is from one transaction of a leader to the next.
    pub(crate) fn leads_every(&self) -> Duration {
        match self {
            Self::Directory(_) => Duration::from_millis(20),
            Self::Bucket { .. } => Duration::from_millis(300),
        }
    }

    pub(crate) async fn open(&self) -> Result<Arc<dyn ObjectStorage>, runyard_objectstorage::Error> {
        Ok(match self {
            Self::Directory(directory) => Arc::new(PosixStorage::open(directory).await?),
            Self::Bucket { endpoint } => Arc::new(S3Storage::open(settings(endpoint)).await?),
        })
    }
}

fn settings(endpoint: &str) -> S3Settings {
    let mut settings = S3Settings::bucket(BASE_PATH);
    settings.endpoint = Some(endpoint.to_owned());
    settings.credentials = S3Credentials::Keys {
        access_key_id: "runyard".to_owned(),
        secret_access_key: "runyard-secret".into(),
        session_token: None,
    };
    // Shorter than the pauses of the server, so that some replies are lost.
    settings.silence_timeout = Duration::from_secs(2);
    settings.retry_timeout = Duration::from_secs(4);
    settings
}

/// A clock that is so many times as fast as the machine's.
#[derive(Debug)]
struct HastyUptime(u32);

impl Uptime for HastyUptime {
    fn now(&self) -> Duration {
        now() * self.0
    }
}

/// A store with checkpoints every few seconds, so that the log is cleaned while the soak goes on.
pub(crate) fn builder(place: &Place, storage: Arc<dyn ObjectStorage>) -> WalBuilder {
    // A cleaner waits for ten minutes: here, for some seconds. Who is frozen in a directory sleeps through a cleaning. In
    // a bucket haste costs requests, of which the server of the soak takes few.
    let haste = match place {
        Place::Directory(_) => 150,
        Place::Bucket { .. } => 30,
    };
    WalDataManager::builder(storage)
        .base_path(BASE_PATH)
        .uptime(Arc::new(HastyUptime(haste)))
        .checkpoint_batches(400)
        .checkpoint_age(Duration::from_secs(5))
        .data_file_size_max(64 << 10)
        .commit_timeout(Duration::from_secs(5))
}

/// A clock that all processes of the machine share.
pub(crate) fn now() -> Duration {
    SystemUptime.now()
}
