//! When does the run service act by itself? Whenever a committed change says so.
//!
//! Two workers read the stream of changes: one places tasks, one tells executors and followers. Neither keeps state that
//! is not a fold of that stream, so a restart begins with a snapshot and misses nothing.

mod board;
mod dispatcher;
mod placer;

use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use tokio_util::sync::CancellationToken;

pub(crate) use self::board::Board;
use crate::{Error, Result, service::Core};

/// How long a worker rests after a failure of the storage. Nothing tells when a storage is back, so it has to be tried.
const REST: Duration = Duration::from_secs(1);

/// Runs both workers until `shutdown`, or until the data manager fails for good.
pub(crate) async fn run(core: Arc<Core>, shutdown: CancellationToken) -> Result<()> {
    // Whoever connects is told everything, so what happened before now needs no telling.
    let dispatched = Mutex::new(core.data.snapshot().position());
    let dispatching = keep_on("telling executors of changes", || dispatcher::run(&core, &dispatched));
    let placing = keep_on("placing tasks", || placer::run(&core));
    let work = async { tokio::try_join!(dispatching, placing).map(|((), ())| ()) };
    tokio::select! {
        () = shutdown.cancelled() => Ok(()),
        result = work => result,
    }
}

/// Begins a worker again after a failure that passes. Both know where to begin: from a snapshot, or where they were.
async fn keep_on<F: Future<Output = Result<()>>>(doing: &str, worker: impl Fn() -> F) -> Result<()> {
    loop {
        match worker().await {
            Err(error) if passes(&error) => {
                tracing::warn!(error = &error as &dyn std::error::Error, "{doing} failed; trying again");
                tokio::time::sleep(REST).await;
            }
            ended => return ended,
        }
    }
}

/// Whether the same may succeed later.
fn passes(error: &Error) -> bool {
    use runyard_datamanager::Error as Data;
    match error {
        Error::Data(error) => {
            matches!(error, Data::Storage { .. } | Data::OutcomeUnknown { .. }) || error.is_conflict()
        }
        Error::Storage { .. } | Error::Internal { .. } => true,
        _ => false,
    }
}
