//! Leads the role of this process as long as it lives, so that others notice its end.

use runyard_datamanager::coordinator::Coordinator;

use crate::{Result, layout, service::Core};

/// Never ends but for an error: that the coordinator was closed.
pub(in crate::workers) async fn run(core: &Core, coordinator: &dyn Coordinator) -> Result<()> {
    let role = layout::process_role(&core.process.id);
    loop {
        let candidacy = coordinator.campaign(&role).await?;
        core.process.set_vouched(true);
        let reason = candidacy.lost().await;
        core.process.set_vouched(false);
        tracing::warn!(%reason, "others may take this process for ended: its executors get no new tasks for now");
    }
}
