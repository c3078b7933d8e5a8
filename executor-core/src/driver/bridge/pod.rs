//! What of a pod is done over a bridge?

use std::{sync::Arc, time::Duration};

use runyard_toolbox::{
    COMMAND_FILE, StepCommand, SuperviseSpec,
    bridge::protocol::{Reply, Request},
};

use super::{
    attachment,
    pool::{ANSWERS_WITHIN, Bridges, Dial},
    toolbox,
};
use crate::{
    contract::ByteStream,
    driver::{Attachment, DriverError, Result, StepSpec, ToolboxCall, ToolboxRun},
};

/// The part of a [`Pod`](crate::driver::Pod) that is reached over bridges: a driver's pod has one, and hands its calls on.
///
/// Cloning is cheap; clones share their bridges.
#[derive(Clone, Debug)]
pub struct BridgedPod {
    pub(super) bridges: Bridges,
    /// Who steps run as that do not say; none: the bridge's own user.
    user: Option<String>,
    pub(super) lost_after: Duration,
}

impl BridgedPod {
    /// A pod that is reached by `dial`. `user`: who steps run as that do not say, by the pod's own files; none: whoever the
    /// bridge runs as. `lost_after`: how long a step survives without an executor.
    pub fn new(dial: Arc<dyn Dial>, user: Option<String>, lost_after: Duration) -> Self {
        Self { bridges: Bridges::new(dial), user, lost_after }
    }

    /// Starts a bridge, for whatever comes first.
    ///
    /// # Errors
    /// [`DriverError::Gone`] if that is not possible any more.
    pub async fn reach(&self) -> Result<()> {
        let connection = self.bridges.open().await?;
        self.bridges.put_back(connection);
        Ok(())
    }

    /// See [`Pod::create_dir`](crate::driver::Pod::create_dir).
    pub async fn create_dir(&self, path: &str) -> Result<String> {
        let doing = format!("creating the directory `{path}`");
        let request = Request::MakeDir { path: path.to_owned(), user: self.user.clone() };
        match self.bridges.call(&doing, &request, ANSWERS_WITHIN).await? {
            Reply::Dir { path } => Ok(path),
            reply => Err(unexpected(&doing, &reply)),
        }
    }

    /// See [`Pod::start_step`](crate::driver::Pod::start_step).
    pub async fn start_step(&self, spec: StepSpec) -> Result<()> {
        let (step, doing) = (spec.step, format!("starting step {}", spec.step));
        let request = Request::Start { step, command: spec.command.clone(), spec: Box::new(self.supervise_spec(spec)) };
        match self.bridges.call(&doing, &request, ANSWERS_WITHIN).await? {
            Reply::Done => Ok(()),
            Reply::AlreadyStarted => Err(DriverError::AlreadyStarted { step }),
            reply => Err(unexpected(&doing, &reply)),
        }
    }

    fn supervise_spec(&self, spec: StepSpec) -> SuperviseSpec {
        let command = StepCommand::Shell { shell: spec.shell, file: COMMAND_FILE.into() };
        let mut supervise = SuperviseSpec::new(command, spec.working_dir);
        let values = spec.environment.into_iter().map(|(name, value)| (name, value.expose().to_owned()));
        supervise.environment = values.collect();
        supervise.secrets = spec.secrets;
        supervise.tty = spec.tty;
        supervise.user = spec.user.or_else(|| self.user.clone());
        supervise.lost_after = self.lost_after;
        supervise
    }

    /// See [`Pod::attach`](crate::driver::Pod::attach). To a pod that is gone it attaches too: the step is lost.
    pub async fn attach(&self, step: u32, offset: u64) -> Result<Box<dyn Attachment>> {
        attachment::attach(self, step, offset).await
    }

    /// Ends the steps of the pod, and what they left. A pod that is gone has none.
    pub async fn stop(&self, grace: Duration) -> Result<()> {
        let grace_ms = u64::try_from(grace.as_millis()).unwrap_or(u64::MAX);
        let (doing, request) = ("stopping the steps of the pod", Request::Stop { grace_ms });
        match self.bridges.call(doing, &request, grace.saturating_add(ANSWERS_WITHIN)).await {
            Ok(Reply::Done) | Err(DriverError::Gone { .. }) => Ok(()),
            Ok(reply) => Err(unexpected(doing, &reply)),
            Err(error) => Err(error),
        }
    }

    /// See [`Pod::toolbox`](crate::driver::Pod::toolbox).
    pub async fn toolbox(&self, call: ToolboxCall, stdin: Option<ByteStream>) -> Result<ToolboxRun> {
        toolbox::run(&self.bridges, self.user.clone(), call, stdin).await
    }
}

pub(super) fn unexpected(doing: &str, reply: &Reply) -> DriverError {
    DriverError::failed(doing, format!("the toolbox in the pod answers with {reply:?}"))
}
