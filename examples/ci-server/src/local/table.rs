//! How did it end, at a glance? The closing table, and the last lines of the steps that failed. Pure.

use std::time::Duration;

use runyard_executor_core::contract::TaskName;
use runyard_runservice_core::{
    RunDetail,
    model::{RunPhase, RunResult, Task, TaskStatus, Times},
};

use super::{message::Tone, narrate::seconds};

/// A line of the table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Row {
    pub(super) cells: [String; 4],
    pub(super) tone: Tone,
}

/// How long something took, by the run service's clock.
pub(super) fn took(times: &Times) -> Option<Duration> {
    times.finished?.duration_since(times.started?).ok()
}

/// How a run ended, in a word.
pub(super) fn run_result(detail: &RunDetail) -> &'static str {
    match detail.run.phase {
        RunPhase::Finished => detail.run.result.as_str(),
        phase => phase.as_str(),
    }
}

/// Whether the run did what it was to do.
pub(super) fn is_success(detail: &RunDetail) -> bool {
    detail.run.phase == RunPhase::Finished && detail.run.result == RunResult::Success
}

/// The tasks of a run in the order of their levels; `blocked` says for what a task waited in vain.
pub(super) fn rows(detail: &RunDetail, blocked: impl Fn(&TaskName) -> Option<String>) -> Vec<Row> {
    let mut tasks: Vec<&Task> = detail.tasks.values().collect();
    let level = |task: &Task| detail.config.tasks.get(&task.name).map_or(0, |config| config.level);
    tasks.sort_by_key(|task| level(task));
    let row = |task: &Task| Row {
        cells: [
            super::lines::plain(task.name.as_str()),
            task.status.as_str().to_owned(),
            took(&task.times).map(seconds).unwrap_or_default(),
            super::lines::plain(&why(detail, task, blocked(&task.name))),
        ],
        tone: match task.status {
            TaskStatus::Success => Tone::Good,
            TaskStatus::Failed => Tone::Bad,
            TaskStatus::Stopped | TaskStatus::Cancelled => Tone::Warning,
            _ => Tone::Quiet,
        },
    };
    tasks.into_iter().map(row).collect()
}

/// Why a task did not succeed.
fn why(detail: &RunDetail, task: &Task, blocked: Option<String>) -> String {
    if let Some(failure) = &task.failure {
        return format!("{}: {}", failure.class.as_str(), failure.message);
    }
    match (task.status, blocked) {
        (TaskStatus::Success | TaskStatus::Running, _) => String::new(),
        (_, Some(reason)) => format!("waited: {reason}"),
        (TaskStatus::Skipped, _) if detail.config.tasks.get(&task.name).is_some_and(|config| config.skip) => {
            "its `when` does not match".to_owned()
        }
        (TaskStatus::Skipped, _) if detail.run.stop_requested => "the run was stopped before it started".to_owned(),
        (TaskStatus::Skipped, _) => "what it depends on did not end as it asks".to_owned(),
        (TaskStatus::Cancelled, _) => "the run failed before it started".to_owned(),
        _ => String::new(),
    }
}

/// Lines with the columns aligned; the last one is as long as it is.
pub(super) fn aligned(rows: &[Row]) -> Vec<String> {
    let width = |column: usize| rows.iter().map(|row| row.cells[column].chars().count()).max().unwrap_or(0);
    let widths = [width(0), width(1), width(2)];
    let line = |row: &Row| {
        let [name, result, time, why] = &row.cells;
        let [a, b, c] = widths;
        format!("{name:a$}  {result:b$}  {time:>c$}  {why}").trim_end().to_owned()
    };
    rows.iter().map(line).collect()
}

/// The names of the columns.
pub(super) fn header() -> Row {
    Row { cells: ["task", "result", "time", "why"].map(str::to_owned), tone: Tone::Normal }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_aligned_and_lines_have_no_blanks_at_their_ends() {
        let row = |cells: [&str; 4]| Row { cells: cells.map(str::to_owned), tone: Tone::Normal };
        let rows = [header(), row(["unit tests", "failed", "1.0s", "exit: 1"]), row(["é", "skipped", "", ""])];
        let expected = ["task        result   time  why", "unit tests  failed   1.0s  exit: 1", "é           skipped"];
        assert_eq!(aligned(&rows), expected);
    }
}
