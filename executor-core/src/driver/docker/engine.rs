//! What is asked of an engine?

use std::{collections::HashMap, time::Duration};

use bollard::{
    Docker,
    errors::Error,
    models::{ContainerCreateBody, ContainerState, ContainerSummary},
    query_parameters::{
        CreateContainerOptionsBuilder, ListContainersOptionsBuilder, LogsOptionsBuilder, RemoveContainerOptionsBuilder,
        WaitContainerOptionsBuilder,
    },
};
use futures::StreamExt as _;
use tokio::time::Instant;

use super::{PullPolicy, errors};
use crate::{
    contract::Arch,
    driver::{DriverError, Result},
};

const DEFAULT_HOST: &str = "unix:///var/run/docker.sock";

/// The state of a container that Podman has not tidied up yet. Docker's API has no such state, and our client of it cannot
/// read the listing while there is one: it is over in a moment, of which nothing tells.
const STOPPED: &str = "unknown variant `stopped`";
const SETTLES_WITHIN: Duration = Duration::from_secs(10);
const LOOK_AGAIN: Duration = Duration::from_millis(50);

/// The most that is passed on of what a container printed that does not start.
const LOG_BYTES_MAX: usize = 4 << 10;

/// An engine, and how it is used.
#[derive(Debug)]
pub(super) struct Engine {
    pub(super) api: Docker,
    pub(super) host: String,
    /// The network of pods; none: the engine's own.
    pub(super) network: Option<String>,
    pub(super) pull: PullPolicy,
}

impl Engine {
    pub(super) fn connect(host: Option<String>, network: Option<String>, pull: PullPolicy) -> Result<Self> {
        let host = host.or_else(|| std::env::var("DOCKER_HOST").ok().filter(|host| !host.is_empty()));
        let host = host.unwrap_or_else(|| DEFAULT_HOST.to_owned());
        let api = Docker::connect_with_host(&host).map_err(|error| DriverError::Refused {
            message: format!(
                "there is no container engine at `{host}` ({}): start one, or say where it is with DOCKER_HOST",
                errors::text(&error)
            ),
        })?;
        Ok(Self { api, host, network, pull })
    }

    /// The architecture of its containers, if it is one of those that we know.
    pub(super) async fn arch(&self) -> Result<Option<Arch>> {
        let version =
            self.api.version().await.map_err(errors::failed(format!("asking the engine at `{}`", self.host)))?;
        // Podman and old engines use the kernel's names.
        Ok(match version.arch.as_deref() {
            Some("x86_64") => Some(Arch::Amd64),
            Some("aarch64") => Some(Arch::Arm64),
            Some(arch) => arch.parse().ok(),
            None => None,
        })
    }

    /// Every container with this label, running or not.
    pub(super) async fn list(&self, label: &str) -> Result<Vec<ContainerSummary>> {
        let filters = HashMap::from([("label", vec![label])]);
        let options = ListContainersOptionsBuilder::new().all(true).filters(&filters).build();
        let give_up = Instant::now() + SETTLES_WITHIN;
        loop {
            match self.api.list_containers(Some(options.clone())).await {
                Err(Error::JsonDataError { message, .. }) if message.contains(STOPPED) && Instant::now() < give_up => {
                    tokio::time::sleep(LOOK_AGAIN).await;
                }
                listed => return listed.map_err(errors::failed("listing containers")),
            }
        }
    }

    /// Makes a container; its id.
    pub(super) async fn create(&self, name: &str, body: ContainerCreateBody) -> Result<String> {
        let image = body.image.clone().unwrap_or_default();
        let options = CreateContainerOptionsBuilder::new().name(name).build();
        let created = self.api.create_container(Some(options), body).await;
        let doing = format!("creating a container of image `{image}`");
        Ok(created.map_err(errors::failed_or_refused(doing))?.id)
    }

    pub(super) async fn start(&self, id: &str, image: &str) -> Result<()> {
        let started = self.api.start_container(id, None).await;
        started.map_err(errors::failed_or_refused(format!("starting a container of image `{image}`")))
    }

    /// Ends a container and removes it with its own volumes. That it is gone already is no error.
    pub(super) async fn remove(&self, id: &str) -> Result<()> {
        let options = RemoveContainerOptionsBuilder::new().force(true).v(true).build();
        match self.api.remove_container(id, Some(options)).await {
            Err(error) if errors::has_status(&error, 404) => Ok(()),
            // Somebody else is at it: the end of that is what is wanted.
            Err(error) if errors::has_status(&error, 409) => self.removed(id).await,
            removed => removed.map_err(errors::failed("removing a container")),
        }
    }

    async fn removed(&self, id: &str) -> Result<()> {
        let options = WaitContainerOptionsBuilder::new().condition("removed").build();
        match self.api.wait_container(id, Some(options)).next().await {
            None | Some(Ok(_) | Err(Error::DockerContainerWaitError { .. })) => Ok(()),
            Some(Err(error)) if errors::has_status(&error, 404) => Ok(()),
            Some(Err(error)) => Err(errors::failed("waiting for the removal of a container")(error)),
        }
    }

    /// Kills a container, and returns when it has ended. That it has ended already is no error.
    pub(super) async fn kill(&self, id: &str) -> Result<()> {
        match self.api.kill_container(id, None).await {
            Err(error) if errors::has_status(&error, 404) || errors::has_status(&error, 409) => return Ok(()),
            // Podman answers so where Docker says that there is a conflict.
            Err(error) if errors::has_status(&error, 500) && errors::text(&error).contains("not running") => {
                return Ok(());
            }
            killed => killed.map_err(errors::failed("killing a container"))?,
        }
        let options = WaitContainerOptionsBuilder::new().condition("not-running").build();
        match self.api.wait_container(id, Some(options)).next().await {
            // An exit status other than zero is told as an error.
            None | Some(Ok(_) | Err(Error::DockerContainerWaitError { .. })) => Ok(()),
            Some(Err(error)) if errors::has_status(&error, 404) => Ok(()),
            Some(Err(error)) => Err(errors::failed("waiting for the end of a container")(error)),
        }
    }

    /// What became of a container; none: it is gone.
    pub(super) async fn state(&self, id: &str) -> Result<Option<ContainerState>> {
        match self.api.inspect_container(id, None).await {
            Ok(found) => Ok(Some(found.state.unwrap_or_default())),
            Err(error) if errors::has_status(&error, 404) => Ok(None),
            Err(error) => Err(errors::failed("looking at a container")(error)),
        }
    }

    /// The last that the toolbox said as the first process of a container, in one line; what else is printed there is the
    /// task's, with its secrets. What cannot be had is nothing.
    pub(super) async fn last_words(&self, id: &str) -> String {
        let options = LogsOptionsBuilder::new().stdout(true).stderr(true).tail("10").build();
        let mut pieces = self.api.logs(id, Some(options));
        let mut text = Vec::new();
        while let Some(Ok(piece)) = pieces.next().await {
            text.extend_from_slice(piece.as_ref());
            if text.len() > LOG_BYTES_MAX {
                break;
            }
        }
        let text = String::from_utf8_lossy(&text);
        let said = text.lines().filter_map(|line| line.trim().strip_prefix("runyard-toolbox: "));
        said.collect::<Vec<_>>().join("; ")
    }
}

/// How a container ended, for the user of its task.
pub(super) fn ending(state: Option<&ContainerState>) -> String {
    let Some(state) = state else { return "its container was removed by somebody else".to_owned() };
    if state.oom_killed == Some(true) {
        return "its container ran out of memory and was killed".to_owned();
    }
    let error = state.error.as_deref().filter(|error| !error.is_empty());
    match (error, state.exit_code) {
        (Some(error), _) => format!("its container has ended: {error}"),
        (None, Some(code)) => {
            format!("its container has ended with exit status {code}: it was killed, or its engine was restarted")
        }
        (None, None) => "its container has ended".to_owned(),
    }
}
