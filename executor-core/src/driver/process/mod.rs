//! Pods that are directories and processes of this host: no container, no other program.
//!
//! ```text
//! DIR/<pod id>/         0700
//!   pod.json            whose pod it is
//!   home/               the HOME of its commands; `~/project` is below
//!   steps/<n>/          the step directory of a supervisor, with the command's text beside it
//! ```
//!
//! Commands run as the user that runs the executor, and can do on the host whatever that user can: the driver is for
//! trusted projects, or for a user of its own. Every process of a pod has `RUNYARD_POD=<pod id>` in its environment,
//! which is how it is found when the pod ends.

mod attach;
mod builder;
mod environment;
mod pod;
mod remove;
mod stop;
mod toolbox;
mod user;

use std::{
    fs,
    io::{self, Write as _},
    path::{Path, PathBuf},
    sync::Arc,
};

use async_trait::async_trait;
use serde::{Deserialize, Serialize};
use tokio_util::sync::CancellationToken;

pub use builder::{Inherit, ProcessDriverBuilder};

use self::{builder::Host, pod::ProcessPod};
use super::{DriverError, ExecutorDriver, Pod, PodId, PodSpec, Result, SetupLog};
use crate::{
    contract::{Arch, ExecutorId, TaskId},
    executor::{create_private_dir, private_file},
};

const POD_FILE: &str = "pod.json";

/// The variable that marks every process of a pod.
const MARK: &str = "RUNYARD_POD";

/// Runs commands on this host, each pod in a directory of its own.
///
/// ```no_run
/// use runyard_executor_core::driver::ProcessDriver;
///
/// // First in `main`, so that the host's own binary can be the supervisor of steps.
/// runyard_executor_core::run_toolbox_if_invoked();
/// let driver = ProcessDriver::open("/var/lib/ci/pods")?;
/// # Ok::<(), runyard_executor_core::driver::DriverError>(())
/// ```
#[derive(Clone, Debug)]
pub struct ProcessDriver {
    dir: PathBuf,
    host: Arc<Host>,
}

/// The content of `pod.json`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct PodFile {
    task: TaskId,
    attempt: u32,
    executor: ExecutorId,
    lost_after_ms: u64,
}

impl ProcessDriver {
    /// A driver with default settings, whose pods are below `dir`, which it makes if need be.
    ///
    /// # Errors
    /// If the directory cannot be made, or the path of the running program is unknown.
    pub fn open(dir: impl AsRef<Path>) -> Result<Self> {
        Self::builder().open(dir)
    }

    /// A driver with other settings.
    pub fn builder() -> ProcessDriverBuilder {
        ProcessDriverBuilder::default()
    }

    fn pod_at(&self, id: PodId) -> Result<Option<ProcessPod>> {
        let dir = self.dir.join(id.as_str());
        let json = match fs::read(dir.join(POD_FILE)) {
            Ok(json) => json,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(DriverError::failed(format!("reading pod {id}"), error)),
        };
        let file = serde_json::from_slice(&json)
            .map_err(|error| DriverError::failed(format!("reading `{POD_FILE}` of pod {id}"), error))?;
        Ok(Some(ProcessPod::new(id, file, dir, self.host.clone())))
    }

    /// A pod appears whole: a directory without `pod.json` is nobody's.
    fn make(&self, spec: &PodSpec) -> io::Result<PodFile> {
        let file = PodFile {
            task: spec.task.clone(),
            attempt: spec.attempt,
            executor: spec.executor.clone(),
            lost_after_ms: u64::try_from(spec.lost_after.as_millis()).unwrap_or(u64::MAX),
        };
        let new = self.dir.join(format!("{}{}", new_prefix(&spec.executor), spec.id));
        let made = fill(&new, &file).and_then(|()| fs::rename(&new, self.dir.join(spec.id.as_str())));
        if made.is_err() {
            // What remains in spite of that is removed by the next start.
            let _ = fs::remove_dir_all(&new);
        }
        made.map(|()| file)
    }

    /// The directories that have the name of a pod, whosever they are.
    fn pod_ids(&self) -> io::Result<Vec<PodId>> {
        let mut ids = Vec::new();
        for entry in fs::read_dir(&self.dir)? {
            ids.extend(entry?.file_name().to_str().and_then(|name| PodId::parse(name).ok()));
        }
        Ok(ids)
    }

    /// Removes what a crash left half-made. Only while no pod of this owner is being made.
    fn remove_half_made(&self, owner: &ExecutorId) -> io::Result<()> {
        for entry in fs::read_dir(&self.dir)? {
            let entry = entry?;
            if entry.file_name().to_str().is_some_and(|name| name.starts_with(&new_prefix(owner))) {
                fs::remove_dir_all(entry.path())?;
            }
        }
        Ok(())
    }
}

fn fill(dir: &Path, file: &PodFile) -> io::Result<()> {
    create_private_dir(dir)?;
    fs::create_dir(dir.join("home"))?;
    private_file().open(dir.join(POD_FILE))?.write_all(&serde_json::to_vec(file)?)
}

fn new_prefix(executor: &ExecutorId) -> String {
    format!(".new.{executor}.")
}

#[async_trait]
impl ExecutorDriver for ProcessDriver {
    async fn prepare(&self, executor: &ExecutorId) -> Result<()> {
        self.remove_half_made(executor).map_err(DriverError::io("clearing the directory of pods"))
    }

    async fn archs(&self) -> Result<Vec<Arch>> {
        Ok(Arch::current().into_iter().collect())
    }

    async fn create_pod(&self, spec: PodSpec, log: &dyn SetupLog, cancel: &CancellationToken) -> Result<Arc<dyn Pod>> {
        refuse(&spec)?;
        if cancel.is_cancelled() {
            return Err(DriverError::Cancelled { doing: "creating the pod" });
        }
        for line in ignored(&spec) {
            log.line(&line);
        }
        let file = self.make(&spec).map_err(DriverError::io("creating the directory of the pod"))?;
        self.host.steps_only().insert(spec.id.clone());
        let dir = self.dir.join(spec.id.as_str());
        Ok(Arc::new(ProcessPod::new(spec.id, file, dir, self.host.clone())))
    }

    async fn pods(&self, owner: &ExecutorId) -> Result<Vec<Arc<dyn Pod>>> {
        let ids = self.pod_ids().map_err(DriverError::io("reading the directory of pods"))?;
        let mut pods: Vec<Arc<dyn Pod>> = Vec::new();
        for id in ids {
            match self.pod_at(id) {
                Ok(Some(pod)) if pod.executor() == owner => pods.push(Arc::new(pod)),
                Ok(_) => {}
                // A crash of the machine can do that. Nothing of it runs any more, but nobody knows whose it was.
                Err(error) => tracing::error!(error = error.user_message(), "leaving a pod alone: remove it by hand"),
            }
        }
        Ok(pods)
    }
}

/// What cannot be done on a host without containers.
fn refuse(spec: &PodSpec) -> Result<()> {
    let refuse = |message: String| Err(DriverError::Refused { message });
    if spec.containers.len() > 1 {
        return refuse(format!(
            "the task has {} containers, and the process driver runs commands without any: use an executor with the \
             docker or kubernetes driver",
            spec.containers.len()
        ));
    }
    if spec.containers.iter().any(|container| container.privileged) {
        return refuse("the process driver has no containers that could be privileged".to_owned());
    }
    if let Some(arch) = spec.arch
        && Some(arch) != Arch::current()
    {
        return refuse(format!("the task needs the architecture {arch}, which this host does not have"));
    }
    match &spec.user {
        Some(user) => user::require_current(user),
        None => Ok(()),
    }
}

/// What has no effect on a host without containers; a line for each.
fn ignored(spec: &PodSpec) -> Vec<String> {
    let mut lines = Vec::new();
    for container in &spec.containers {
        if !container.image.is_empty() {
            lines.push(format!("image `{}` is ignored: commands run on the host itself", container.image));
        }
        if let Some(entrypoint) = &container.entrypoint {
            lines.push(format!("entrypoint `{entrypoint}` is ignored: there is no container"));
        }
        if !container.resources.is_unlimited() {
            lines.push("`resources` are ignored: commands run on the host itself, without limits".to_owned());
        }
        for volume in &container.volumes {
            lines.push(format!("the volume at `{}` is ignored: there is no container", volume.path));
        }
    }
    lines
}
