//! What does a person read? Every message as lines of text. Pure.

use std::collections::BTreeMap;

use runyard_executor_core::contract::{RunId, StepRef, TaskName};
use runyard_runservice_core::{RunDetail, model::RunPhase};
use tokio::time::Instant;

use super::{
    lines::plain,
    message::{Message, Tone},
    narrate::seconds,
    progress::RunProgress,
    table,
};

/// Turns messages into lines, and keeps what the closing table needs.
#[derive(Debug, Default)]
pub(super) struct Text {
    pub(super) has_colours: bool,
    /// What is known of the runs, for the lines below the log.
    pub(super) runs: Vec<RunProgress>,
    waits: BTreeMap<(RunId, TaskName), String>,
    failed: Vec<(String, Vec<String>)>,
}

impl Text {
    pub(super) fn new(has_colours: bool) -> Self {
        Self { has_colours, ..Self::default() }
    }

    /// The lines of a message, each with its line break.
    pub(super) fn render(&mut self, message: Message, now: Instant) -> String {
        let mut lines = Vec::new();
        match message {
            Message::Created(run) => {
                let tasks = match run.tasks.len() {
                    1 => "1 task".to_owned(),
                    tasks => format!("{tasks} tasks"),
                };
                lines.push(self.toned(Tone::Normal, &format!("run {}: {tasks}", plain(&run.config.name))));
                self.runs.push(*run);
            }
            Message::Happened(event) => {
                if let Some(run) = self.runs.iter_mut().find(|run| run.id == event.run) {
                    run.apply(&event.change, now);
                }
            }
            Message::Lines { source, lines: output } => {
                let label = self.label(&source.run, &source.task);
                let is_setup = source.step == StepRef::Setup;
                lines.extend(output.into_iter().map(|line| match is_setup {
                    true => format!("{label} {}", self.toned(Tone::Quiet, &line)),
                    false => format!("{label} {line}"),
                }));
            }
            Message::State { run, task, text, tone } => {
                lines.push(format!(
                    "{} {}",
                    self.label(&run, &task),
                    self.toned(tone, &format!("-- {}", plain(&text)))
                ));
            }
            Message::Waits { run, task, reason } => {
                let text = format!("-- waits: {}", plain(&reason));
                lines.push(format!("{} {}", self.label(&run, &task), self.toned(Tone::Warning, &text)));
                self.waits.insert((run, task), reason);
            }
            Message::StepFailed { run, task, step, tail } => {
                let name = format!("{} {}", self.plain_label(&run, &task), plain(&step));
                self.failed.push((name, tail));
            }
            Message::Note { text, tone } => lines.extend(text.lines().map(|line| self.toned(tone, line))),
            Message::Ended { runs, .. } => lines.extend(self.ending(&runs)),
        }
        lines.into_iter().flat_map(|line| [line, "\n".to_owned()]).collect()
    }

    fn ending(&self, runs: &[RunDetail]) -> Vec<String> {
        let mut lines = Vec::new();
        for (step, tail) in self.failed.iter().filter(|(_, tail)| !tail.is_empty()) {
            lines.push(String::new());
            lines.push(self.toned(Tone::Bad, &format!("the last lines of {step}")));
            lines.extend(tail.iter().map(|line| format!("  {line}")));
        }
        for detail in runs {
            let blocked = |task: &TaskName| self.waits.get(&(detail.run.id.clone(), task.clone())).cloned();
            let mut rows = vec![table::header()];
            rows.extend(table::rows(detail, blocked));
            lines.push(String::new());
            if detail.run.phase != RunPhase::SetupError && rows.len() > 1 {
                let aligned = table::aligned(&rows);
                lines.extend(rows.iter().zip(aligned).map(|(row, line)| self.toned(row.tone, &line)));
            }
            lines.extend(detail.run.setup_errors.iter().map(|error| self.toned(Tone::Bad, error)));
            let took = table::took(&detail.run.times).map(|took| format!(" in {}", seconds(took)));
            let result = table::run_result(detail);
            let text = format!("run {}: {result}{}", plain(&detail.run.name), took.unwrap_or_default());
            let tone = if table::is_success(detail) { Tone::Good } else { Tone::Bad };
            lines.push(self.toned(tone, &text));
        }
        lines
    }

    fn plain_label(&self, run: &RunId, task: &TaskName) -> String {
        let task = plain(task.as_str());
        match self.runs.iter().find(|known| known.id == *run) {
            Some(run) if self.runs.len() > 1 => format!("[{}/{task}]", plain(&run.config.name)),
            _ => format!("[{task}]"),
        }
    }

    fn label(&self, run: &RunId, task: &TaskName) -> String {
        let label = self.plain_label(run, task);
        if !self.has_colours {
            return label;
        }
        // The same task always has the same of six colours.
        let known = self.runs.iter().find(|known| known.id == *run);
        let index = known.and_then(|run| run.tasks.keys().position(|name| name == task)).unwrap_or(0);
        format!("\x1b[{}m{label}\x1b[0m", [36, 35, 34, 33, 32, 96][index % 6])
    }

    fn toned(&self, tone: Tone, text: &str) -> String {
        let code = match tone {
            Tone::Quiet => "2",
            Tone::Normal => return text.to_owned(),
            Tone::Good => "32",
            Tone::Warning => "33",
            Tone::Bad => "31",
        };
        if self.has_colours { format!("\x1b[{code}m{text}\x1b[0m") } else { text.to_owned() }
    }
}

#[cfg(test)]
mod tests {
    use super::{
        super::{
            message::Source,
            progress::tests::{name, run},
        },
        *,
    };

    fn source() -> Source {
        Source { run: RunId::parse("r1").expect("valid"), task: name("a"), attempt: 1, step: StepRef::Step(0) }
    }

    #[test]
    fn a_line_is_prefixed_by_its_task_and_by_its_run_where_there_are_several() {
        let mut text = Text::default();
        let now = Instant::now();
        assert_eq!(text.render(Message::Created(Box::new(run(&[("a", &[])]))), now), "run build: 1 task\n");
        let line = || Message::Lines { source: source(), lines: vec!["x".into(), "y".into()] };
        assert_eq!(text.render(line(), now), "[a] x\n[a] y\n");
        let mut second = run(&[]);
        second.id = RunId::parse("r2").expect("valid");
        text.render(Message::Created(Box::new(second)), now);
        assert_eq!(text.render(line(), now), "[build/a] x\n[build/a] y\n");
    }

    #[test]
    fn names_cannot_damage_the_screen() {
        let mut text = Text { has_colours: true, ..Text::default() };
        let source = Source { task: name("\u{1b}[2Ja"), ..source() };
        let shown = text.render(Message::Lines { source, lines: vec!["x".into()] }, Instant::now());
        assert!(!shown.contains("\u{1b}[2J"), "{shown:?}");
    }
}
