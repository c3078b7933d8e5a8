//! How does everything of a pod go away?

use bollard::models::ContainerSummary;
use futures::future;

use super::{engine::Engine, labels};
use crate::driver::{PodId, Result};

/// Ends and removes all containers of a pod, with their volumes.
pub(super) async fn remove(engine: &Engine, pod: &PodId) -> Result<()> {
    let (mains, services): (Vec<_>, Vec<_>) = containers(engine, pod).await?.into_iter().partition(|one| one.is_main);
    // Podman removes no container whose network others are in.
    for ids in [services, mains] {
        let removed = future::join_all(ids.iter().map(|one| engine.remove(&one.id))).await;
        removed.into_iter().collect::<Result<()>>()?;
    }
    Ok(())
}

/// Ends all containers of a pod.
pub(super) async fn kill(engine: &Engine, pod: &PodId) -> Result<()> {
    let ids = containers(engine, pod).await?;
    let killed = future::join_all(ids.iter().map(|one| engine.kill(&one.id))).await;
    killed.into_iter().collect()
}

struct Container {
    id: String,
    is_main: bool,
}

async fn containers(engine: &Engine, pod: &PodId) -> Result<Vec<Container>> {
    let found = engine.list(&labels::of_pod(pod)).await?;
    let container = |found: ContainerSummary| Some(Container { is_main: labels::is_main(&found), id: found.id? });
    Ok(found.into_iter().filter_map(container).collect())
}
