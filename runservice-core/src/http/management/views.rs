//! What goes over the wire where the types of the service are not made for it?

use std::{
    collections::{BTreeMap, BTreeSet},
    time::SystemTime,
};

use bytes::Bytes;
use runyard_executor_core::{
    contract::{RegistryAuth, RunId, Step, TaskName, Value},
    http::wire::Problem,
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{
    Error, ExecutorDetail, JoinToken, LogLine, LogPage, NewRun, RestartPoint, Result, RunDetail, RunFilter, RunPage,
    SequencedEvent, WaitingTaskView,
    engine::RunEvent,
    model::{GroupPath, Run, RunConfig, RunPhase, RunResult, Task},
    scheduler::WaitingReason,
};

/// So many runs or lines are in a page, unless fewer are asked for.
pub(super) const RUNS_MAX: usize = 1_000;
pub(super) const LINES_MAX: usize = 10_000;

/// Which runs.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub(in crate::http) struct RunsQuery {
    /// Only runs below this root group, such as `/project/42`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(in crate::http) root: Option<GroupPath>,
    /// Only runs of exactly this group, such as `/project/42/branch/main`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(in crate::http) group: Option<GroupPath>,
    /// Only runs in this phase.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(in crate::http) phase: Option<RunPhase>,
    /// Only runs with this result.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(in crate::http) result: Option<RunResult>,
    /// The most runs, from 1 to 1,000. Default: 50.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(in crate::http) limit: Option<usize>,
    /// The `next` of the page before.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(in crate::http) cursor: Option<String>,
}

/// Some runs.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub(in crate::http) struct RunList {
    /// The runs, the newest first.
    pub(in crate::http) runs: Vec<Run>,
    /// The cursor of the next page; none: there is no more.
    pub(in crate::http) next: Option<String>,
}

/// A run to be created.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(in crate::http) struct RunToCreate {
    /// What is to be run.
    pub(in crate::http) config: RunConfig,
    /// The caller's name for this creation: a second one with the same name returns the first one's run.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(in crate::http) idempotency_key: Option<String>,
    /// The runs that the same cause made before this one.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub(in crate::http) siblings: BTreeSet<RunId>,
}

/// A number in a root group.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(in crate::http) struct NumberQuery {
    /// The root group, such as `/project/42`.
    pub(in crate::http) root: GroupPath,
    /// The number.
    pub(in crate::http) number: u64,
}

/// A run with its tasks.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub(in crate::http) struct Detail {
    /// The run.
    pub(in crate::http) run: Run,
    /// What was asked to be run, without the values of secrets.
    pub(in crate::http) config: RunConfig,
    /// Its tasks by name.
    pub(in crate::http) tasks: BTreeMap<TaskName, Task>,
    /// Why the run waits, if it does.
    pub(in crate::http) waiting: Option<Waiting>,
    /// The tasks that wait although nothing of their own run is in the way.
    pub(in crate::http) waiting_tasks: Vec<WaitingTask>,
}

/// Why something waits.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub(in crate::http) struct Waiting {
    /// For programs.
    pub(in crate::http) reason: WaitingReason,
    /// For people.
    pub(in crate::http) message: String,
}

/// A task that waits.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub(in crate::http) struct WaitingTask {
    /// The task.
    pub(in crate::http) task: TaskName,
    /// Why.
    pub(in crate::http) waiting: Waiting,
}

/// An approval of a task.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(in crate::http) struct Approval {
    /// The task.
    pub(in crate::http) task: TaskName,
    /// Who approves, whom the scheduler's policy counts; none: it is approved outright.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(in crate::http) approver: Option<String>,
}

/// A change of the annotations of a task.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(in crate::http) struct Annotations {
    /// The task.
    pub(in crate::http) task: TaskName,
    /// What is set, and with `null`, what is removed.
    pub(in crate::http) annotations: BTreeMap<String, Option<String>>,
}

/// Which log, and how much of it.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(in crate::http) struct LogQuery {
    /// The task.
    pub(in crate::http) task: TaskName,
    /// `setup`, or the index of a step, counted from 0.
    pub(in crate::http) step: runyard_executor_core::contract::StepRef,
    /// The attempt; none: the current one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(in crate::http) attempt: Option<u32>,
    /// The first byte.
    #[serde(default)]
    pub(in crate::http) offset: u64,
    /// Whether to wait for what is not yet written.
    #[serde(default)]
    pub(in crate::http) follow: bool,
}

/// Which lines of a log.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(in crate::http) struct LinesQuery {
    /// The task.
    pub(in crate::http) task: TaskName,
    /// `setup`, or the index of a step, counted from 0.
    pub(in crate::http) step: runyard_executor_core::contract::StepRef,
    /// The attempt; none: the current one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(in crate::http) attempt: Option<u32>,
    /// The first line, counted from 0; none: the last lines that there are.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(in crate::http) first: Option<u64>,
    /// How many lines, from 1 to 10,000. Default: 1,000.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(in crate::http) limit: Option<usize>,
}

/// Some lines of a log.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub(in crate::http) struct Lines {
    /// The number of the first one, counted from 0.
    pub(in crate::http) first: u64,
    /// Where it begins, in bytes.
    pub(in crate::http) offset: u64,
    /// The lines.
    pub(in crate::http) lines: Vec<Line>,
    /// How many there are at the moment.
    pub(in crate::http) lines_total: u64,
    /// How many bytes there are at the moment.
    pub(in crate::http) bytes_total: u64,
    /// Whether nothing more comes.
    pub(in crate::http) ended: bool,
    /// How many bytes are missing at the end, because they were lost before they were stored.
    pub(in crate::http) missing: u64,
}

/// A line of a log.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub(in crate::http) struct Line {
    /// What it says, without its end. What is no UTF-8 is replaced.
    pub(in crate::http) text: String,
    /// How many bytes of a very long line are not shown.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub(in crate::http) cut: u64,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "the signature that serde asks for")]
fn is_zero(number: &u64) -> bool {
    *number == 0
}

/// Which events.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(in crate::http) struct EventsQuery {
    /// The sequence of the event that was seen last; none: from the oldest on that there is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(in crate::http) after: Option<String>,
}

/// A line of the stream of events.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case", untagged)]
pub(in crate::http) enum EventLine {
    /// Something happened.
    Event {
        /// Its place among all events.
        sequence: String,
        /// When, in milliseconds since 1970.
        time: u64,
        /// What happened.
        event: RunEvent,
    },
    /// The last line: the stream cannot go on.
    Problem {
        /// Why.
        problem: Problem,
    },
}

/// A place in the sequence of all events.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub(in crate::http) struct Now {
    /// Events after it are news.
    pub(in crate::http) sequence: String,
}

/// Numbers by name.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(transparent)]
pub(in crate::http) struct Counted(pub(in crate::http) BTreeMap<String, u64>);

/// Where a restarted run begins.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(in crate::http) struct Restart {
    /// With every task, or with those that did not succeed and what depends on them.
    pub(in crate::http) from: RestartPoint,
}

/// Whether a run is kept.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(in crate::http) struct Pin {
    /// Whether it is kept, however old it is.
    pub(in crate::http) pinned: bool,
}

/// The executors that have registered.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub(in crate::http) struct Executors {
    /// In the order of their ids.
    pub(in crate::http) executors: Vec<ExecutorDetail>,
}

/// What lets executors join.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub(in crate::http) struct JoinTokens {
    /// The tokens, without what they are.
    pub(in crate::http) join_tokens: Vec<JoinToken>,
}

/// Why there is maintenance.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(in crate::http) struct Maintenance {
    /// What everybody is told whose changes are refused.
    pub(in crate::http) reason: String,
}

/// What was imported.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub(in crate::http) struct Imported {
    /// How many entries.
    pub(in crate::http) entries: u64,
}

impl From<RunToCreate> for NewRun {
    fn from(new: RunToCreate) -> Self {
        let RunToCreate { config, idempotency_key, siblings } = new;
        Self { config, idempotency_key, siblings }
    }
}

impl From<NewRun> for RunToCreate {
    fn from(new: NewRun) -> Self {
        let NewRun { config, idempotency_key, siblings } = new;
        Self { config, idempotency_key, siblings }
    }
}

impl RunsQuery {
    pub(super) fn filter(self) -> Result<RunFilter> {
        let Self { root, group, phase, result, limit, cursor } = self;
        let limit = checked(limit, RUNS_MAX)?.unwrap_or(0);
        let after = cursor.map(|cursor| of_cursor(&cursor)).transpose()?;
        Ok(RunFilter { root, group, phase, result, limit, after })
    }

    pub(in crate::http) fn of(filter: &RunFilter) -> Self {
        let RunFilter { root, group, phase, result, limit, after } = filter.clone();
        let (limit, cursor) = (Some(limit).filter(|limit| *limit > 0), after.map(|after| to_cursor(&after)));
        Self { root, group, phase, result, limit, cursor }
    }
}

/// A number from 1 to a limit, if there is one.
pub(super) fn checked(limit: Option<usize>, max: usize) -> Result<Option<usize>> {
    match limit {
        Some(limit) if !(1..=max).contains(&limit) => {
            Err(Error::BadRequest { message: format!("`limit` is {limit}, and must be from 1 to {max}") })
        }
        limit => Ok(limit),
    }
}

/// Cursors are opaque; in hexadecimal they pass through any URL.
fn to_cursor(place: &[u8]) -> String {
    place.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn of_cursor(cursor: &str) -> Result<Bytes> {
    let digits: Option<Vec<u8>> =
        cursor.chars().map(|digit| digit.to_digit(16).and_then(|digit| u8::try_from(digit).ok())).collect();
    let pairs = digits.filter(|digits| digits.len() % 2 == 0);
    let bytes: Option<Bytes> = pairs.map(|digits| digits.chunks(2).map(|pair| pair[0] << 4 | pair[1]).collect());
    bytes.ok_or_else(|| Error::BadRequest { message: "`cursor` is none that was returned as `next`".to_owned() })
}

impl From<RunPage> for RunList {
    fn from(page: RunPage) -> Self {
        Self { runs: page.runs, next: page.next.map(|next| to_cursor(&next)) }
    }
}

impl TryFrom<RunList> for RunPage {
    type Error = Error;

    fn try_from(list: RunList) -> Result<Self> {
        Ok(Self { runs: list.runs, next: list.next.map(|next| of_cursor(&next)).transpose()? })
    }
}

impl From<WaitingReason> for Waiting {
    fn from(reason: WaitingReason) -> Self {
        Self { message: reason.to_string(), reason }
    }
}

impl From<RunDetail> for Detail {
    fn from(detail: RunDetail) -> Self {
        let RunDetail { run, config, tasks, waiting, waiting_tasks } = detail;
        let view = |WaitingTaskView { task, reason }| WaitingTask { task, waiting: reason.into() };
        let waiting_tasks = waiting_tasks.into_iter().map(view).collect();
        Self { run, config: without_secrets(config), tasks, waiting: waiting.map(Waiting::from), waiting_tasks }
    }
}

impl From<Detail> for RunDetail {
    fn from(detail: Detail) -> Self {
        let Detail { run, config, tasks, waiting, waiting_tasks } = detail;
        let view = |WaitingTask { task, waiting }| WaitingTaskView { task, reason: waiting.reason };
        let waiting_tasks = waiting_tasks.into_iter().map(view).collect();
        Self { run, config, tasks, waiting: waiting.map(|waiting| waiting.reason), waiting_tasks }
    }
}

impl From<LogPage> for Lines {
    fn from(page: LogPage) -> Self {
        let LogPage { first, offset, lines, lines_total, bytes_total, ended, missing } = page;
        let line = |LogLine { text, cut }| Line { text: String::from_utf8_lossy(&text).into_owned(), cut };
        let lines = lines.into_iter().map(line).collect();
        Self { first, offset, lines, lines_total, bytes_total, ended, missing }
    }
}

impl From<Lines> for LogPage {
    fn from(page: Lines) -> Self {
        let Lines { first, offset, lines, lines_total, bytes_total, ended, missing } = page;
        let lines = lines.into_iter().map(|Line { text, cut }| LogLine { text: text.into(), cut }).collect();
        Self { first, offset, lines, lines_total, bytes_total, ended, missing }
    }
}

impl From<SequencedEvent> for EventLine {
    fn from(SequencedEvent { sequence, time, event }: SequencedEvent) -> Self {
        let time = time.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_millis() as u64;
        Self::Event { sequence: sequence.to_string(), time, event }
    }
}

/// A definition as people may see it: secret values, and all credentials of registries, are empty.
pub(super) fn without_secrets(mut config: RunConfig) -> RunConfig {
    fn hide<'a>(values: impl IntoIterator<Item = &'a mut Value>) {
        for value in values {
            if value.is_secret() {
                *value = Value::secret("");
            }
        }
    }
    hide(config.environment.values_mut());
    hide(config.static_environment.values_mut());
    for task in config.tasks.values_mut() {
        hide(task.environment.values_mut());
        for container in &mut task.runtime.containers {
            hide(container.environment.values_mut());
        }
        for step in &mut task.steps.0 {
            if let Step::Run(step) = step {
                hide(step.environment.values_mut());
            }
        }
        for auth in task.registries_auth.values_mut() {
            match auth {
                RegistryAuth::Basic { username, password } => {
                    hide([username]);
                    *password = Value::secret("");
                }
                RegistryAuth::EncodedAuth { auth } => *auth = Value::secret(""),
            }
        }
    }
    config
}

#[cfg(test)]
mod tests {
    use runyard_executor_core::contract::{Container, RunStep, Runtime, Steps};

    use super::*;
    use crate::model::TaskConfig;

    #[test]
    fn no_secret_is_left_wherever_it_was() {
        let secrets = || [("K".to_owned(), Value::secret("hunter2")), ("P".to_owned(), "plain".into())].into();
        let mut config = RunConfig::new("ci", GroupPath::new("project", "1").expect("valid"));
        config.environment = secrets();
        config.static_environment = secrets();
        let container = Container { environment: secrets(), ..Container::default() };
        let step = RunStep { environment: secrets(), ..RunStep::default() };
        let basic = RegistryAuth::Basic { username: "me".into(), password: "hunter2".into() };
        let encoded = RegistryAuth::EncodedAuth { auth: "hunter2".into() };
        let task = TaskConfig {
            environment: secrets(),
            runtime: Runtime { arch: None, containers: vec![container] },
            steps: Steps(vec![Step::Run(step)]),
            registries_auth: [("a".to_owned(), basic), ("b".to_owned(), encoded)].into(),
            ..TaskConfig::default()
        };
        config.tasks.insert(TaskName::parse("t").expect("valid"), task);
        let json = serde_json::to_string(&without_secrets(config)).expect("encodes");
        assert!(!json.contains("hunter2"), "{json}");
        assert_eq!(json.matches("plain").count(), 5, "{json}");
        assert!(json.contains(r#""K":{"secret":""}"#), "that there is one is said: {json}");
    }

    #[test]
    fn a_cursor_reads_back_and_nothing_else_does() {
        for place in [&b""[..], b"\0\xff", b"abc"] {
            assert_eq!(of_cursor(&to_cursor(place)).expect("reads"), place);
        }
        for bad in ["f", "xx", "12 4", "ü"] {
            of_cursor(bad).expect_err(bad);
        }
    }
}
