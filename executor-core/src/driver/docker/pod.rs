//! One pod of the docker driver.

use std::{io, sync::Arc, time::Duration};

use async_trait::async_trait;
use bollard::{
    container::LogOutput,
    exec::{CreateExecOptions, StartExecOptions, StartExecResults},
};
use bytes::Bytes;
use futures::{Stream, StreamExt as _, stream::BoxStream};

use super::{
    cleaning,
    containers::STEPS_DIR,
    engine::{Engine, ending},
    errors,
    labels::{Found, Mark},
    toolbox::Toolbox,
};
use crate::{
    contract::{ByteStream, ExecutorId, TaskId},
    driver::{
        Attachment, DriverError, Pod, PodId, Result, StepSpec, ToolboxCall, ToolboxRun,
        bridge::{BridgedPod, Dial, Streams},
    },
};

/// How much longer than the grace period a bridge may take before all containers are killed, and with them what they have
/// printed and nobody has fetched: the last resort for an engine or a container that does not answer.
const STOP_EXTRA: Duration = Duration::from_secs(10);

const STARTING: &str = "starting the toolbox in the pod";

/// The most that is kept of what a bridge complains about.
const COMPLAINT_BYTES_MAX: usize = 4 << 10;

/// The most of output that is taken from the engine at once.
const READ_BYTES: usize = 128 << 10;

#[derive(Clone, Debug)]
pub(super) struct DockerPod {
    engine: Arc<Engine>,
    mark: Mark,
    bridged: BridgedPod,
}

impl DockerPod {
    pub(super) fn found(engine: &Arc<Engine>, toolbox: &Arc<Toolbox>, found: Found) -> Self {
        let Found { mark, main } = found;
        let exec = Exec { engine: engine.clone(), toolbox: toolbox.clone(), main, pod: mark.pod.clone() };
        let bridged = BridgedPod::new(Arc::new(exec), mark.user.clone(), mark.lost_after);
        Self { engine: engine.clone(), mark, bridged }
    }

    /// Checks that something can be started in it.
    ///
    /// # Errors
    /// [`DriverError::Refused`] if its first container has ended at once, as where its entrypoint cannot be started.
    pub(super) async fn reach(&self) -> Result<()> {
        match self.bridged.reach().await {
            Err(DriverError::Gone { message }) => {
                Err(DriverError::Refused { message: format!("the first container does not run: {message}") })
            }
            reached => reached,
        }
    }
}

#[async_trait]
impl Pod for DockerPod {
    fn id(&self) -> &PodId {
        &self.mark.pod
    }

    fn task(&self) -> &TaskId {
        &self.mark.task
    }

    fn attempt(&self) -> u32 {
        self.mark.attempt
    }

    fn executor(&self) -> &ExecutorId {
        &self.mark.executor
    }

    async fn create_dir(&self, path: &str) -> Result<String> {
        self.bridged.create_dir(path).await
    }

    async fn start_step(&self, spec: StepSpec) -> Result<()> {
        self.bridged.start_step(spec).await
    }

    async fn attach(&self, step: u32, offset: u64) -> Result<Box<dyn Attachment>> {
        self.bridged.attach(step, offset).await
    }

    /// Services run on: they go with the pod.
    async fn stop(&self, grace: Duration) -> Result<()> {
        let error = match tokio::time::timeout(grace + STOP_EXTRA, self.bridged.stop(grace)).await {
            Ok(Ok(())) => return Ok(()),
            Ok(Err(error)) => error.user_message(),
            Err(_) => "it takes too long".to_owned(),
        };
        tracing::warn!(pod = %self.mark.pod, error, "the steps of a pod cannot be stopped; killing its containers");
        cleaning::kill(&self.engine, &self.mark.pod).await
    }

    async fn remove(&self) -> Result<()> {
        cleaning::remove(&self.engine, &self.mark.pod).await
    }

    async fn toolbox(&self, call: ToolboxCall, stdin: Option<ByteStream>) -> Result<ToolboxRun> {
        self.bridged.toolbox(call, stdin).await
    }
}

/// Starts bridges in the first container of a pod: two calls.
#[derive(Debug)]
struct Exec {
    engine: Arc<Engine>,
    toolbox: Arc<Toolbox>,
    main: Option<String>,
    pod: PodId,
}

#[async_trait]
impl Dial for Exec {
    async fn dial(&self) -> Result<Streams> {
        let Some(main) = &self.main else {
            return Err(DriverError::Gone { message: "its first container was removed".to_owned() });
        };
        let mut command = self.toolbox.command("bridge");
        command.extend([STEPS_DIR.to_owned(), self.pod.to_string()]);
        let options = CreateExecOptions {
            attach_stdin: Some(true),
            attach_stdout: Some(true),
            attach_stderr: Some(true),
            cmd: Some(command),
            // Steps become whoever they are to be from there.
            user: Some("0".to_owned()),
            ..CreateExecOptions::default()
        };
        let started = async {
            let created = self.engine.api.create_exec(main, options).await?;
            let options = StartExecOptions { output_capacity: Some(READ_BYTES), ..StartExecOptions::default() };
            self.engine.api.start_exec(&created.id, Some(options)).await
        };
        match started.await {
            Ok(StartExecResults::Attached { output, input }) => Ok(Streams { input, output: standard_output(output) }),
            Ok(StartExecResults::Detached) => Err(DriverError::failed(STARTING, "the engine gives no streams")),
            Err(error) => match self.gone(main).await? {
                Some(message) => Err(DriverError::Gone { message }),
                None => Err(errors::failed(STARTING)(error)),
            },
        }
    }
}

impl Exec {
    /// Why nothing can be started in a container any more; none: it runs.
    async fn gone(&self, container: &str) -> Result<Option<String>> {
        let state = self.engine.state(container).await?;
        if state.as_ref().is_some_and(|state| state.running == Some(true)) {
            return Ok(None);
        }
        let said = self.engine.last_words(container).await;
        let ending = ending(state.as_ref());
        Ok(Some(if said.is_empty() { ending } else { format!("{said} ({ending})") }))
    }
}

/// What a bridge writes to its standard output. If it complained, the end is an error that says so.
fn standard_output(
    output: impl Stream<Item = Result<LogOutput, bollard::errors::Error>> + Send + Unpin + 'static,
) -> BoxStream<'static, io::Result<Bytes>> {
    let state = Some((output, Vec::new()));
    futures::stream::unfold(state, async |state| {
        let (mut output, mut complaint) = state?;
        loop {
            match output.next().await {
                Some(Ok(LogOutput::StdOut { message } | LogOutput::Console { message })) => {
                    return Some((Ok(message), Some((output, complaint))));
                }
                Some(Ok(LogOutput::StdErr { message })) => {
                    let room = COMPLAINT_BYTES_MAX.saturating_sub(complaint.len());
                    complaint.extend_from_slice(&message[..message.len().min(room)]);
                }
                Some(Ok(LogOutput::StdIn { .. })) => {}
                Some(Err(error)) => return Some((Err(io::Error::other(errors::text(&error))), None)),
                None if complaint.is_empty() => return None,
                None => {
                    let text = String::from_utf8_lossy(&complaint).trim().to_owned();
                    return Some((Err(io::Error::other(text)), None));
                }
            }
        }
    })
    .boxed()
}
