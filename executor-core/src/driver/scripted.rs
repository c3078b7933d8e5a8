//! A driver without processes: its commands are scripts of three words, its time is tokio's.
//!
//! ```text
//! echo TEXT      prints TEXT and a line break
//! sleep SECONDS  waits, on a clock that a test can pause
//! exit CODE      ends the step
//! ```
//!
//! Pods are in memory, shared by all clones of a driver: an executor that is opened again on a clone finds them.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard},
    time::Duration,
};

use async_trait::async_trait;
use bytes::Bytes;
use futures::{FutureExt as _, StreamExt as _, TryStreamExt as _, stream};
use tokio::{sync::watch, task::JoinSet};
use tokio_util::sync::CancellationToken;

use super::{
    Attachment, DriverError, ExecutorDriver, Pod, PodId, PodSpec, Result, SetupLog, StepEnd, StepEvent, StepSpec,
    ToolboxCall, ToolboxEnd, ToolboxRun,
};
use crate::contract::{Arch, ByteStream, ExecutorId, TaskId};

/// Pods in memory whose commands are scripts.
///
/// ```
/// use runyard_executor_core::driver::{DriverError, scripted::ScriptedDriver};
///
/// let driver = ScriptedDriver::new();
/// driver.fail_next_create(DriverError::failed("pulling the image", "no such image"));
/// assert_eq!(driver.created(), 0);
/// ```
#[derive(Clone, Debug, Default)]
pub struct ScriptedDriver(Arc<Mutex<World>>);

#[derive(Debug, Default)]
struct World {
    pods: BTreeMap<PodId, Arc<ScriptedPod>>,
    created: u32,
    next_failure: Option<DriverError>,
    next_delay: Option<Duration>,
    next_panics: bool,
}

impl ScriptedDriver {
    /// A driver without pods.
    pub fn new() -> Self {
        Self::default()
    }

    /// How many pods were created.
    pub fn created(&self) -> u32 {
        self.world().created
    }

    /// The next pod is not created, but fails like this.
    pub fn fail_next_create(&self, error: DriverError) {
        self.world().next_failure = Some(error);
    }

    /// The creation of the next pod panics, as a bug would make it.
    pub fn panic_next_create(&self) {
        self.world().next_panics = true;
    }

    /// The next pod takes this long to create, unless that is cancelled.
    pub fn delay_next_create(&self, delay: Duration) {
        self.world().next_delay = Some(delay);
    }

    /// Ends all steps as if their supervisors had been killed.
    pub fn lose_steps(&self) {
        for pod in self.world().pods.values() {
            pod.end_all(&StepEnd::Lost { message: "its supervisor is gone".to_owned() });
        }
    }

    fn world(&self) -> MutexGuard<'_, World> {
        self.0.lock().expect("no panic happens while it is locked")
    }
}

#[async_trait]
impl ExecutorDriver for ScriptedDriver {
    async fn prepare(&self, _executor: &ExecutorId) -> Result<()> {
        Ok(())
    }

    async fn archs(&self) -> Result<Vec<Arch>> {
        Ok(vec![Arch::Amd64])
    }

    async fn create_pod(&self, spec: PodSpec, log: &dyn SetupLog, cancel: &CancellationToken) -> Result<Arc<dyn Pod>> {
        let panics = std::mem::take(&mut self.world().next_panics);
        assert!(!panics, "the script says that this creation panics");
        let delay = self.world().next_delay.take();
        if let Some(delay) = delay {
            // Whether it was cancelled is looked at below.
            let _ = tokio::time::timeout(delay, cancel.cancelled()).await;
        }
        let mut world = self.world();
        if cancel.is_cancelled() {
            return Err(DriverError::Cancelled { doing: "creating the pod" });
        }
        if let Some(failure) = world.next_failure.take() {
            return Err(failure);
        }
        log.line("a scripted pod");
        world.created += 1;
        let pod = ScriptedPod { spec, world: self.clone(), steps: Mutex::default(), running: Mutex::default() };
        let pod = Arc::new(pod);
        world.pods.insert(pod.spec.id.clone(), pod.clone());
        Ok(pod)
    }

    async fn pods(&self, owner: &ExecutorId) -> Result<Vec<Arc<dyn Pod>>> {
        let world = self.world();
        let pods = world.pods.values().filter(|pod| pod.spec.executor == *owner);
        Ok(pods.map(|pod| Arc::clone(pod) as Arc<dyn Pod>).collect())
    }
}

struct ScriptedPod {
    spec: PodSpec,
    world: ScriptedDriver,
    steps: Mutex<BTreeMap<u32, watch::Sender<Output>>>,
    running: Mutex<JoinSet<()>>,
}

#[derive(Clone, Debug, Default)]
struct Output {
    bytes: Vec<u8>,
    end: Option<StepEnd>,
}

impl std::fmt::Debug for ScriptedPod {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ScriptedPod").field("id", &self.spec.id).finish_non_exhaustive()
    }
}

impl ScriptedPod {
    fn steps(&self) -> MutexGuard<'_, BTreeMap<u32, watch::Sender<Output>>> {
        self.steps.lock().expect("no panic happens while it is locked")
    }

    fn end_all(&self, end: &StepEnd) {
        self.running.lock().expect("no panic happens while it is locked").abort_all();
        for step in self.steps().values() {
            step.send_modify(|output| {
                output.end.get_or_insert_with(|| end.clone());
            });
        }
    }
}

/// Runs a script to its end.
async fn play(script: String, output: watch::Sender<Output>) {
    let mut code = 0;
    for line in script.lines().map(str::trim).filter(|line| !line.is_empty()) {
        let (word, rest) = line.split_once(' ').unwrap_or((line, ""));
        match word {
            "echo" => output.send_modify(|output| output.bytes.extend_from_slice(format!("{rest}\n").as_bytes())),
            "sleep" => tokio::time::sleep(Duration::from_secs_f64(rest.parse().unwrap_or_default())).await,
            "exit" => {
                code = rest.parse().unwrap_or(2);
                break;
            }
            _ => {
                code = 127;
                break;
            }
        }
    }
    output.send_modify(|output| {
        output.end.get_or_insert(StepEnd::Exited { code });
    });
}

#[async_trait]
impl Pod for ScriptedPod {
    fn id(&self) -> &PodId {
        &self.spec.id
    }

    fn task(&self) -> &TaskId {
        &self.spec.task
    }

    fn attempt(&self) -> u32 {
        self.spec.attempt
    }

    fn executor(&self) -> &ExecutorId {
        &self.spec.executor
    }

    async fn create_dir(&self, path: &str) -> Result<String> {
        Ok(path.replacen('~', "/home", 1))
    }

    async fn start_step(&self, spec: StepSpec) -> Result<()> {
        let mut steps = self.steps();
        if steps.contains_key(&spec.step) {
            return Err(DriverError::AlreadyStarted { step: spec.step });
        }
        let output = watch::Sender::new(Output::default());
        steps.insert(spec.step, output.clone());
        self.running.lock().expect("no panic happens while it is locked").spawn(play(spec.command, output));
        Ok(())
    }

    async fn attach(&self, step: u32, offset: u64) -> Result<Box<dyn Attachment>> {
        let steps = self.steps();
        let output = steps.get(&step).ok_or(DriverError::NotStarted { step })?.subscribe();
        let offset = usize::try_from(offset).map_err(|error| DriverError::failed("attaching", error))?;
        Ok(Box::new(ScriptedAttachment { output, offset }))
    }

    async fn stop(&self, _grace: Duration) -> Result<()> {
        self.end_all(&StepEnd::Exited { code: 143 });
        Ok(())
    }

    async fn remove(&self) -> Result<()> {
        self.end_all(&StepEnd::Exited { code: 137 });
        self.world.world().pods.remove(&self.spec.id);
        Ok(())
    }

    /// A key is its template, an archive is the list of its paths; what is unpacked is read and dropped.
    async fn toolbox(&self, call: ToolboxCall, stdin: Option<ByteStream>) -> Result<ToolboxRun> {
        let output = match call {
            ToolboxCall::CacheKey { template, .. } => template + "\0",
            ToolboxCall::Archive { contents, .. } => {
                contents.iter().flat_map(|contents| contents.paths.clone()).collect::<Vec<_>>().join("\n")
            }
            ToolboxCall::Unarchive { .. } => String::new(),
        };
        let read = stdin.unwrap_or_else(|| stream::empty().boxed()).try_filter(|_| std::future::ready(false));
        let output = read.chain(stream::iter([Ok(Bytes::from(output))]));
        Ok(ToolboxRun { output: output.boxed(), end: async { ToolboxEnd::default() }.boxed() })
    }
}

struct ScriptedAttachment {
    output: watch::Receiver<Output>,
    offset: usize,
}

#[async_trait]
impl Attachment for ScriptedAttachment {
    async fn next(&mut self) -> Result<StepEvent> {
        let offset = self.offset;
        let changed = self.output.wait_for(|output| output.bytes.len() > offset || output.end.is_some()).await;
        let output = changed.map_err(|error| DriverError::failed("reading the output", error))?;
        if let Some(bytes) = output.bytes.get(offset..).filter(|bytes| !bytes.is_empty()) {
            self.offset = output.bytes.len();
            return Ok(StepEvent::Output { offset: offset as u64, bytes: Bytes::copy_from_slice(bytes) });
        }
        let end = output.end.clone();
        Ok(StepEvent::Ended(end.expect("there is more output, or the end")))
    }

    async fn ack(&mut self, _offset: u64) -> Result<()> {
        Ok(())
    }
}
