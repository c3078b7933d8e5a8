//! How is a pod made, and how is it made undone?
//!
//! A call to the engine that makes something is never dropped half-way: it ends, and if nobody wants its result any more
//! it removes that itself. So whatever was made is either found by its labels, or about to go.

use std::sync::Arc;

use bollard::models::ContainerCreateBody;
use futures::future;
use tokio_util::{
    sync::{CancellationToken, DropGuard},
    task::TaskTracker,
};

use super::{
    cleaning, containers,
    engine::Engine,
    images::{self, Images},
    labels::{Found, Mark},
    pod::DockerPod,
    toolbox::Toolbox,
};
use crate::driver::{DriverError, PodSpec, Result, SetupLog};

/// Makes a pod, or nothing.
pub(super) async fn create(
    engine: &Arc<Engine>,
    toolbox: &Arc<Toolbox>,
    spec: PodSpec,
    log: &dyn SetupLog,
    cancel: &CancellationToken,
) -> Result<DockerPod> {
    let making = Making::new(engine);
    let making_it = async {
        let pod = DockerPod::found(engine, toolbox, make(&making, toolbox, &spec, log).await?);
        // The one that the first step will use.
        pod.reach().await?;
        Ok(pod)
    };
    let made = tokio::select! {
        biased;
        () = cancel.cancelled() => Err(DriverError::Cancelled { doing: "creating the pod" }),
        made = making_it => made,
    };
    match made {
        Ok(pod) => Ok(pod),
        Err(error) => {
            making.abandon().await;
            if let Err(error) = cleaning::remove(engine, &spec.id).await {
                // It is found by its labels, and whoever asked for the pod removes what is found.
                tracing::warn!(pod = %spec.id, error = error.user_message(), "cannot remove what was made of a pod");
            }
            Err(error)
        }
    }
}

async fn make(making: &Making, toolbox: &Toolbox, spec: &PodSpec, log: &dyn SetupLog) -> Result<Found> {
    let engine = &making.engine;
    if let Some(wanted) = spec.arch
        && engine.arch().await? != Some(wanted)
    {
        let message =
            format!("the task needs the architecture {wanted}, which the engine of this executor does not have");
        return Err(DriverError::Refused { message });
    }
    let images = images::fetch_all(engine, spec, log).await?;
    let (first, services) = spec.containers.split_first().expect("the driver refuses a pod without containers");
    let mark = Mark::new(spec, user(spec, &images));
    let body = containers::main(first, &mark, toolbox, engine.network.as_deref());
    let main = making.create(containers::name(&mark, 0), body).await?;
    if let Err(error) = engine.start(&main, &first.image).await {
        // Somebody may have pruned the volume of the toolbox, which the engine then makes anew, with nothing in it.
        tracing::info!(error = error.user_message(), "a container does not start; installing the toolbox again");
        toolbox.install(engine, &spec.executor).await?;
        engine.start(&main, &first.image).await?;
    }
    log.line(&format!("container 0 of image {} is started", first.image));
    let services = services.iter().zip(1..).map(async |(container, index)| {
        let body = containers::service(container, &mark, index, &main);
        let id = making.create(containers::name(&mark, index), body).await?;
        engine.start(&id, &container.image).await?;
        log.line(&format!("container {index} of image {} is started", container.image));
        Ok::<_, DriverError>(())
    });
    future::try_join_all(services).await?;
    Ok(Found { mark, main: Some(main) })
}

/// The user that steps run as: the task's, the first container's, its image's. None: root.
fn user(spec: &PodSpec, images: &Images) -> Option<String> {
    let first = spec.containers.first()?;
    let of_image = || images.get(&first.image)?.config.as_ref()?.user.clone();
    let given = spec.user.clone().or_else(|| first.user.clone());
    given.filter(|user| !user.is_empty()).or_else(of_image).filter(|user| !user.is_empty())
}

/// The calls that make something of a pod.
struct Making {
    engine: Arc<Engine>,
    running: TaskTracker,
    abandoned: CancellationToken,
    /// Dropped, it tells the calls that are still on their way.
    _guard: DropGuard,
}

impl Making {
    fn new(engine: &Arc<Engine>) -> Self {
        let abandoned = CancellationToken::new();
        let guard = abandoned.clone().drop_guard();
        Self { engine: engine.clone(), running: TaskTracker::new(), abandoned, _guard: guard }
    }

    /// Makes a container; its id.
    async fn create(&self, name: String, body: ContainerCreateBody) -> Result<String> {
        let (engine, abandoned) = (self.engine.clone(), self.abandoned.clone());
        let creating = self.running.spawn(async move {
            let id = engine.create(&name, body).await?;
            if abandoned.is_cancelled() {
                engine.remove(&id).await?;
                return Err(DriverError::Cancelled { doing: "creating a container" });
            }
            Ok(id)
        });
        creating.await.map_err(|error| DriverError::failed("creating a container", error))?
    }

    /// Waits for the calls that are on their way: what they make is gone then, or can be found.
    async fn abandon(self) {
        self.abandoned.cancel();
        self.running.close();
        self.running.wait().await;
    }
}
