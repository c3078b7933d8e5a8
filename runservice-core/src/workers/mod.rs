//! When does the run service act by itself? Whenever a committed change says so.
//!
//! The workers read the stream of changes: one places tasks, one tells executors and followers, and one notes who is
//! connected. None keeps state that is not a fold of that stream, so a restart begins with a snapshot and misses nothing.
//!
//! Of several processes on one store, each tells the executors that are connected to it, and one places tasks for all of
//! them ([`leader`]).

mod audit;
mod board;
mod chores;
mod connections;
mod dispatcher;
mod leader;
mod lost;
mod placer;
mod retention;

use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use tokio_util::sync::CancellationToken;

use crate::{Error, Result, service::Core};

/// How long a worker rests after a failure of the storage. Nothing tells when a storage is back, so it has to be tried.
const REST: Duration = Duration::from_secs(1);

/// Runs the workers until `shutdown`, or until the data manager fails for good.
pub(crate) async fn run(core: Arc<Core>, shutdown: CancellationToken) -> Result<()> {
    // Whoever connects is told everything, so what happened before now needs no telling.
    let dispatched = Mutex::new(core.data.snapshot().position());
    let dispatching = keep_on("telling executors of changes", || dispatcher::run(&core, &dispatched));
    let placing = keep_on("what a leader does", || Box::pin(leader::run(&core)));
    let noting = keep_on("noting who is connected", || connections::own::run(&core));
    let vouching = async {
        match core.coordinator.as_deref() {
            Some(coordinator) => connections::vouch::run(&core, coordinator).await,
            None => Ok(()),
        }
    };
    let work = async { tokio::try_join!(dispatching, placing, noting, vouching).map(drop) };
    tokio::select! {
        biased;
        () = shutdown.cancelled() => Ok(()),
        result = work => result,
    }
}

/// Begins a worker again after a failure that passes. Each knows where to begin: from a snapshot, or where they were.
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
