//! What is a container of a pod made of? Pure.

use std::collections::HashMap;

use bollard::models::{
    ContainerCreateBody, HealthConfig, HostConfig, HostConfigLogConfig, Mount, MountType, MountVolumeOptions,
};

use super::{labels::Mark, toolbox::Toolbox};
use crate::contract::{Container, Environment, TmpfsVolume};

/// Where a first container has the toolbox.
pub(super) const TOOLBOX_DIR: &str = "/.runyard/toolbox";

/// Where a first container has what its steps leave.
const POD_DIR: &str = "/.runyard/pod";

/// The directory of the steps.
pub(super) const STEPS_DIR: &str = "/.runyard/pod/steps";

/// The name of a container, unlike every other's.
pub(super) fn name(mark: &Mark, index: usize) -> String {
    format!("runyard-{}-{index}", mark.pod)
}

/// The container that runs the steps.
pub(super) fn main(
    container: &Container,
    mark: &Mark,
    toolbox: &Toolbox,
    network: Option<&str>,
) -> ContainerCreateBody {
    let mut command = toolbox.command("pause");
    command.extend(words(container));
    let mounts = vec![
        Mount {
            typ: Some(MountType::VOLUME),
            source: Some(toolbox.volume.clone()),
            target: Some(TOOLBOX_DIR.to_owned()),
            read_only: Some(true),
            volume_options: Some(MountVolumeOptions { no_copy: Some(true), ..MountVolumeOptions::default() }),
            ..Mount::default()
        },
        Mount { typ: Some(MountType::VOLUME), target: Some(POD_DIR.to_owned()), ..Mount::default() },
    ];
    ContainerCreateBody {
        entrypoint: Some(command),
        // Else the image's would be appended.
        cmd: Some(Vec::new()),
        // It looks at what the image starts, which is not started.
        healthcheck: Some(HealthConfig { test: Some(vec!["NONE".to_owned()]), ..HealthConfig::default() }),
        host_config: Some(HostConfig {
            mounts: Some(mounts),
            network_mode: network.map(str::to_owned),
            ..host_config(container)
        }),
        ..body(container, mark, 0)
    }
}

/// A container beside it, in the network of the container `main`.
pub(super) fn service(container: &Container, mark: &Mark, index: usize, main: &str) -> ContainerCreateBody {
    let entrypoint = words(container);
    ContainerCreateBody {
        entrypoint: (!entrypoint.is_empty()).then_some(entrypoint),
        host_config: Some(HostConfig { network_mode: Some(format!("container:{main}")), ..host_config(container) }),
        ..body(container, mark, index)
    }
}

fn body(container: &Container, mark: &Mark, index: usize) -> ContainerCreateBody {
    ContainerCreateBody {
        image: Some(container.image.clone()),
        env: Some(variables(&container.environment)),
        user: container.user.clone().filter(|user| !user.is_empty()),
        labels: Some(mark.labels(index)),
        ..ContainerCreateBody::default()
    }
}

fn host_config(container: &Container) -> HostConfig {
    let memory_max = container.resources.memory_max.map(limit);
    HostConfig {
        privileged: Some(container.privileged),
        log_config: Some(log_config()),
        tmpfs: Some(container.volumes.iter().map(tmpfs).collect()),
        nano_cpus: container.resources.milli_cpus.map(|milli| limit(milli.saturating_mul(1_000_000))),
        memory: memory_max,
        // Memory and swap together: no swap.
        memory_swap: memory_max,
        ..HostConfig::default()
    }
}

/// What services print is kept for whoever looks at them from outside, and must not fill the disk of the engine.
fn log_config() -> HostConfigLogConfig {
    let options = HashMap::from([("max-size".to_owned(), "10m".to_owned())]);
    HostConfigLogConfig { typ: Some("json-file".to_owned()), config: Some(options) }
}

fn limit(value: u64) -> i64 {
    i64::try_from(value).unwrap_or(i64::MAX)
}

/// Programs can be started in it, as in a memory-backed volume of Kubernetes; engines would forbid that.
fn tmpfs(volume: &TmpfsVolume) -> (String, String) {
    let mut options = "rw,exec,mode=1777".to_owned();
    if volume.size_max > 0 {
        options.push_str(&format!(",size={}", volume.size_max));
    }
    (volume.path.clone(), options)
}

fn variables(environment: &Environment) -> Vec<String> {
    environment.iter().map(|(name, value)| format!("{name}={}", value.expose())).collect()
}

fn words(container: &Container) -> Vec<String> {
    container.entrypoint.iter().flat_map(|entrypoint| entrypoint.split_whitespace()).map(str::to_owned).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tmpfs_volumes_have_their_limit() {
        let volume = |size_max| TmpfsVolume { path: "/cache".into(), size_max };
        assert_eq!(tmpfs(&volume(0)).1, "rw,exec,mode=1777");
        assert_eq!(tmpfs(&volume(1024)), ("/cache".into(), "rw,exec,mode=1777,size=1024".into()));
    }
}
