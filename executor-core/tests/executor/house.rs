//! An executor, a driver and a run service, put together for one test.

use std::{path::PathBuf, sync::Arc, time::Duration};

use runyard_executor_core::{
    Executor, ExecutorError, Settings,
    contract::{
        AttemptState, Container, RunId, RunStep, Runtime, Step, StepRef, Steps, TaskId, TaskName, TaskReport, TaskSpec,
    },
    driver::{ExecutorDriver, ProcessDriver},
    testing::FakeRunService,
};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::toolbox;

/// Whatever a test waits for has happened long before.
const PATIENCE: Duration = Duration::from_secs(20);

pub(crate) struct House {
    pub(crate) dir: tempfile::TempDir,
    pub(crate) service: Arc<FakeRunService>,
    pub(crate) settings: Settings,
    pub(crate) task_limit: u32,
    /// The program that supervises steps, with its first arguments.
    pub(crate) toolbox: Vec<PathBuf>,
    /// Opens another driver than that of processes.
    open_driver: Option<OpenDriver>,
    running: Option<Running>,
}

/// Opens a driver, as another process would.
pub(crate) type OpenDriver = Arc<dyn Fn() -> Arc<dyn ExecutorDriver> + Send + Sync>;

struct Running {
    executor: Arc<Executor>,
    shutdown: CancellationToken,
    work: JoinHandle<Result<(), ExecutorError>>,
}

impl House {
    /// A house whose executor runs.
    pub(crate) async fn start() -> Self {
        Self::start_with(Settings { stop_grace: Duration::from_secs(2), ..Settings::default() }, 4).await
    }

    pub(crate) async fn start_with(settings: Settings, task_limit: u32) -> Self {
        Self::start_on(None, settings, task_limit).await
    }

    pub(crate) async fn start_on(open_driver: Option<OpenDriver>, settings: Settings, task_limit: u32) -> Self {
        let dir = tempfile::tempdir().expect("a directory");
        let mut house = Self {
            dir,
            service: FakeRunService::new(),
            settings,
            task_limit,
            toolbox: vec![toolbox::path().to_owned()],
            open_driver,
            running: None,
        };
        house.open().await;
        house
    }

    pub(crate) fn driver(&self) -> ProcessDriver {
        let driver = ProcessDriver::builder().toolbox(&self.toolbox);
        driver.open(self.dir.path().join("pods")).expect("the driver opens")
    }

    pub(crate) fn any_driver(&self) -> Arc<dyn ExecutorDriver> {
        match &self.open_driver {
            Some(open) => open(),
            None => Arc::new(self.driver()),
        }
    }

    async fn try_open(&self) -> Result<Executor, ExecutorError> {
        Executor::builder(self.service.clone(), self.any_driver())
            .task_limit(self.task_limit)
            .settings(self.settings.clone())
            .open(self.dir.path().join("executor"))
            .await
    }

    /// Opens an executor on the directory of the one before.
    pub(crate) async fn open(&mut self) {
        let executor = within(async {
            loop {
                match self.try_open().await {
                    // Work of the one before ends on another thread.
                    Err(ExecutorError::DirectoryInUse { .. }) => tokio::task::yield_now().await,
                    opened => break opened.expect("the executor opens"),
                }
            }
        })
        .await;
        let executor = Arc::new(executor);
        let shutdown = CancellationToken::new();
        let work = tokio::spawn({
            let (executor, shutdown) = (executor.clone(), shutdown.clone());
            async move { executor.run(shutdown).await }
        });
        self.running = Some(Running { executor, shutdown, work });
    }

    pub(crate) fn executor(&self) -> &Arc<Executor> {
        &self.running.as_ref().expect("it runs").executor
    }

    /// Ends the executor at whatever it is just doing, as a crash would.
    pub(crate) async fn crash(&mut self) {
        let running = self.running.take().expect("it runs");
        running.work.abort();
        let ended = running.work.await;
        assert!(ended.is_err_and(|error| error.is_cancelled()), "it was running");
        assert_eq!(Arc::strong_count(&running.executor), 1, "nothing of it is left");
    }

    pub(crate) async fn shut_down(&mut self) -> Result<(), ExecutorError> {
        let running = self.running.take().expect("it runs");
        running.shutdown.cancel();
        running.work.await.expect("it does not panic")
    }

    /// Waits until the executor ends by itself.
    pub(crate) async fn ended(&mut self) -> Result<(), ExecutorError> {
        self.running.take().expect("it runs").work.await.expect("it does not panic")
    }

    /// Waits until the executor holds nothing, and checks that nothing is left, of pods and on the disk.
    pub(crate) async fn assert_clean(&self) {
        let left = || {
            let entries = ["pods", "executor/journal", "executor/logs"].map(|dir| self.dir.path().join(dir));
            // Only the process driver has a directory of pods.
            entries.iter().flat_map(|dir| std::fs::read_dir(dir).into_iter().flatten()).count()
        };
        within(async {
            while self.executor().held() > 0 || left() > 0 {
                tokio::task::yield_now().await;
            }
        })
        .await;
        let pods = self.any_driver().pods(self.executor().id()).await.expect("pods are listed");
        assert!(pods.is_empty(), "{pods:?}");
    }

    /// Executes a task to its end.
    pub(crate) async fn execute(&self, task: TaskSpec) -> TaskReport {
        let id = task.id.clone();
        self.service.assign(task);
        self.report(&id).await
    }

    pub(crate) async fn report(&self, task: &TaskId) -> TaskReport {
        within(self.service.final_report(task)).await
    }

    pub(crate) fn log(&self, task: &TaskId, step: u32) -> String {
        self.service.with(|stored| stored.log(task, StepRef::Step(step)))
    }

    pub(crate) fn setup_log(&self, task: &TaskId) -> String {
        self.service.with(|stored| stored.log(task, StepRef::Setup))
    }

    /// Waits until the log of a step holds a text.
    pub(crate) async fn logged(&self, task: &TaskId, step: u32, text: &str) {
        within(self.service.wait_until(|stored| stored.log(task, StepRef::Step(step)).contains(text))).await;
    }

    /// The only pod.
    pub(crate) fn pod_dir(&self) -> PathBuf {
        let mut pods = std::fs::read_dir(self.dir.path().join("pods")).expect("the directory of pods");
        pods.next().expect("a pod").expect("an entry").path()
    }
}

impl Drop for House {
    fn drop(&mut self) {
        if let Some(running) = self.running.take() {
            running.work.abort();
        }
        for pod in std::fs::read_dir(self.dir.path().join("pods")).into_iter().flatten().flatten() {
            let name = pod.file_name();
            let _ = runyard_toolbox::kill_marked("RUNYARD_POD", &name.to_string_lossy());
        }
    }
}

/// Waits, but not for ever.
pub(crate) async fn within<T>(work: impl Future<Output = T>) -> T {
    tokio::time::timeout(PATIENCE, work).await.expect("it happens in time")
}

pub(crate) fn id(text: &str) -> TaskId {
    TaskId::parse(text).expect("an id")
}

pub(crate) fn run(command: &str) -> Step {
    Step::Run(RunStep { name: String::new(), command: command.to_owned(), ..RunStep::default() })
}

pub(crate) fn task(id: &str, steps: impl IntoIterator<Item = Step>) -> TaskSpec {
    TaskSpec {
        id: self::id(id),
        attempt: 1,
        run: RunId::parse("run").expect("an id"),
        name: TaskName::parse(id).expect("a name"),
        runtime: Runtime { arch: None, containers: vec![Container::default()] },
        environment: Default::default(),
        static_environment: Default::default(),
        run_environment: Default::default(),
        working_dir: None,
        shell: None,
        user: None,
        steps: Steps(steps.into_iter().collect()),
        timeout: None,
        registries_auth: Default::default(),
        workspace: Vec::new(),
    }
}

/// The class and the message of a failed attempt.
pub(crate) fn failure(report: &TaskReport) -> (&'static str, &str) {
    match &report.state {
        AttemptState::Failed(failure) => (failure.class.as_str(), &failure.message),
        state => panic!("it has not failed: {state:?}"),
    }
}

/// Whether a process runs; one that only waits to be collected does not.
pub(crate) fn is_running(pid: &str) -> bool {
    pid.parse::<i32>().expect("a pid");
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat"));
    stat.is_ok_and(|stat| !stat.contains(") Z ") && !stat.contains(") X "))
}
