//! What does a program read? One JSON object in each line, with one key that says what it is.
//!
//! | key | value |
//! |---|---|
//! | `created` | a run: `run` (its id), `number`, `name`, `tasks` (names) |
//! | `event` | a change of a run, a task or a step, as the API tells it |
//! | `log` | a line of output: `run`, `task`, `attempt`, `step` (`setup` or an index), `line` |
//! | `waits` | a task that waits for what cannot come by itself: `run`, `task`, `reason` |
//! | `note` | something that belongs to no task: `level` (`info`, `warning` or `error`), `message` |
//! | `result` | the last line: `exit_code`, and `runs` with `run`, `number`, `name`, `result`, `tasks` (each with `name`, `result`, `duration_ms` and `failure`) |

use serde_json::{Value, json};

use super::{
    message::{Message, Tone},
    table,
};

/// The line of a message; nothing for what events tell already.
pub(super) fn render(message: &Message) -> String {
    let mut lines = String::new();
    let mut line = |value: Value| {
        lines.push_str(&value.to_string());
        lines.push('\n');
    };
    match message {
        Message::Created(run) => {
            let tasks: Vec<_> = run.tasks.keys().collect();
            line(
                json!({ "created": { "run": run.id, "number": run.number, "name": run.config.name, "tasks": tasks } }),
            );
        }
        Message::Happened(event) => line(json!({ "event": event })),
        Message::Lines { source, lines } => {
            for text in lines {
                let (run, task, attempt, step) = (&source.run, &source.task, source.attempt, source.step);
                line(json!({ "log": { "run": run, "task": task, "attempt": attempt, "step": step, "line": text } }));
            }
        }
        Message::Waits { run, task, reason } => {
            line(json!({ "waits": { "run": run, "task": task, "reason": reason } }));
        }
        Message::Note { text, tone } => {
            let level = match tone {
                Tone::Bad => "error",
                Tone::Warning => "warning",
                _ => "info",
            };
            line(json!({ "note": { "level": level, "message": text } }));
        }
        Message::Ended { runs, exit_code } => {
            let runs: Vec<_> = runs.iter().map(run_result).collect();
            line(json!({ "result": { "exit_code": exit_code, "runs": runs } }));
        }
        Message::State { .. } | Message::StepFailed { .. } => {}
    }
    lines
}

fn run_result(detail: &runyard_runservice_core::RunDetail) -> Value {
    let tasks: Vec<_> = detail
        .tasks
        .values()
        .map(|task| {
            let duration = table::took(&task.times).map(|took| took.as_millis() as u64);
            json!({ "name": task.name, "result": task.status, "duration_ms": duration, "failure": task.failure })
        })
        .collect();
    let run = &detail.run;
    json!({
        "run": run.id,
        "number": run.number,
        "name": run.name,
        "result": table::run_result(detail),
        "setup_errors": run.setup_errors,
        "tasks": tasks,
    })
}
