//! When does this process place tasks? When the coordinator says that it should try, until another one has taken over.

use runyard_datamanager::{Error as Data, Leadership, coordinator::Coordinator};

use super::{audit, chores, connections::others, lost, placer, retention};
use crate::{Error, Result, layout::SCHEDULER, service::Core};

/// Ends only when the data manager is closed, or with an error.
pub(super) async fn run(core: &Core) -> Result<()> {
    match core.coordinator.as_deref() {
        Some(coordinator) => take_turns(core, coordinator).await,
        None => {
            core.clear_predecessors().await?;
            lead(core, None).await
        }
    }
}

/// What a leader does, whether it was elected or is alone.
async fn lead(core: &Core, leadership: Option<&Leadership>) -> Result<()> {
    tokio::try_join!(
        placer::run(core, leadership),
        Box::pin(lost::run(core, leadership)),
        Box::pin(audit::run(core, leadership)),
        Box::pin(chores::run(core)),
        Box::pin(retention::run(core)),
    )
    .map(drop)
}

async fn take_turns(core: &Core, coordinator: &dyn Coordinator) -> Result<()> {
    loop {
        let candidacy = coordinator.campaign(SCHEDULER).await?;
        // If the whole store was taken over, this fails, and so it is not campaigned again.
        let leadership = Leadership::acquire(&*core.data, SCHEDULER, &core.process.name).await?;
        let epoch = leadership.epoch();
        tracing::info!(epoch, "this process places the tasks now");
        let lead =
            async { tokio::try_join!(lead(core, Some(&leadership)), others::run(core, coordinator, &leadership)) };
        tokio::select! {
            biased;
            reason = candidacy.lost() => tracing::warn!(epoch, %reason, "this process places no more tasks"),
            led = lead => match led {
                Err(Error::Data(Data::TakenOver { message })) => {
                    tracing::warn!(epoch, reason = message, "this process places no more tasks");
                }
                ended => return ended.map(drop),
            }
        }
    }
}
