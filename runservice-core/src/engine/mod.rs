//! What becomes of a run when something happens to it? A pure function from a state and an event to a new state.
//!
//! ```text
//!   run     (create) ──> queued ── Start ──> running ── all tasks final, result set, ──> finished
//!              │            │                           no assignment left
//!              │            └── Cancel ──> cancelled
//!              └──> setuperror (final, no tasks)
//!
//!   task    notstarted ── report ──> running ── report, lost, stop ──> success | failed | stopped
//!               │  │                  │   ^
//!               │  │                  └───┘ a failed attempt with tries left: attempt + 1
//!               │  └───── final report, lost ──> success | failed | stopped
//!               └── plan, stop, cancel ──> skipped | cancelled
//!
//!   attempt  waits for its parents ──> waits for approval ──> ready ── Assign ──> assigned ── Accept ──> accepted
//!                                                               ^                 │  Unassign,           │
//!                                                               │                 │  ExecutorLost        │ final report,
//!                                                               └─────────────────┘                      │ ExecutorLost
//!                                                               ^                                        v
//!                                                               └──── tries left ──────────────── assignment removed
//! ```
//!
//! [`step`] applies one [`Event`], then lets the consequences settle: the whole effect of an event is one new state.
//! What has to be written or told besides is a list of [`Effect`]s, found by comparing the two states, so no change
//! can be forgotten. No clock, no I/O, no randomness: the service [`stamp`]s times and hands in ids.
//!
//! # Who decides what
//!
//! | rule | where |
//! |---|---|
//! | 1 result, 7 finished, 8 stop and cancel | `settle`, `act` |
//! | 2 a failed run, 3 conditions, 5 approval, 6 `ignore_failure` | [`Scheduler::plan`], for one task at a time |
//! | 4 born skipped | `create` |
//! | retries, late and foreign reports, lost executors | `attempt` |
//! | groups and concurrency | [`admit`] |
//! | restart | [`restart`] |
//!
//! # Stored archives
//!
//! A task becomes ready only when the workspace archives of its parents are stored. Nothing here checks that: an
//! executor reports a `save_to_workspace` step as successful only after the run service has stored its archive
//! durably, so a parent that is final has its archives.

mod act;
mod admit;
mod attempt;
mod changes;
mod create;
mod effect;
mod event;
mod input;
mod refusal;
mod restart;
mod settle;
mod stamp;
#[cfg(test)]
mod tests;
mod waiting;

use runyard_executor_core::contract::TaskName;

pub use admit::{Admission, GroupMember, admit, next_of_group};
pub use create::{RunIdentity, create};
pub use effect::{Effect, Stepped};
pub use event::{Change, RunEvent};
pub use input::Event;
pub use refusal::{Refusal, RefusalKind};
pub use restart::{RestartFrom, kept_tasks, restart};
pub use stamp::stamp;
pub use waiting::waiting;

use crate::{
    model::{RunConfig, RunPhase, RunState},
    scheduler::{Decision, RunView, Scheduler},
};

/// Applies an event to a run and everything that follows from it.
///
/// The state is returned unchanged, without effects, for what was applied before: a repeated acceptance, report or
/// stop.
///
/// ```
/// use runyard_executor_core::contract::{RunId, TaskId, TaskName};
/// use runyard_runservice_core::{engine::*, model::*, scheduler::DefaultScheduler};
///
/// let mut config = RunConfig::new("build", GroupPath::new("project", "42")?);
/// config.tasks.insert(TaskName::parse("test")?, TaskConfig::default());
/// let identity = RunIdentity { id: RunId::parse("run-1")?, number: 1 };
/// let queued = create(&config, identity, &mut || TaskId::parse("task-1").expect("a valid id")).state;
///
/// let started = step(&DefaultScheduler::default(), &config, &queued, &Event::Start)?;
/// assert_eq!(started.state.run.phase, RunPhase::Running);
/// assert!(started.effects.contains(&Effect::Ready { task: TaskName::parse("test")? }));
///
/// let refusal = step(&DefaultScheduler::default(), &config, &started.state, &Event::Cancel).unwrap_err();
/// assert_eq!(refusal.to_string(), "run #1 is running: only a queued run can be cancelled; a running one can be stopped");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// # Errors
/// A [`Refusal`] if the event is not legal in this state; nothing has changed then.
pub fn step(
    scheduler: &dyn Scheduler,
    config: &RunConfig,
    state: &RunState,
    event: &Event,
) -> Result<Stepped, Refusal> {
    if !config.tasks.keys().eq(state.tasks.keys()) && state.run.phase != RunPhase::SetupError {
        return Err(Refusal::OtherConfig { number: state.run.number });
    }
    let mut after = state.clone();
    act::apply(scheduler, config, &mut after, event)?;
    // Where nothing that a scheduler may look at has changed, the run is settled as it was before.
    if *event == Event::Reconsider || !settle::are_planned_alike(state, &after) {
        settle::settle(scheduler, config, &mut after);
    }
    let effects = changes::between(state, &after);
    Ok(Stepped { state: after, effects })
}

/// The tasks that a scheduler lets wait for an executor, asked anew: what [`Task::ready`](crate::model::Task::ready) must
/// say, and what the placement queue must hold.
pub fn ready(scheduler: &dyn Scheduler, config: &RunConfig, state: &RunState) -> Vec<TaskName> {
    if state.run.phase != RunPhase::Running {
        return Vec::new();
    }
    let run = RunView { config, state };
    let plan = scheduler.plan(&run);
    let starts = |name: &TaskName| plan.get(name) == Some(&Decision::Start);
    run.open_tasks().filter(|(name, ..)| starts(name)).map(|(name, ..)| name.clone()).collect()
}
