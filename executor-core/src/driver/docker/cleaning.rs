//! How does everything of a pod go away?

use futures::future;

use super::{engine::Engine, labels};
use crate::driver::{PodId, Result};

/// Ends and removes all containers of a pod, with their volumes.
pub(super) async fn remove(engine: &Engine, pod: &PodId) -> Result<()> {
    let ids = containers(engine, pod).await?;
    future::try_join_all(ids.iter().map(|id| engine.remove(id))).await?;
    Ok(())
}

/// Ends all containers of a pod.
pub(super) async fn kill(engine: &Engine, pod: &PodId) -> Result<()> {
    let ids = containers(engine, pod).await?;
    future::try_join_all(ids.iter().map(|id| engine.kill(id))).await?;
    Ok(())
}

async fn containers(engine: &Engine, pod: &PodId) -> Result<Vec<String>> {
    let found = engine.list(&labels::of_pod(pod)).await?;
    Ok(found.into_iter().filter_map(|container| container.id).collect())
}
