//! When does the run service act by itself? Whenever a committed change says so.
//!
//! Two workers read the stream of changes: one places tasks, one tells executors and followers. Neither keeps state that
//! is not a fold of that stream, so a restart begins with a snapshot and misses nothing.

mod board;
mod dispatcher;
mod placer;

use std::sync::Arc;

use tokio_util::sync::CancellationToken;

pub(crate) use self::board::Board;
use crate::{Result, service::Core};

/// Runs both workers until `shutdown`, or until the data manager fails for good.
pub(crate) async fn run(core: Arc<Core>, shutdown: CancellationToken) -> Result<()> {
    let work = async { tokio::try_join!(dispatcher::run(&core), placer::run(&core)).map(|((), ())| ()) };
    tokio::select! {
        () = shutdown.cancelled() => Ok(()),
        result = work => result,
    }
}
