//! Writes who is connected to this process, whenever a connection or a row changes.

use futures::future;
use runyard_executor_core::contract::ExecutorId;
use tokio::time::Instant;

use super::{
    decide::{self, Step},
    rows::Rows,
};
use crate::{Result, service::Core};

pub(in crate::workers) async fn run(core: &Core) -> Result<()> {
    let mut changes = core.sessions.changes();
    let mut vouched = core.process.vouched();
    let mut rows = Rows::load(&*core.data).await?;
    loop {
        let standings = core.sessions.standings(core.settings.silent_after);
        let vouched_now = *vouched.borrow_and_update();
        let steps = decide::own(&rows.connections, &standings.by_executor, &core.process.id, vouched_now);
        future::try_join_all(steps.into_iter().map(|(id, step)| do_step(core, id, step))).await?;
        tokio::select! {
            // Whichever it is, all of them are looked at; in order, so that a simulation replays.
            biased;
            changed = rows.changed() => if !changed? { return Ok(()) },
            // The senders live in the core, so these are changes and not the end of them.
            _ = changes.changed() => {}
            _ = vouched.changed() => {}
            () = at(standings.next_silence) => {}
        }
    }
}

/// Silence makes no sound: that it is there is known when its time has come.
async fn at(time: Option<Instant>) {
    match time {
        Some(time) => tokio::time::sleep_until(time).await,
        None => future::pending().await,
    }
}

async fn do_step(core: &Core, id: ExecutorId, step: Step) -> Result<()> {
    match step {
        Step::Set(epoch) => core.note_connection(&id, epoch, None, Some(&core.process.id)).await,
        Step::Clear(epoch) => core.note_connection(&id, epoch, Some(&core.process.id), None).await,
        Step::SetSilent(epoch, silent) => core.note_silence(&id, epoch, silent).await,
        Step::Replace(epoch) => {
            tracing::info!(executor = %id, epoch, "executor has registered with another process");
            core.sessions.replaced(&id, epoch);
            Ok(())
        }
    }
}
