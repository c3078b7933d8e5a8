//! What happens in one task, told in the order in which it happened?
//!
//! The events of a task and the logs of its steps are two streams; here they become one. Each event waits until the log
//! of the step before it is told to its end, so "step 2 failed" stands below the output of step 2.

use std::{
    collections::{BTreeSet, VecDeque},
    time::Duration,
};

use futures::TryStreamExt;
use runyard_executor_core::contract::{RunId, Step, StepRef, StepStatus, Steps, TaskName};
use runyard_runservice_core::{LogRef, LogRequest, RunService, engine::Change, model::TaskStatus};
use tokio::{
    sync::mpsc::{Sender, UnboundedReceiver},
    time::Instant,
};

use super::{
    lines::{Lines, Sanitiser, plain},
    message::{LogStyle, Message, Source, Tone},
};

/// So many lines of a failed step are shown once more at the end.
const TAIL_LINES: usize = 10;

/// Tells what happens in one task.
#[derive(Debug)]
pub(super) struct Narrator {
    pub(super) service: RunService,
    pub(super) run: RunId,
    pub(super) task: TaskName,
    pub(super) steps: Steps,
    pub(super) style: LogStyle,
    pub(super) out: Sender<Message>,
}

impl Narrator {
    /// Tells every change, with the time at which it was heard of, until there are no more.
    ///
    /// The queue has no bound of its own: a task has a few changes for each step.
    pub(super) async fn tell(self, mut changes: UnboundedReceiver<(Instant, Change)>) {
        let mut told = BTreeSet::new();
        let mut tail = Vec::new();
        let mut began = None;
        while let Some((at, change)) = changes.recv().await {
            match change {
                Change::StepChanged { attempt, step, status, exit_code, .. } => {
                    if status != StepStatus::NotStarted && told.insert((attempt, step)) {
                        self.announce(step).await;
                        tail = self.follow(attempt, step).await;
                    }
                    if status == StepStatus::Failed {
                        self.step_failed(step, exit_code, std::mem::take(&mut tail)).await;
                    }
                }
                Change::TaskRetried { attempt, failure, .. } => {
                    let class = failure.class.as_str();
                    let text = format!("failed: {class}: {}; now attempt {attempt}", failure.message);
                    self.state(text, Tone::Warning).await;
                }
                Change::TaskStatus { status: TaskStatus::Running, .. } => began = began.or(Some(at)),
                Change::TaskStatus { status, failure, .. } if status.is_final() => {
                    let took = began.map(|began| format!(" after {}", seconds(at - began))).unwrap_or_default();
                    let why = failure.map(|why| format!(": {}: {}", why.class.as_str(), why.message));
                    self.state(format!("{}{took}{}", status.as_str(), why.unwrap_or_default()), tone(status)).await;
                }
                _ => {}
            }
        }
    }

    async fn say(&self, message: Message) {
        // Nobody listens any more only when the program ends.
        let _ = self.out.send(message).await;
    }

    async fn state(&self, text: String, tone: Tone) {
        self.say(Message::State { run: self.run.clone(), task: self.task.clone(), text, tone }).await;
    }

    fn step_name(&self, step: StepRef) -> String {
        match step {
            StepRef::Setup => "setup".to_owned(),
            StepRef::Step(index) => {
                let name = self.steps.0.get(index as usize).map_or("", Step::name);
                format!("step {} of {}: {name}", index + 1, self.steps.0.len())
            }
        }
    }

    async fn announce(&self, step: StepRef) {
        if step != StepRef::Setup {
            self.state(self.step_name(step), Tone::Normal).await;
        }
    }

    async fn step_failed(&self, step: StepRef, exit_code: Option<i32>, tail: Vec<String>) {
        if let Some(code) = exit_code {
            self.state(format!("the step ended with status {code}"), Tone::Bad).await;
        }
        let (run, task, step) = (self.run.clone(), self.task.clone(), self.step_name(step));
        self.say(Message::StepFailed { run, task, step, tail }).await;
    }

    /// Tells a log to its end; returns its last lines.
    async fn follow(&self, attempt: u32, step: StepRef) -> Vec<String> {
        let (run, task) = (self.run.clone(), self.task.clone());
        let source = Source { run: run.clone(), task: task.clone(), attempt, step };
        let is_command = match step {
            StepRef::Setup => false,
            StepRef::Step(index) => matches!(self.steps.0.get(index as usize), Some(Step::Run(_))),
        };
        let mut log = Log::new(self.style, !is_command);
        let of = LogRef { run, task, attempt: Some(attempt), step };
        let request = LogRequest { log: of, offset: 0, follow: true };
        let told = async {
            let mut bytes = self.service.log(&request).await?;
            while let Some(piece) = bytes.try_next().await? {
                let lines = log.push(&piece);
                if !lines.is_empty() {
                    self.say(Message::Lines { source: source.clone(), lines }).await;
                }
            }
            Ok::<_, runyard_runservice_core::Error>(())
        };
        let told = told.await;
        let rest = log.finish();
        if !rest.is_empty() {
            self.say(Message::Lines { source, lines: rest }).await;
        }
        if let Err(error) = told {
            self.state(format!("the rest of this log cannot be read: {error}"), Tone::Warning).await;
        }
        log.tail.into()
    }
}

/// Turns the bytes of a log into lines to be shown, and keeps the last ones.
#[derive(Debug)]
struct Log {
    style: LogStyle,
    /// The executor wrote it, not a command.
    is_executors: bool,
    lines: Lines,
    sanitiser: Sanitiser,
    tail: VecDeque<String>,
}

impl Log {
    fn new(style: LogStyle, is_executors: bool) -> Self {
        let (lines, sanitiser, tail) = (Lines::default(), Sanitiser::default(), VecDeque::new());
        Self { style, is_executors, lines, sanitiser, tail }
    }

    fn push(&mut self, bytes: &[u8]) -> Vec<String> {
        let lines = self.lines.push(bytes);
        lines.iter().map(|line| self.shown(line)).collect()
    }

    fn finish(&mut self) -> Vec<String> {
        let rest = self.lines.finish();
        rest.iter().map(|line| self.shown(line)).collect()
    }

    fn shown(&mut self, line: &[u8]) -> String {
        let raw = String::from_utf8_lossy(line);
        let text = plain(&raw);
        let text = if self.is_executors { without_time(&text).to_owned() } else { text };
        if self.tail.len() == TAIL_LINES {
            self.tail.pop_front();
        }
        self.tail.push_back(text.clone());
        match self.style {
            LogStyle::Raw => raw.into_owned(),
            LogStyle::Coloured if !self.is_executors => self.sanitiser.coloured(line),
            LogStyle::Plain | LogStyle::Coloured => text,
        }
    }
}

/// A line of an executor's own without the time at its beginning, which is not worth its place here.
fn without_time(line: &str) -> &str {
    let stripped = line.strip_prefix('[').and_then(|line| line.split_once("s] "));
    match stripped {
        Some((time, text)) if time.trim().parse::<f64>().is_ok() => text,
        _ => line,
    }
}

fn tone(status: TaskStatus) -> Tone {
    match status {
        TaskStatus::Success => Tone::Good,
        TaskStatus::Failed => Tone::Bad,
        TaskStatus::Stopped | TaskStatus::Cancelled => Tone::Warning,
        TaskStatus::Skipped | TaskStatus::Running | TaskStatus::NotStarted => Tone::Quiet,
    }
}

/// A duration as people read it: `0.3s`, `12s`, `3m05s`, `1h02m`.
pub(super) fn seconds(duration: Duration) -> String {
    let whole = duration.as_secs();
    match whole {
        0..10 => format!("{:.1}s", duration.as_millis() as f64 / 1000.0),
        10..60 => format!("{whole}s"),
        60..3600 => format!("{}m{:02}s", whole / 60, whole % 60),
        _ => format!("{}h{:02}m", whole / 3600, whole % 3600 / 60),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_short() {
        for (millis, text) in [(0, "0.0s"), (340, "0.3s"), (12_900, "12s"), (185_000, "3m05s"), (3_720_000, "1h02m")] {
            assert_eq!(seconds(Duration::from_millis(millis)), text);
        }
    }

    #[test]
    fn setup_lines_lose_their_time_and_nothing_else() {
        assert_eq!(without_time("[   0.001s] pod p is ready"), "pod p is ready");
        assert_eq!(without_time("[warnings] s] x"), "[warnings] s] x");
    }

    #[test]
    fn a_partial_line_comes_at_the_end_and_the_tail_keeps_the_last_lines() {
        let mut log = Log::new(LogStyle::Plain, false);
        for number in 0..20 {
            assert_eq!(log.push(format!("\x1b[1m{number}\n").as_bytes()), [number.to_string()]);
        }
        assert!(log.push(b"partial").is_empty());
        assert_eq!(log.finish(), ["partial"]);
        assert_eq!(log.tail.len(), TAIL_LINES);
        assert_eq!(log.tail.back().map(String::as_str), Some("partial"));
    }
}
