//! What may happen next, and where? The replaceable, pure half of the run engine.
//!
//! A [`Scheduler`] is asked two questions. [`plan`](Scheduler::plan): given a run, what may each of its tasks do?
//! [`place`](Scheduler::place): given a waiting task and the executors, who takes it? It answers from its arguments
//! alone: no clock, no I/O, no randomness, nothing asynchronous in this folder. Acting on the answers is the
//! [`engine`](crate::engine)'s and the service's part.
//!
//! ```text
//!   RunView ── plan ──> Start ──> PlacementQueue ── round (fair) ── place ──> To(executor) | Wait(reason)
//!                       Wait(reason) | Approve | Skip | Cancel
//! ```

mod approval;
mod place;
mod plan;
mod queue;
mod reason;
#[cfg(test)]
mod tests;
mod view;

use std::fmt;

pub use approval::{APPROVERS_ANNOTATION, ApprovalPolicy, Approvals};
pub use place::Placement;
pub use plan::{Decision, Plan};
pub use queue::{Placed, PlacementClass, PlacementQueue};
pub use reason::WaitingReason;
pub use view::{ExecutorView, RunView, WaitingTask};

/// Decides what may happen next to a run, and where a task goes.
///
/// Both methods must be functions of their arguments: the engine calls them again whenever it re-evaluates a run, and
/// in every process that serves it.
///
/// ```
/// use runyard_runservice_core::scheduler::*;
///
/// /// Runs nothing while the world is frozen.
/// #[derive(Debug, Default)]
/// struct Freeze(DefaultScheduler);
///
/// impl Scheduler for Freeze {
///     fn plan(&self, run: &RunView<'_>) -> Plan {
///         self.0.plan(run)
///     }
///     fn place(&self, _: &WaitingTask, _: &[ExecutorView]) -> Placement {
///         Placement::Wait(WaitingReason::Other { message: "no task starts in December".into() })
///     }
/// }
/// ```
pub trait Scheduler: Send + Sync + fmt::Debug {
    /// Says for each task that is neither final nor scheduled what it may do.
    ///
    /// It may look at the result of the run, and of a task at the status, the attempt, the annotations, the approval and at
    /// whether it is assigned: it is not asked again when only something else has changed.
    ///
    /// Called only for running runs that nobody asked to stop. The engine applies what the plan says and asks again
    /// until nothing changes, so a plan need not foresee its own consequences.
    fn plan(&self, run: &RunView<'_>) -> Plan;

    /// Says which executor takes a task, or why it waits.
    ///
    /// It must place tasks of one [`class`](Self::class) alike, and the more tasks an executor has, the less may it get.
    fn place(&self, task: &WaitingTask, executors: &[ExecutorView]) -> Placement;

    /// Which tasks are placed alike: when one of them waits, the others are not asked for until an executor has changed.
    ///
    /// Unless a scheduler says otherwise, those of one root group that ask for the same. One that looks at more, such as the
    /// run, makes smaller classes with [`PlacementClass::and`]; the fewer there are, the less a placement costs.
    fn class(&self, task: &WaitingTask) -> PlacementClass {
        PlacementClass::of_root(task)
    }

    /// Where approvals are recorded. The default policy, unless a scheduler says otherwise.
    fn approvals(&self) -> ApprovalPolicy {
        ApprovalPolicy::default()
    }
}

/// The scheduler that follows the rules of the run engine to the letter.
#[derive(Clone, Debug, Default)]
pub struct DefaultScheduler {
    approvals: ApprovalPolicy,
}

impl DefaultScheduler {
    /// Reads approvers from another annotation.
    #[must_use]
    pub fn with_approvals(approvals: ApprovalPolicy) -> Self {
        Self { approvals }
    }
}

impl Scheduler for DefaultScheduler {
    fn plan(&self, run: &RunView<'_>) -> Plan {
        plan::plan(run, &self.approvals)
    }

    fn place(&self, task: &WaitingTask, executors: &[ExecutorView]) -> Placement {
        place::place(task, executors)
    }

    fn class(&self, task: &WaitingTask) -> PlacementClass {
        PlacementClass::of_requirements(task)
    }

    fn approvals(&self) -> ApprovalPolicy {
        self.approvals.clone()
    }
}
