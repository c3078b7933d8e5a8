//! What is there to print? Said by those who follow the runs, shown by [`print`](mod@super::print).

use runyard_executor_core::contract::{RunId, StepRef, TaskName};
use runyard_runservice_core::{RunDetail, engine::RunEvent};

use super::progress::RunProgress;

/// Something to print, in this order.
#[derive(Debug)]
pub(super) enum Message {
    /// A run exists.
    Created(Box<RunProgress>),
    /// Something happened; what a user reads of it comes as [`Message::State`], at its place among the lines.
    Happened(Box<RunEvent>),
    /// Output of a task, each without its line break.
    Lines { source: Source, lines: Vec<String> },
    /// A task or a step of it began or ended.
    State { run: RunId, task: TaskName, text: String, tone: Tone },
    /// A task waits for something that cannot come by itself.
    Waits { run: RunId, task: TaskName, reason: String },
    /// A step failed: its last lines, to be shown once more at the end.
    StepFailed { run: RunId, task: TaskName, step: String, tail: Vec<String> },
    /// Something that belongs to no task.
    Note { text: String, tone: Tone },
    /// All is over.
    Ended { runs: Vec<RunDetail>, exit_code: u8 },
}

/// Which log a line is of.
#[derive(Clone, Debug)]
pub(super) struct Source {
    pub(super) run: RunId,
    pub(super) task: TaskName,
    pub(super) attempt: u32,
    pub(super) step: StepRef,
}

/// How a line is meant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Tone {
    Quiet,
    Normal,
    Good,
    Warning,
    Bad,
}

/// How the lines of logs are wanted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum LogStyle {
    /// As they were printed, for a program.
    Raw,
    /// Text alone.
    Plain,
    /// Text and colours.
    Coloured,
}
