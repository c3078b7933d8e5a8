//! Clears what processes left that have ended. The leader's, and committed as such.

use std::collections::BTreeMap;

use futures::{FutureExt, StreamExt, future, future::AbortHandle, stream::FuturesUnordered};
use runyard_datamanager::{
    Leadership, Position,
    coordinator::{Candidacy, Coordinator},
};

use super::{decide, rows::Rows};
use crate::{Result, layout, process::ProcessId, service::Core};

pub(in crate::workers) async fn run(core: &Core, coordinator: &dyn Coordinator, leadership: &Leadership) -> Result<()> {
    let mut rows = Rows::load(&*core.data).await?;
    let mut ends = FuturesUnordered::new();
    let mut watched: BTreeMap<ProcessId, AbortHandle> = BTreeMap::new();
    loop {
        let to_watch = decide::to_watch(&rows.connections, &core.process.id);
        watched.retain(|process, watch| {
            let goes_on = to_watch.contains(process);
            if !goes_on {
                watch.abort();
            }
            goes_on
        });
        for process in to_watch {
            if !watched.contains_key(&process) {
                let (end, watch) = future::abortable(end_of(core, coordinator, leadership, process.clone()));
                watched.insert(process.clone(), watch);
                ends.push(end.map(move |end| (process, end)));
            }
        }
        tokio::select! {
            changed = rows.changed() => if !changed? { return Ok(()) },
            Some((process, end)) = ends.next() => {
                let Ok(end) = end else { continue };
                let (candidacy, cleared) = end?;
                // Until that has come back, the rows seem to name a process whose end has to be waited for.
                if !rows.reach(cleared).await? {
                    return Ok(());
                }
                watched.remove(&process);
                drop(candidacy);
            }
        }
    }
}

/// Waits for the end of a process, and clears what it left.
async fn end_of(
    core: &Core,
    coordinator: &dyn Coordinator,
    leadership: &Leadership,
    process: ProcessId,
) -> Result<(Candidacy, Position)> {
    let candidacy = coordinator.campaign(&layout::process_role(&process)).await?;
    let (executors, position) = core.clear_ended(leadership, &process).await?;
    tracing::warn!(%process, ?executors, "a process has ended: its executors get no new tasks until they are back");
    Ok((candidacy, position))
}
