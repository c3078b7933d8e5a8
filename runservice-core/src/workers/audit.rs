//! Do the rows that follow from runs say what they should? The leader's.
//!
//! Looks at some runs a minute. No event can tell, because what is looked for are changes whose events did not do what they
//! should; so it ought never to find anything, and counts what it does.

use std::{collections::BTreeSet, time::Duration};

use runyard_datamanager::{DataManagerExt, Direction, IndexScan, KeyRange, Leadership};
use runyard_executor_core::contract::RunId;

use crate::{
    Error, Result,
    layout::{ASSIGNMENTS, QUEUE, READY, RUNNING, RUNS, RUNS_LIVE},
    service::Core,
};

/// How often it looks.
const EVERY: Duration = Duration::from_secs(60);

/// At how many runs at a time.
const RUNS_AT_A_TIME: usize = 200;

pub(super) async fn run(core: &Core, leadership: Option<&Leadership>) -> Result<()> {
    let mut after = None;
    loop {
        tokio::time::sleep(EVERY).await;
        let at = core.data.snapshot();
        let (direction, limit) = (Direction::Ascending, RUNS_AT_A_TIME);
        let scan = IndexScan { index: RUNS_LIVE, prefix: &[], direction, limit, after };
        let page = core.data.read_index(&at, &RUNS, &scan).await?;
        after = page.next;
        for (_, run) in page.entries {
            look_at(core, leadership, &run.id).await?;
        }
        if after.is_none() {
            for run in left_behind(core).await? {
                look_at(core, leadership, &run).await?;
            }
        }
    }
}

async fn look_at(core: &Core, leadership: Option<&Leadership>, run: &RunId) -> Result<()> {
    let faults = match core.audit(leadership, run).await {
        // It was deleted, or went on, meanwhile.
        Err(Error::NotExist { .. }) => return Ok(()),
        faults => faults?,
    };
    for fault in &faults {
        tracing::error!(%run, fault, "the audit repaired a run: this is a fault of the program; please report it");
    }
    core.counters.audit_repairs.add(faults.len() as u64);
    Ok(())
}

/// The runs that rows speak of that only live runs have.
async fn left_behind(core: &Core) -> Result<Vec<RunId>> {
    let at = core.data.snapshot();
    let mut runs: BTreeSet<RunId> = BTreeSet::new();
    let ready = core.data.read_all(&at, &READY, KeyRange::all()).await?;
    runs.extend(ready.into_iter().map(|(_, row)| row.run));
    let assigned = core.data.read_all(&at, &ASSIGNMENTS, KeyRange::all()).await?;
    runs.extend(assigned.into_iter().map(|(_, row)| row.run));
    for collection in [&RUNNING, &QUEUE] {
        let named = core.data.read_all(&at, collection, KeyRange::all()).await?;
        runs.extend(named.into_iter().map(|(_, run)| run));
    }
    let mut ended = Vec::new();
    for run in runs {
        let is_live = core.data.read(&at, &RUNS, run.as_str()).await?.is_some_and(|run| !run.phase.is_final());
        if !is_live {
            ended.push(run);
        }
    }
    Ok(ended)
}
