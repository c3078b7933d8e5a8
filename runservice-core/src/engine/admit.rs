//! Does a new run start now, and what becomes of the others of its group?

use std::collections::BTreeSet;

use runyard_executor_core::contract::RunId;

use crate::{model::ConcurrencyPolicy, scheduler::WaitingReason};

/// A run of the group that is running or queued. Parallel runs are none: they neither wait nor make others wait.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GroupMember {
    /// The run.
    pub id: RunId,
    /// Its number in the root group.
    pub number: u64,
}

/// What happens when a run enters its group.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Admission {
    /// Why the new run waits; absent: it starts at once.
    pub waits: Option<WaitingReason>,
    /// The queued runs that are cancelled.
    pub cancel: Vec<RunId>,
    /// The running run that is stopped.
    pub stop: Option<RunId>,
}

impl Admission {
    /// Whether the new run starts at once.
    pub fn starts(&self) -> bool {
        self.waits.is_none()
    }
}

/// Decides what a new run does to its group.
///
/// `siblings` are the runs that the same cause made, such as one push: they go one after another, so none of them
/// cancels or stops another, whatever the policy. The service cancels and stops with [`Event`](super::Event)s, in the
/// transaction that creates the run.
pub fn admit(
    policy: ConcurrencyPolicy,
    running: Option<&GroupMember>,
    queued: &[GroupMember],
    siblings: &BTreeSet<RunId>,
) -> Admission {
    let is_other = |member: &&GroupMember| !siblings.contains(&member.id);
    let cancels = matches!(policy, ConcurrencyPolicy::CancelQueued | ConcurrencyPolicy::CancelRunning);
    let (cancelled, staying): (Vec<&GroupMember>, Vec<&GroupMember>) =
        queued.iter().partition(|member| cancels && is_other(member));
    let ahead = running.or_else(|| staying.into_iter().min_by_key(|member| member.number));
    let parallel = policy == ConcurrencyPolicy::Parallel;
    let stopped = running.filter(|member| policy == ConcurrencyPolicy::CancelRunning && is_other(member));
    Admission {
        waits: ahead.filter(|_| !parallel).map(|run| WaitingReason::WaitingForRun { number: run.number }),
        cancel: cancelled.into_iter().map(|member| member.id.clone()).collect(),
        stop: stopped.map(|member| member.id.clone()),
    }
}

/// The queued run that starts when the running one has finished: the one with the smallest number.
pub fn next_of_group(queued: &[GroupMember]) -> Option<&GroupMember> {
    queued.iter().min_by_key(|member| member.number)
}
