//! What does a case of the suite work with?

use std::{fmt, sync::Arc, time::Duration};

use tokio_util::sync::CancellationToken;

use crate::{
    contract::{Container, Environment, ExecutorId, TaskId},
    driver::{Attachment, ExecutorDriver, Pod, PodId, PodSpec, Result, SetupLog, StepEnd, StepEvent, StepSpec},
};

/// Whatever a case waits for has happened long before.
const PATIENCE: Duration = Duration::from_secs(30);

/// The driver under test, and names that no other case uses.
pub struct World {
    open: Arc<dyn Fn() -> Arc<dyn ExecutorDriver> + Send + Sync>,
    container: Container,
    /// What is in its names, and in no other's.
    tag: String,
}

impl fmt::Debug for World {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("World").field("tag", &self.tag).finish_non_exhaustive()
    }
}

struct NoLog;

impl SetupLog for NoLog {
    fn line(&self, _text: &str) {}
}

impl World {
    pub(super) fn new(
        open: Arc<dyn Fn() -> Arc<dyn ExecutorDriver> + Send + Sync>,
        container: Container,
        tag: String,
    ) -> Self {
        Self { open, container, tag }
    }

    /// Opens the driver, as another process would.
    pub(super) fn driver(&self) -> Arc<dyn ExecutorDriver> {
        (self.open)()
    }

    pub(super) fn executor(&self) -> ExecutorId {
        ExecutorId::parse(format!("conformance-{}", self.tag)).expect("an id")
    }

    pub(super) fn spec(&self) -> PodSpec {
        PodSpec {
            id: PodId::parse(format!("conformance-{}", self.tag)).expect("an id"),
            task: TaskId::parse(format!("task-{}", self.tag)).expect("an id"),
            attempt: 3,
            executor: self.executor(),
            arch: None,
            containers: vec![self.container.clone()],
            user: None,
            registries_auth: Default::default(),
            lost_after: Duration::from_secs(60),
        }
    }

    /// What a further pod of the same executor is made of.
    pub(super) fn another_spec(&self, other: usize) -> PodSpec {
        PodSpec {
            id: PodId::parse(format!("conformance-{}-{other}", self.tag)).expect("an id"),
            task: TaskId::parse(format!("task-{}-{other}", self.tag)).expect("an id"),
            ..self.spec()
        }
    }

    pub(super) async fn create_of(&self, driver: &dyn ExecutorDriver, spec: PodSpec) -> Result<Arc<dyn Pod>> {
        driver.create_pod(spec, &NoLog, &CancellationToken::new()).await
    }

    pub(super) async fn create(&self, cancel: &CancellationToken) -> Result<Arc<dyn Pod>> {
        let driver = self.driver();
        driver.prepare(&self.executor()).await.expect("the driver can be used");
        driver.create_pod(self.spec(), &NoLog, cancel).await
    }

    pub(super) async fn pod(&self) -> Arc<dyn Pod> {
        self.create(&CancellationToken::new()).await.expect("a pod is created")
    }

    /// The pod as another process finds it.
    pub(super) async fn found(&self) -> Arc<dyn Pod> {
        let mut pods = self.driver().pods(&self.executor()).await.expect("pods are listed");
        assert_eq!(pods.len(), 1, "exactly the pod that was created is found");
        pods.remove(0)
    }
}

/// A step whose command is `command`, in the home of the pod.
pub(super) async fn step(pod: &dyn Pod, number: u32, command: &str) -> StepSpec {
    StepSpec {
        step: number,
        command: command.to_owned(),
        shell: vec!["/bin/sh".to_owned(), "-e".to_owned()],
        environment: Environment::new(),
        working_dir: pod.create_dir("~").await.expect("the home is there"),
        user: None,
        tty: false,
        secrets: Vec::new(),
    }
}

pub(super) async fn start(pod: &dyn Pod, number: u32, command: &str) {
    let spec = step(pod, number, command).await;
    within(pod.start_step(spec)).await.expect("the step is started");
}

/// The output of a step from `offset` to its end, and its end. Nothing is acknowledged.
pub(super) async fn rest(pod: &dyn Pod, number: u32, offset: u64) -> (String, StepEnd) {
    let mut attachment = within(pod.attach(number, offset)).await.expect("the step is attached to");
    let (output, end) = bytes(&mut *attachment, offset).await;
    (String::from_utf8(output).expect("text"), end)
}

/// What is left to read, from `offset` on, and the end.
pub(super) async fn bytes(attachment: &mut dyn Attachment, offset: u64) -> (Vec<u8>, StepEnd) {
    let mut output = Vec::new();
    loop {
        match within(attachment.next()).await.expect("the output goes on") {
            StepEvent::Output { offset: at, bytes } => {
                assert_eq!(at, offset + output.len() as u64, "pieces follow each other");
                output.extend_from_slice(&bytes);
            }
            StepEvent::Ended(end) => return (output, end),
        }
    }
}

/// Reads until the output holds `text`; returns where the output read so far ends.
pub(super) async fn read_until(attachment: &mut dyn Attachment, text: &str) -> u64 {
    let mut output = Vec::new();
    loop {
        match within(attachment.next()).await.expect("the output goes on") {
            StepEvent::Output { offset, bytes } => {
                output.extend_from_slice(&bytes);
                if String::from_utf8_lossy(&output).contains(text) {
                    return offset + bytes.len() as u64;
                }
            }
            StepEvent::Ended(end) => panic!("it ended before: {end:?}"),
        }
    }
}

/// Waits, but not for ever.
pub(super) async fn within<T>(work: impl Future<Output = T>) -> T {
    tokio::time::timeout(PATIENCE, work).await.expect("it happens in time")
}
