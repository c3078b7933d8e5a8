//! The service as its callers and its executors see it, on memory.

mod costs;
mod executors;
mod hints;
mod lifecycle;
mod secrets;
mod shared;

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use futures::{StreamExt, TryStreamExt};
use runyard_datamanager::{DataManager, MemoryDataManager, WalDataManager};
use runyard_executor_core::contract::{
    AttemptState, CachePut, ClientError, Command, ExecutorId, ExecutorStatus, Failure, FailureClass, Fence, HeldTask,
    LogEnd, Registration, RestoreWorkspaceStep, RunServiceClient, RunStep, SaveToWorkspaceStep, Step, StepRef,
    StepReport, StepStatus, Steps, TaskName, TaskReport, TaskSpec, Value,
};
use runyard_objectstorage::{FaultyStorage, MemoryStorage, Verdict};
use tokio_util::{sync::CancellationToken, task::AbortOnDropHandle};

use super::{LogRequest, NewRun, RunFilter, RunService};
use crate::{
    ErrorKind, IdSource,
    model::{ConcurrencyPolicy, Condition, GroupPath, RunConfig, RunPhase, RunResult, TaskConfig, TaskStatus},
    scheduler::{DefaultScheduler, ExecutorView, Placement, Plan, RunView, Scheduler, WaitingReason, WaitingTask},
};

/// A service on memory with its workers running.
struct Yard {
    runs: RunService,
    data: Arc<dyn DataManager>,
    storage: Arc<MemoryStorage>,
    _workers: AbortOnDropHandle<()>,
}

impl Yard {
    fn new() -> Self {
        Self::over(Arc::new(MemoryDataManager::new()), Arc::new(MemoryStorage::new()))
    }

    /// As after a restart: the same data, and nothing in memory.
    fn restarted(self) -> Self {
        let Self { data, storage, _workers, runs } = self;
        drop((runs, _workers));
        Self::over(data, storage)
    }

    fn over(data: Arc<dyn DataManager>, storage: Arc<MemoryStorage>) -> Self {
        let runs = RunService::builder(data.clone(), Arc::clone(&storage)).ids(IdSource::from_seed(1)).build();
        Self::of(runs, data, storage)
    }

    /// With the workers of a service.
    fn of(runs: RunService, data: Arc<dyn DataManager>, storage: Arc<MemoryStorage>) -> Self {
        let running = runs.clone();
        let workers = async move { running.run(CancellationToken::new()).await.expect("the workers go on") };
        Self { runs, data, storage, _workers: AbortOnDropHandle::new(tokio::spawn(workers)) }
    }

    async fn create(&self, config: RunConfig) -> crate::model::Run {
        self.runs.create(config.into()).await.expect("created")
    }

    async fn executor(&self) -> Hand {
        Hand::register(self.runs.client(), 4, &[]).await
    }

    async fn finished(&self, run: &crate::model::Run) -> super::RunDetail {
        let mut events = self.runs.events(super::EventSequence::ZERO);
        loop {
            let detail = self.runs.get(&run.id).await.expect("the run exists");
            if detail.run.phase.is_final() {
                return detail;
            }
            events.next().await.expect("events go on").expect("readable");
        }
    }

    fn log(&self, run: &crate::model::Run, task: &str, step: StepRef) -> LogRequest {
        let log = crate::LogRef { run: run.id.clone(), task: name(task), attempt: None, step };
        LogRequest { log, offset: 0, follow: true }
    }
}

/// An executor played by hand.
struct Hand {
    client: Arc<dyn RunServiceClient>,
    id: ExecutorId,
    registration: Registration,
    sequence: u64,
    /// Its heartbeats.
    _beats: AbortOnDropHandle<()>,
}

impl Hand {
    async fn register(client: Arc<dyn RunServiceClient>, task_limit: u32, held: &[HeldTask]) -> Self {
        Self::named("hand", client, task_limit, held).await
    }

    async fn named(name: &str, client: Arc<dyn RunServiceClient>, task_limit: u32, held: &[HeldTask]) -> Self {
        let id = ExecutorId::parse(name).expect("valid");
        let status = ExecutorStatus { held: held.to_vec(), ..ExecutorStatus::new(id, task_limit) };
        Self::with(client, status).await
    }

    async fn with(client: Arc<dyn RunServiceClient>, status: ExecutorStatus) -> Self {
        let id = status.id.clone();
        let registration = client.register(status).await.expect("registered");
        let (beating, of, epoch) = (Arc::clone(&client), id.clone(), registration.epoch);
        let beats = tokio::spawn(async move {
            while beating.heartbeat(&of, epoch).await.is_ok() {
                tokio::time::sleep(Duration::from_secs(5)).await;
            }
        });
        Self { client, id, registration, sequence: 0, _beats: AbortOnDropHandle::new(beats) }
    }

    async fn command(&mut self) -> Command {
        let wait = self.registration.commands.next();
        let command = tokio::time::timeout(Duration::from_secs(60), wait).await.expect("told something in time");
        command.expect("connected").expect("readable")
    }

    async fn assigned(&mut self) -> TaskSpec {
        match self.command().await {
            Command::Assign { task } => *task,
            other => panic!("expected an assignment, was told {other:?}"),
        }
    }

    fn fence(&self, spec: &TaskSpec) -> Fence {
        let (task, attempt, executor) = (spec.id.clone(), spec.attempt, self.id.clone());
        Fence { task, attempt, executor, epoch: self.registration.epoch }
    }

    async fn accept(&self, spec: &TaskSpec) {
        self.client.accept(&self.fence(spec)).await.expect("accepted");
    }

    async fn report(
        &mut self,
        spec: &TaskSpec,
        state: AttemptState,
        steps: Vec<StepReport>,
    ) -> Result<(), ClientError> {
        self.sequence += 1;
        let setup = StepReport { status: StepStatus::Success, exit_code: None, log: Some(end(0)) };
        let report = TaskReport { fence: self.fence(spec), sequence: self.sequence, state, setup, steps };
        self.client.report(report).await
    }

    /// Accepts and succeeds at once.
    async fn succeed(&mut self, spec: &TaskSpec) {
        self.accept(spec).await;
        let steps = spec.steps.0.iter().map(|_| done(StepStatus::Success, 0)).collect();
        self.report(spec, AttemptState::Success, steps).await.expect("reported");
    }
}

fn end(bytes: u64) -> LogEnd {
    LogEnd { bytes, sha256: None }
}

fn done(status: StepStatus, bytes: u64) -> StepReport {
    StepReport { status, exit_code: Some(i32::from(status == StepStatus::Failed)), log: Some(end(bytes)) }
}

fn failure() -> AttemptState {
    AttemptState::Failed(Failure { class: FailureClass::Exit, message: "exited with status 1".into() })
}

fn name(name: &str) -> TaskName {
    TaskName::parse(name).expect("valid")
}

fn group(branch: &str) -> GroupPath {
    GroupPath::new("project", "p").and_then(|project| project.child("branch", branch)).expect("valid")
}

/// A run config whose tasks have one step each, and the parents named after the colon.
fn config(tasks: &[&str]) -> RunConfig {
    let mut config = RunConfig::new("test", group("main"));
    for task in tasks {
        let (task, parents) = task.split_once(": ").unwrap_or((task, ""));
        let depends = parents.split_whitespace().map(|parent| (name(parent), [Condition::Success].into())).collect();
        let steps =
            Steps(vec![Step::Run(RunStep { name: "step".into(), command: "true".into(), ..Default::default() })]);
        config.tasks.insert(name(task), TaskConfig { depends, steps, ..Default::default() });
    }
    config
}

async fn text(stream: futures::stream::BoxStream<'static, crate::Result<Bytes>>) -> String {
    let pieces: Vec<Bytes> = stream.try_collect().await.expect("readable");
    String::from_utf8(pieces.concat()).expect("text")
}

#[tokio::test(start_paused = true)]
async fn a_run_goes_through_its_graph_and_finishes() {
    let yard = Yard::new();
    let mut hand = yard.executor().await;
    let run = yard.create(config(&["build", "test: build", "pack: test"])).await;
    assert_eq!((run.number, run.phase), (1, RunPhase::Running));
    for expected in ["build", "test", "pack"] {
        let spec = hand.assigned().await;
        assert_eq!(spec.name.as_str(), expected);
        hand.succeed(&spec).await;
    }
    let detail = yard.finished(&run).await;
    assert_eq!((detail.run.phase, detail.run.result), (RunPhase::Finished, RunResult::Success));
    assert!(detail.tasks.values().all(|task| task.assignment.is_none() && task.times.finished.is_some()));
}

#[tokio::test(start_paused = true)]
async fn runs_of_a_group_go_one_after_another_and_others_beside_them() {
    let yard = Yard::new();
    let mut hand = yard.executor().await;
    let first = yard.create(config(&["a"])).await;
    let second = yard.create(config(&["b"])).await;
    assert_eq!(second.phase, RunPhase::Queued);
    let waits = yard.runs.get(&second.id).await.expect("exists").waiting;
    assert_eq!(waits, Some(WaitingReason::WaitingForRun { number: first.number }));
    let other = yard.create(RunConfig { group: group("other"), ..config(&["c"]) }).await;
    assert_eq!((other.phase, other.number), (RunPhase::Running, 3));

    let a = hand.assigned().await;
    let c = hand.assigned().await;
    assert_eq!([a.name.as_str(), c.name.as_str()], ["a", "c"]);
    hand.succeed(&a).await;
    let b = hand.assigned().await;
    assert_eq!(b.name.as_str(), "b");
    hand.succeed(&b).await;
    assert_eq!(yard.finished(&second).await.run.result, RunResult::Success);
    let third = yard.create(config(&[])).await;
    assert_eq!(third.phase, RunPhase::Finished, "a run without tasks is done at once, and its group is free");
}

#[tokio::test(start_paused = true)]
async fn the_policy_cancel_running_stops_what_runs_and_cancels_what_waits() {
    let yard = Yard::new();
    let mut hand = yard.executor().await;
    let first = yard.create(config(&["a"])).await;
    let spec = hand.assigned().await;
    hand.accept(&spec).await;
    let second = yard.create(config(&["a"])).await;
    let third = yard.create(RunConfig { concurrency: ConcurrencyPolicy::CancelRunning, ..config(&["z"]) }).await;
    assert_eq!(third.phase, RunPhase::Queued);
    assert_eq!(yard.finished(&second).await.run.phase, RunPhase::Cancelled);
    assert_eq!(hand.command().await, Command::Stop { task: spec.id.clone(), attempt: 1 });
    hand.report(&spec, AttemptState::Stopped, vec![done(StepStatus::Stopped, 0)]).await.expect("reported");
    assert_eq!(yard.finished(&first).await.run.result, RunResult::Stopped);
    assert_eq!(hand.assigned().await.name.as_str(), "z");
}

#[tokio::test(start_paused = true)]
async fn an_executor_never_gets_more_than_its_limit() {
    let yard = Yard::new();
    let mut hand = Hand::register(yard.runs.client(), 2, &[]).await;
    let run = yard.create(config(&["a", "b", "c"])).await;
    let [a, b] = [hand.assigned().await, hand.assigned().await];
    let detail = yard.runs.get(&run.id).await.expect("exists");
    assert_eq!(detail.waiting_tasks.len(), 1);
    assert_eq!(detail.waiting_tasks[0].reason, WaitingReason::AllFull { executors: 1 });
    hand.succeed(&a).await;
    let c = hand.assigned().await;
    for spec in [b, c] {
        hand.succeed(&spec).await;
    }
    assert_eq!(yard.finished(&run).await.run.result, RunResult::Success);
}

#[tokio::test(start_paused = true)]
async fn a_task_waits_with_a_reason_until_an_executor_connects() {
    let yard = Yard::new();
    let run = yard.create(config(&["a"])).await;
    let detail = yard.runs.get(&run.id).await.expect("exists");
    assert_eq!(detail.waiting_tasks[0].reason, WaitingReason::NoExecutor);
    let mut hand = yard.executor().await;
    assert_eq!(hand.assigned().await.name.as_str(), "a");
}

#[tokio::test(start_paused = true)]
async fn a_log_is_followed_while_it_grows_and_read_after_its_end() {
    let yard = Yard::new();
    let mut hand = yard.executor().await;
    let run = yard.create(config(&["a"])).await;
    let request = yard.log(&run, "a", StepRef::Step(0));
    let before = yard.runs.log(&request).await.expect("followed before it begins");
    let spec = hand.assigned().await;
    hand.accept(&spec).await;
    let fence = hand.fence(&spec);
    let append = |offset: u64, text: &'static str| {
        let (client, fence) = (Arc::clone(&hand.client), fence.clone());
        async move { client.append_log(&fence, StepRef::Step(0), offset, Bytes::from(text)).await }
    };
    assert_eq!(append(0, "one\n").await.expect("stored"), 4);
    assert_eq!(append(0, "one\ntwo\n").await.expect("the overlap is dropped"), 8);
    let gap = append(9, "x").await.expect_err("a gap is refused");
    assert!(matches!(gap, ClientError::LogGap { stored: 8, offset: 9, .. }), "{gap}");
    let middle = yard.runs.log(&LogRequest { offset: 4, ..request.clone() }).await.expect("followed");
    for line in 0..300_u64 {
        append(8 + 4 * line, "abc\n").await.expect("stored");
    }
    let bytes = 8 + 300 * 4;
    hand.report(&spec, AttemptState::Success, vec![done(StepStatus::Success, bytes)]).await.expect("reported");

    let expected = format!("one\ntwo\n{}", "abc\n".repeat(300));
    assert_eq!(text(before).await, expected);
    assert_eq!(text(middle).await, expected[4..]);
    let yard = yard.restarted();
    assert_eq!(text(yard.runs.log(&request).await.expect("sealed")).await, expected);
    let tail = yard.runs.log(&LogRequest { offset: 1000, ..request.clone() }).await.expect("sealed");
    assert_eq!(text(tail).await, expected[1000..]);
    let past = yard.runs.log(&LogRequest { offset: 9999, ..request }).await.expect("sealed");
    assert_eq!(text(past).await, "");
}

#[tokio::test(start_paused = true)]
async fn what_was_lost_at_the_end_of_a_log_is_said_in_it() {
    let yard = Yard::new();
    let mut hand = yard.executor().await;
    let run = yard.create(config(&["a"])).await;
    let spec = hand.assigned().await;
    hand.accept(&spec).await;
    let bytes = Bytes::from("begun");
    hand.client.append_log(&hand.fence(&spec), StepRef::Step(0), 0, bytes).await.expect("stored");
    hand.report(&spec, failure(), vec![done(StepStatus::Failed, 25)]).await.expect("reported");
    let log = text(yard.runs.log(&yard.log(&run, "a", StepRef::Step(0))).await.expect("sealed")).await;
    assert!(log.starts_with("begun\n[runyard: 20 bytes"), "{log}");
}

#[tokio::test(start_paused = true)]
async fn a_follower_of_a_step_that_never_runs_sees_an_end() {
    let yard = Yard::new();
    let mut hand = yard.executor().await;
    let run = yard.create(config(&["a", "b: a"])).await;
    let follower = yard.runs.log(&yard.log(&run, "b", StepRef::Step(0))).await.expect("followed");
    let spec = hand.assigned().await;
    hand.accept(&spec).await;
    hand.report(&spec, failure(), vec![done(StepStatus::Failed, 0)]).await.expect("reported");
    assert_eq!(text(follower).await, "");
    let detail = yard.finished(&run).await;
    assert_eq!(detail.tasks[&name("b")].status, TaskStatus::Skipped);
    assert_eq!(detail.tasks[&name("a")].failure.as_ref().map(|failure| failure.class), Some(FailureClass::Exit));
}

#[tokio::test(start_paused = true)]
async fn a_stranger_and_an_older_registration_are_fenced() {
    let yard = Yard::new();
    let mut hand = yard.executor().await;
    yard.create(config(&["a"])).await;
    let spec = hand.assigned().await;
    hand.accept(&spec).await;
    let held = [HeldTask { task: spec.id.clone(), attempt: 1 }];
    let mut again = Hand::register(yard.runs.client(), 4, &held).await;
    let error = hand.report(&spec, AttemptState::Success, Vec::new()).await.expect_err("the older one is fenced");
    assert!(matches!(error, ClientError::Fenced { .. }), "{error}");
    assert!(hand.registration.commands.next().await.is_none(), "a replaced connection ends without an error");
    let stranger = Fence { executor: ExecutorId::parse("stranger").expect("valid"), ..again.fence(&spec) };
    let error = again.client.append_log(&stranger, StepRef::Setup, 0, Bytes::from("x")).await.expect_err("a stranger");
    assert!(matches!(error, ClientError::Fenced { .. }), "{error}");
    again.report(&spec, AttemptState::Success, vec![done(StepStatus::Success, 0)]).await.expect("its successor");
}

#[tokio::test(start_paused = true)]
async fn after_a_restart_an_accepted_task_goes_on_and_an_unaccepted_one_is_told_again() {
    let yard = Yard::new();
    let mut hand = yard.executor().await;
    let run = yard.create(config(&["a", "b"])).await;
    let [a, b] = [hand.assigned().await, hand.assigned().await];
    hand.accept(&a).await;
    let yard = yard.restarted();
    let held = [HeldTask { task: a.id.clone(), attempt: 1 }];
    let mut hand = Hand::register(yard.runs.client(), 4, &held).await;
    assert_eq!(hand.assigned().await, b, "only what was not accepted is told again");
    hand.succeed(&b).await;
    hand.report(&a, AttemptState::Success, vec![done(StepStatus::Success, 0)]).await.expect("reported");
    assert_eq!(yard.finished(&run).await.run.result, RunResult::Success);
}

#[tokio::test(start_paused = true)]
async fn a_task_that_its_executor_does_not_know_any_more_is_lost_and_keeps_its_log() {
    let yard = Yard::new();
    let mut hand = yard.executor().await;
    let run = yard.create(config(&["a"])).await;
    let spec = hand.assigned().await;
    hand.accept(&spec).await;
    hand.report(&spec, AttemptState::Running, vec![StepReport { status: StepStatus::Running, ..Default::default() }])
        .await
        .expect("reported");
    let bytes = Bytes::from("so far\n");
    hand.client.append_log(&hand.fence(&spec), StepRef::Step(0), 0, bytes).await.expect("stored");
    let unknown = HeldTask { task: runyard_executor_core::contract::TaskId::parse("gone").expect("valid"), attempt: 1 };
    let mut hand = Hand::register(yard.runs.client(), 4, std::slice::from_ref(&unknown)).await;
    assert_eq!(hand.command().await, Command::Forget { task: unknown.task, attempt: 1 });
    let detail = yard.finished(&run).await;
    let task = &detail.tasks[&name("a")];
    assert_eq!(
        (task.status, task.failure.as_ref().map(|failure| failure.class)),
        (TaskStatus::Failed, Some(FailureClass::Lost))
    );
    assert_eq!(text(yard.runs.log(&yard.log(&run, "a", StepRef::Step(0))).await.expect("sealed")).await, "so far\n");
}

#[tokio::test(start_paused = true)]
async fn a_workspace_goes_to_descendants_in_order_and_to_nobody_else() {
    let yard = Yard::new();
    let mut hand = yard.executor().await;
    let mut config = config(&["a", "b", "c: a b", "d"]);
    let save = Step::SaveToWorkspace(SaveToWorkspaceStep::default());
    for saver in ["a", "b"] {
        config.tasks.get_mut(&name(saver)).expect("defined").steps = Steps(vec![save.clone(), save.clone()]);
    }
    config.tasks.get_mut(&name("c")).expect("defined").steps =
        Steps(vec![Step::RestoreWorkspace(RestoreWorkspaceStep::default())]);
    let run = yard.create(config).await;
    let mut specs = Vec::new();
    for _ in 0..3 {
        let spec = hand.assigned().await;
        hand.accept(&spec).await;
        specs.push(spec);
    }
    for spec in &specs[..2] {
        for step in 0..2 {
            let body = Bytes::from(format!("{} {step}", spec.name));
            let archive = futures::stream::iter([Ok(body)]).boxed();
            hand.client.put_workspace(&hand.fence(spec), step, archive).await.expect("stored");
        }
        let steps = vec![done(StepStatus::Success, 0), done(StepStatus::Success, 0)];
        hand.report(spec, AttemptState::Success, steps).await.expect("reported");
    }
    let c = hand.assigned().await;
    hand.accept(&c).await;
    let order: Vec<_> = c.workspace.iter().map(|archive| (archive.name.as_str(), archive.step)).collect();
    assert_eq!(order, [("a", 0), ("a", 1), ("b", 0), ("b", 1)]);
    for archive in &c.workspace {
        let stream = hand.client.get_workspace(&hand.fence(&c), &archive.task, archive.step).await.expect("opened");
        let pieces: Vec<Bytes> = stream.try_collect().await.expect("readable");
        assert_eq!(pieces.concat(), format!("{} {}", archive.name, archive.step).as_bytes());
    }
    let d = specs.iter().find(|spec| spec.name.as_str() == "d").expect("assigned");
    let Err(error) = hand.client.get_workspace(&hand.fence(d), &specs[0].id, 0).await else {
        panic!("a task that is no descendant reads the archive");
    };
    assert!(matches!(error, ClientError::BadRequest { .. }), "{error}");
    drop(run);
}

#[tokio::test(start_paused = true)]
async fn a_cache_is_found_exactly_or_by_the_newest_prefix_and_never_outside_its_scope() {
    let yard = Yard::new();
    let mut hand = yard.executor().await;
    yard.create(config(&["a"])).await;
    let other = GroupPath::new("project", "q").expect("valid");
    yard.create(RunConfig { group: other, ..config(&["b"]) }).await;
    let [a, b] = [hand.assigned().await, hand.assigned().await];
    for spec in [&a, &b] {
        hand.accept(spec).await;
    }
    let put = |key: &'static str, spec: &TaskSpec| {
        let (client, fence) = (Arc::clone(&hand.client), hand.fence(spec));
        let archive = futures::stream::iter([Ok(Bytes::from(key))]).boxed();
        async move { client.put_cache(&fence, key, archive).await.expect("answered") }
    };
    assert_eq!(put("deps-2", &a).await, CachePut::Stored);
    assert_eq!(put("deps-1", &a).await, CachePut::Stored);
    assert_eq!(put("deps-1", &a).await, CachePut::Exists);
    let find = |keys: &[&str], spec: &TaskSpec| {
        let (client, fence) = (Arc::clone(&hand.client), hand.fence(spec));
        let keys: Vec<String> = keys.iter().map(|key| (*key).to_owned()).collect();
        async move { client.get_cache(&fence, &keys).await.expect("answered").map(|hit| hit.key) }
    };
    assert_eq!(find(&["none", "deps-2", "deps-"], &a).await.as_deref(), Some("deps-2"));
    assert_eq!(find(&["deps-"], &a).await.as_deref(), Some("deps-1"), "the newest, not the last by name");
    assert_eq!(find(&["other"], &a).await, None);
    assert_eq!(find(&["deps-", "deps-1"], &b).await, None, "another scope");
}

#[tokio::test(start_paused = true)]
async fn a_creation_with_the_same_key_makes_one_run_and_bad_requests_are_named() {
    let yard = Yard::new();
    let new = || NewRun { idempotency_key: Some("push-1".into()), ..config(&["a"]).into() };
    let first = yard.runs.create(new()).await.expect("created");
    assert_eq!(yard.runs.create(new()).await.expect("the same").id, first.id);
    let cycle = yard.runs.create(config(&["a: b", "b: a"]).into()).await.expect_err("a cycle");
    assert_eq!(cycle.kind(), ErrorKind::BadRequest);
    assert!(cycle.to_string().contains("`a`, `b`"), "{cycle}");
    let cancel = yard.runs.cancel(&first.id).await.expect_err("it runs already");
    assert_eq!(cancel.kind(), ErrorKind::BadRequest);
    let missing = runyard_executor_core::contract::RunId::parse("nothing").expect("valid");
    assert_eq!(yard.runs.stop(&missing).await.expect_err("unknown").kind(), ErrorKind::NotExist);
    let setup = RunConfig { setup_errors: vec!["line 3: unknown key".into()], ..config(&[]) };
    assert_eq!(yard.create(setup).await.phase, RunPhase::SetupError);
}

#[tokio::test(start_paused = true)]
async fn runs_are_listed_newest_first_in_pages() {
    let yard = Yard::new();
    for index in 0..5 {
        yard.create(RunConfig { group: group(&index.to_string()), ..config(&["a"]) }).await;
    }
    let root = Some(group("x").root());
    let first =
        yard.runs.list(&RunFilter { root: root.clone(), limit: 3, ..RunFilter::default() }).await.expect("listed");
    let rest = yard
        .runs
        .list(&RunFilter { root, limit: 3, after: first.next.clone(), ..RunFilter::default() })
        .await
        .expect("listed");
    let numbers: Vec<_> = first.runs.iter().chain(&rest.runs).map(|run| run.number).collect();
    assert_eq!(numbers, [5, 4, 3, 2, 1]);
    assert!(rest.next.is_none());
    assert_eq!(yard.runs.list(&RunFilter::default()).await.expect("listed").runs.len(), 5);
}

#[tokio::test(start_paused = true)]
async fn concurrent_approvers_are_all_recorded_and_approve_once() {
    let yard = Yard::new();
    let mut hand = yard.executor().await;
    let mut config = config(&["deploy"]);
    let deploy = config.tasks.get_mut(&name("deploy")).expect("defined");
    (deploy.needs_approval, deploy.approvers_min) = (true, 3);
    let run = yard.create(config).await;
    let detail = yard.runs.get(&run.id).await.expect("exists");
    assert_eq!(detail.waiting_tasks[0].reason, WaitingReason::WaitingForApproval { have: 0, need: 3 });
    let deploy = name("deploy");
    let approve = |user: &'static str| yard.runs.approve(&run.id, &deploy, Some(user));
    let (ann, bob, cyd) = futures::join!(approve("ann"), approve("bob"), approve("cyd"));
    for approved in [ann, bob, cyd] {
        approved.expect("recorded");
    }
    assert_eq!(hand.assigned().await.name.as_str(), "deploy");
    let task = yard.runs.get(&run.id).await.expect("exists").tasks.remove(&deploy).expect("exists");
    let approvers: Vec<String> = serde_json::from_str(&task.annotations["approvers"]).expect("a list");
    assert_eq!(approvers.len(), 3);
}

#[tokio::test(start_paused = true)]
async fn the_number_of_the_run_reaches_the_variables_that_ask_for_it() {
    let yard = Yard::new();
    let mut hand = yard.executor().await;
    yard.create(RunConfig { number_variables: vec!["RUN_COUNTER".into()], ..config(&["a"]) }).await;
    let spec = hand.assigned().await;
    assert_eq!(spec.static_environment.get("RUN_COUNTER"), Some(&Value::from("1")));
}

/// Breaks the storage just before the first placement is committed, for a minute.
#[derive(Debug)]
struct Outage {
    broken_until: Arc<std::sync::Mutex<Option<tokio::time::Instant>>>,
}

impl Scheduler for Outage {
    fn plan(&self, run: &RunView<'_>) -> Plan {
        DefaultScheduler::default().plan(run)
    }

    fn place(&self, task: &WaitingTask, executors: &[ExecutorView]) -> Placement {
        let placement = DefaultScheduler::default().place(task, executors);
        let mut broken_until = self.broken_until.lock().expect("not poisoned");
        if matches!(placement, Placement::To(_)) && broken_until.is_none() {
            *broken_until = Some(tokio::time::Instant::now() + Duration::from_secs(60));
        }
        placement
    }
}

#[tokio::test(start_paused = true)]
async fn an_outage_of_the_storage_delays_a_placement_and_ends_nothing() {
    let broken_until: Arc<std::sync::Mutex<Option<tokio::time::Instant>>> = Arc::default();
    let storage = FaultyStorage::new(MemoryStorage::new());
    let until = Arc::clone(&broken_until);
    storage.plan(move |_| match *until.lock().expect("not poisoned") {
        Some(until) if tokio::time::Instant::now() < until => Verdict::FailBefore,
        _ => Verdict::Pass,
    });
    let storage = Arc::new(storage);
    let data = WalDataManager::builder(storage.clone()).open().await.expect("opened");
    let runs = RunService::builder(data, storage).scheduler(Outage { broken_until }).build();
    let running = runs.clone();
    let _workers = AbortOnDropHandle::new(tokio::spawn(async move {
        running.run(CancellationToken::new()).await.expect("an outage does not end the workers");
    }));
    let mut hand = Hand::register(runs.client(), 1, &[]).await;
    let run = runs.create(config(&["a"]).into()).await.expect("created");
    let wait = tokio::time::timeout(Duration::from_secs(300), hand.registration.commands.next());
    let command = wait.await.expect("told after the outage").expect("connected").expect("readable");
    let Command::Assign { task } = command else { panic!("expected an assignment, was told {command:?}") };
    hand.succeed(&task).await;
    assert_eq!(runs.get(&run.id).await.expect("exists").run.result, RunResult::Success);
}
