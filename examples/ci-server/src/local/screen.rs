//! What stands below the log on a terminal: a line for each task that runs.

use std::io::{self, Write};

use runyard_executor_core::contract::StepRef;
use runyard_runservice_core::model::TaskStatus;
use tokio::time::Instant;

use super::{lines::plain, narrate::seconds, progress::RunProgress};

/// Columns and rows of a terminal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Size {
    pub(super) columns: usize,
    pub(super) rows: usize,
}

impl Size {
    /// That of standard output; none: it is not a terminal that can be drawn on.
    pub(super) fn of_stdout() -> Option<Self> {
        let stdout = io::stdout();
        if !rustix::termios::isatty(&stdout) || std::env::var_os("TERM").is_none_or(|term| term == "dumb") {
            return None;
        }
        let size = rustix::termios::tcgetwinsize(&stdout).ok()?;
        let or = |value: u16, default| if value == 0 { default } else { usize::from(value) };
        Some(Self { columns: or(size.ws_col, 80), rows: or(size.ws_row, 24) })
    }
}

/// The lines below the log. They never fill more than half of the screen.
pub(super) fn frame(runs: &[RunProgress], size: Size, now: Instant) -> Vec<String> {
    let mut lines = Vec::new();
    let mut waiting = 0;
    for run in runs.iter().filter(|run| !run.phase.is_final()) {
        for (name, task) in &run.tasks {
            if task.status == TaskStatus::NotStarted {
                waiting += 1;
            }
            if task.status != TaskStatus::Running {
                continue;
            }
            let elapsed = task.since.map(|since| seconds(now.saturating_duration_since(since))).unwrap_or_default();
            let steps = run.config.tasks.get(name).map_or(&[][..], |config| &config.steps.0);
            let step = match task.step {
                None | Some(StepRef::Setup) => "setup".to_owned(),
                Some(StepRef::Step(index)) => {
                    let name = steps.get(index as usize).map_or("", |step| step.name());
                    format!("{}/{} {name}", index + 1, steps.len())
                }
            };
            lines.push(format!("> {name}  {elapsed}  {step}"));
        }
    }
    let room = (size.rows / 2).max(1);
    let hidden = (lines.len() + usize::from(waiting > 0)).saturating_sub(room);
    if hidden > 0 {
        lines.truncate(room.saturating_sub(1));
        lines.push(format!("  and more tasks; {waiting} not started"));
    } else if waiting > 0 {
        lines.push(format!("  {waiting} not started"));
    }
    lines.into_iter().map(|line| fit(&plain(&line), size.columns)).collect()
}

/// Cuts a line so that it surely fits. A character that is not ASCII may take two columns.
fn fit(line: &str, columns: usize) -> String {
    let mut room = columns.saturating_sub(1);
    let fits = |char: &char| {
        let width = if char.is_ascii() { 1 } else { 2 };
        let fits = width <= room;
        room = room.saturating_sub(width);
        fits
    };
    line.chars().map(|char| if char == '\t' { ' ' } else { char }).take_while(fits).collect()
}

/// Draws the frame below what is printed, and takes it away again.
#[derive(Debug, Default)]
pub(super) struct Drawn {
    lines: usize,
}

impl Drawn {
    /// Prints `text`, whole lines, above the new frame. One write, so that nothing flickers.
    pub(super) fn update(&mut self, out: &mut dyn Write, text: &str, frame: &[String]) -> io::Result<()> {
        let mut bytes = String::new();
        if self.lines > 0 {
            bytes.push('\r');
            if self.lines > 1 {
                bytes.push_str(&format!("\x1b[{}A", self.lines - 1));
            }
            bytes.push_str("\x1b[J");
        }
        bytes.push_str(text);
        if !frame.is_empty() {
            // Without wrapping, for a terminal that was made narrower meanwhile.
            bytes.push_str(&format!("\x1b[?7l\x1b[2m{}\x1b[0m\x1b[?7h", frame.join("\n")));
        }
        self.lines = frame.len();
        out.write_all(bytes.as_bytes())?;
        out.flush()
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::{
        super::progress::tests::{run, status},
        *,
    };

    #[test]
    fn every_running_task_has_a_line_that_fits() {
        let mut run = run(&[("compile", &[]), ("\u{1b}[2Jwörk", &[]), ("test", &["compile"])]);
        let begin = Instant::now();
        run.apply(&status("compile", TaskStatus::Running), begin);
        run.apply(&status("\u{1b}[2Jwörk", TaskStatus::Running), begin);
        let size = Size { columns: 20, rows: 24 };
        let lines = frame(std::slice::from_ref(&run), size, begin + Duration::from_secs(12));
        assert_eq!(lines, ["> wörk  12s  setup", "> compile  12s  set", "  1 not started"]);
        let small = frame(&[run], Size { columns: 80, rows: 4 }, begin);
        assert_eq!(small.len(), 2);
        assert_eq!(small[1], "  and more tasks; 1 not started");
    }

    #[test]
    fn the_old_frame_is_gone_before_anything_is_printed() {
        let mut drawn = Drawn::default();
        let mut out = Vec::new();
        drawn.update(&mut out, "one\n", &["a".into(), "b".into()]).expect("memory");
        out.clear();
        drawn.update(&mut out, "two\n", &[]).expect("memory");
        assert_eq!(String::from_utf8_lossy(&out), "\r\x1b[1A\x1b[Jtwo\n");
        out.clear();
        drawn.update(&mut out, "three\n", &[]).expect("memory");
        assert_eq!(String::from_utf8_lossy(&out), "three\n");
    }
}
