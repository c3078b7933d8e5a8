//! Clears what processes left that have ended. The leader's, and committed as such.

use std::collections::BTreeMap;

use futures::{FutureExt, StreamExt, future, future::AbortHandle, stream::FuturesUnordered};
use runyard_datamanager::{Leadership, coordinator::Coordinator};

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
                let role = layout::process_role(&process);
                let (end, watch) = future::abortable(async move { coordinator.campaign(&role).await });
                watched.insert(process.clone(), watch);
                ends.push(end.map(move |end| (process, end)));
            }
        }
        tokio::select! {
            // In order, so that a simulation replays; there are fewer ends than changes.
            biased;
            Some((process, end)) = ends.next() => {
                let Ok(candidacy) = end else { continue };
                // Held until the rows do not name the process any more: it would be waited for once again.
                let _candidacy = candidacy?;
                let (executors, cleared) = Box::pin(core.clear_ended(leadership, &process)).await?;
                tracing::warn!(
                    %process, ?executors, "a process has ended: its executors get no new tasks until they are back"
                );
                if !rows.reach(cleared).await? {
                    return Ok(());
                }
                watched.remove(&process);
            }
            changed = rows.changed() => if !changed? { return Ok(()) },
        }
    }
}
