//! What becomes of the tasks of an executor that is away? The leader's, and committed as such.
//!
//! The leader counts on its own clock, from when it saw that the executor was away, or began to lead if that is later: it
//! may wait too long, and never too short.

mod decide;

use std::collections::BTreeMap;

use futures::future;
use runyard_datamanager::Leadership;
use runyard_executor_core::contract::ExecutorId;
use tokio::time::Instant;

use self::decide::{Away, Step, Timing};
use super::connections::rows::Rows;
use crate::{Error, Result, service::Core};

pub(super) async fn run(core: &Core, leadership: Option<&Leadership>) -> Result<()> {
    let timing = Timing { silent_after: core.settings.silent_after, lost_after: core.settings.lost_after };
    let mut rows = Rows::load(&*core.data).await?;
    let mut away: BTreeMap<ExecutorId, Away> = BTreeMap::new();
    loop {
        decide::see(&mut away, &rows.connections, Instant::now());
        let decided = decide::next(&away, &rows.connections, timing, Instant::now());
        for (id, epoch, step) in decided.steps {
            do_step(core, leadership, &id, epoch, step).await?;
            if let Some(away) = away.get_mut(&id) {
                away.done(step);
            }
        }
        let wait = async {
            match decided.wake {
                // Silence makes no sound: that it lasts is known when its time has come.
                Some(wake) => tokio::time::sleep_until(wake).await,
                None => future::pending().await,
            }
        };
        tokio::select! {
            biased;
            changed = rows.changed() => if !changed? { return Ok(()) },
            () = wait => {}
        }
    }
}

async fn do_step(core: &Core, leadership: Option<&Leadership>, id: &ExecutorId, epoch: u64, step: Step) -> Result<()> {
    let done = match step {
        Step::TakeBack => core.take_back_from(leadership, id, epoch).await,
        Step::GiveUp => core.give_up(leadership, id, epoch).await,
        Step::ForgetIdle | Step::Forget => core.forget_executor(leadership, id, epoch).await,
    };
    match done {
        // It came back meanwhile: its row says so, and is looked at next.
        Err(Error::BadRequest { .. } | Error::NotExist { .. }) => Ok(()),
        done => done,
    }
}
