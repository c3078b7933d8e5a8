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
            tokio::try_join!(
                placer::run(core, None),
                Box::pin(lost::run(core, None)),
                Box::pin(audit::run(core, None)),
                Box::pin(chores::run(core)),
                Box::pin(retention::run(core)),
            )
            .map(drop)
        }
    }
}

async fn take_turns(core: &Core, coordinator: &dyn Coordinator) -> Result<()> {
    loop {
        let candidacy = coordinator.campaign(SCHEDULER).await?;
        // If the whole store was taken over, this fails, and so it is not campaigned again.
        let leadership = Leadership::acquire(&*core.data, SCHEDULER, &core.process.name).await?;
        let epoch = leadership.epoch();
        tracing::info!(epoch, "this process places the tasks now");
        let lead = async {
            tokio::try_join!(
                placer::run(core, Some(&leadership)),
                others::run(core, coordinator, &leadership),
                Box::pin(lost::run(core, Some(&leadership))),
                Box::pin(audit::run(core, Some(&leadership))),
                Box::pin(chores::run(core)),
                Box::pin(retention::run(core)),
            )
        };
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
