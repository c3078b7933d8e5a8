//! The golden file: one JSON value in each line, in the order of `every_value`. A change of a line is a change of what
//! versions say to each other.

use std::collections::BTreeMap;

use serde::de::DeserializeOwned;

use super::*;
use crate::contract::{
    Arch, AttemptState, Environment, Failure, FailureClass, HeldTask, LogEnd, RunId, RunStep, Runtime, Step,
    StepReport, StepStatus, Steps, TaskName, TaskReport, TaskSpec, Value,
};

const GOLDEN: &str = include_str!("golden.jsonl");

fn fence() -> Fence {
    Fence { task: task(), attempt: 2, executor: executor(), epoch: 3 }
}

fn task() -> TaskId {
    TaskId::parse("t1").expect("valid")
}

fn executor() -> ExecutorId {
    ExecutorId::parse("e1").expect("valid")
}

fn spec() -> TaskSpec {
    let step = RunStep { name: "test".into(), command: "true".into(), ..RunStep::default() };
    TaskSpec {
        id: task(),
        attempt: 2,
        run: RunId::parse("r1").expect("valid"),
        name: TaskName::parse("build").expect("valid"),
        runtime: Runtime { arch: Some(Arch::Arm64), containers: Vec::new() },
        environment: Environment::from([("A".into(), Value::secret("s"))]),
        static_environment: Environment::new(),
        run_environment: Environment::new(),
        working_dir: None,
        shell: None,
        user: None,
        steps: Steps(vec![Step::Run(step)]),
        timeout: Some(Duration::from_millis(1500)),
        registries_auth: BTreeMap::new(),
        workspace: Vec::new(),
    }
}

/// Its JSON, if it reads back as the same.
fn json<T: Serialize + DeserializeOwned + PartialEq + std::fmt::Debug>(value: T) -> String {
    let json = serde_json::to_string(&value).expect("encodes");
    assert_eq!(serde_json::from_str::<T>(&json).expect("decodes"), value);
    json
}

fn every_value() -> Vec<String> {
    let status = ExecutorStatus {
        id: executor(),
        name: "one".into(),
        version: "0.1.0".into(),
        group: "g".into(),
        siblings: vec![executor()],
        archs: vec![Arch::Amd64, Arch::X86],
        labels: [("os".to_owned(), "linux".to_owned())].into(),
        allow_privileged_containers: false,
        not_ready: None,
        task_limit: 2,
        dynamic: true,
        held: vec![HeldTask { task: task(), attempt: 2 }],
    };
    let failure = Failure { class: FailureClass::Exit, message: "status 1".into() };
    let log = Some(LogEnd { bytes: 5, sha256: None });
    let report = TaskReport {
        fence: fence(),
        sequence: 4,
        state: AttemptState::Failed(failure),
        setup: StepReport { status: StepStatus::Success, exit_code: None, log: None },
        steps: vec![StepReport { status: StepStatus::Failed, exit_code: Some(1), log }],
    };
    let siblings = Siblings { seen: vec![executor()], removed: Vec::new() };
    let facts = Facts {
        what: Some("it".into()),
        task: Some(task()),
        attempt: Some(2),
        reason: Some("why".into()),
        executor: Some(executor()),
        step: Some(StepRef::Step(1)),
        stored: Some(8),
        offset: Some(9),
        oldest: Some("7.0.1".into()),
    };
    let problem = Problem { trace_id: Some("ab".into()), ..Problem::new(409, "log-gap", "Bytes are missing", "so") };
    let log_query =
        LogQuery { task: task(), attempt: 2, executor: executor(), epoch: 3, step: StepRef::Setup, offset: 9 };
    let of = Some(task());
    vec![
        json(Join { join_token: "j".into(), executor: executor() }),
        json(Joined { token: "t".into() }),
        json(Register { client: "c1".into(), number: 1, status }),
        json(Line::Connected { epoch: 3 }),
        json(Line::Command { command: Command::Assign { task: Box::new(spec()) } }),
        json(Line::Command { command: Command::Stop { task: task(), attempt: 2 } }),
        json(Line::Command { command: Command::Forget { task: task(), attempt: 2 } }),
        json(Line::Command { command: Command::Drain }),
        json(Line::Alive),
        json(Line::Replaced),
        json(Commands { executor: executor(), epoch: 3 }),
        json(Heartbeat { executor: executor(), epoch: 3 }),
        json(SiblingsSeen { executor: executor(), epoch: 3, siblings }),
        json(fence()),
        json(report),
        json(log_query),
        json(Stored { stored: 8 }),
        json(WorkspaceQuery { task: task(), attempt: 2, executor: executor(), epoch: 3, of, step: 1 }),
        json(CacheAsked { fence: fence(), key: "k".into() }),
        json(CacheExists { exists: true }),
        json(CacheQuery { task: task(), attempt: 2, executor: executor(), epoch: 3, key: "k".into() }),
        json(CacheStored { stored: true }),
        json(CachesAsked { fence: fence(), keys: vec!["k".into()] }),
        json(CacheFound { key: "k1".into(), size: 7 }),
        json(problem.clone()),
        json(problem.with(facts)),
    ]
}

#[test]
fn what_is_said_is_frozen() {
    let said = every_value();
    let golden: Vec<&str> = GOLDEN.lines().collect();
    assert_eq!(said, golden, "to be frozen:\n{}\n", said.join("\n"));
}

#[test]
fn what_a_newer_version_adds_is_ignored() {
    let line = r#"{"type":"connected","epoch":3,"new":1}"#;
    assert_eq!(serde_json::from_str::<Line>(line).expect("decodes"), Line::Connected { epoch: 3 });
}

#[test]
fn no_token_is_shown_by_debug() {
    let join = Join { join_token: "hunter2".into(), executor: executor() };
    assert!(!format!("{join:?} {:?}", Joined { token: "hunter2".into() }).contains("hunter2"));
}
