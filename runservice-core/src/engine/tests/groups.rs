//! What a new run does to its group, and which one is next.

use std::collections::BTreeSet;

use runyard_executor_core::contract::RunId;

use crate::{
    engine::{Admission, GroupMember, admit, next_of_group},
    model::ConcurrencyPolicy::{self, CancelQueued, CancelRunning, Parallel, Queue},
    scheduler::WaitingReason,
};

fn id(number: u64) -> RunId {
    RunId::parse(format!("run-{number}")).unwrap()
}

fn members(numbers: &[u64]) -> Vec<GroupMember> {
    numbers.iter().map(|&number| GroupMember { id: id(number), number }).collect()
}

/// Waits for, cancels, stops.
type Expected = (Option<u64>, &'static [u64], Option<u64>);

#[test]
fn the_concurrency_policy_decides_what_becomes_of_the_group() {
    let table: [(ConcurrencyPolicy, Option<u64>, &[u64], Expected); 14] = [
        (Queue, None, &[], (None, &[], None)),
        (Queue, Some(1), &[], (Some(1), &[], None)),
        (Queue, Some(1), &[2, 3], (Some(1), &[], None)),
        (Queue, None, &[3, 2], (Some(2), &[], None)),
        (CancelQueued, None, &[], (None, &[], None)),
        (CancelQueued, Some(1), &[], (Some(1), &[], None)),
        (CancelQueued, Some(1), &[2, 3], (Some(1), &[2, 3], None)),
        (CancelQueued, None, &[2, 3], (None, &[2, 3], None)),
        (CancelRunning, None, &[], (None, &[], None)),
        (CancelRunning, Some(1), &[], (Some(1), &[], Some(1))),
        (CancelRunning, Some(1), &[2, 3], (Some(1), &[2, 3], Some(1))),
        (CancelRunning, None, &[2], (None, &[2], None)),
        (Parallel, None, &[], (None, &[], None)),
        (Parallel, Some(1), &[2], (None, &[], None)),
    ];
    for (policy, running, queued, expected) in table {
        let running = running.map(|number| members(&[number]).remove(0));
        let admission = admit(policy, running.as_ref(), &members(queued), &BTreeSet::new());
        assert_eq!(admission, admission_of(expected), "{policy:?} {running:?} {queued:?}");
        assert_eq!(admission.starts(), expected.0.is_none());
    }
}

fn admission_of((waits, cancel, stop): Expected) -> Admission {
    Admission {
        waits: waits.map(|number| WaitingReason::WaitingForRun { number }),
        cancel: cancel.iter().copied().map(id).collect(),
        stop: stop.map(id),
    }
}

#[test]
fn runs_of_one_push_neither_cancel_nor_stop_each_other() {
    let running = members(&[5]).remove(0);
    let siblings = BTreeSet::from([id(5), id(6)]);
    for policy in [CancelQueued, CancelRunning] {
        let admission = admit(policy, Some(&running), &members(&[4, 6]), &siblings);
        assert_eq!(admission, admission_of((Some(5), &[4], None)), "{policy:?}");
        let admission = admit(policy, None, &members(&[6]), &siblings);
        assert_eq!(admission, admission_of((Some(6), &[], None)), "{policy:?}");
    }
}

#[test]
fn the_run_with_the_smallest_number_is_next() {
    assert_eq!(next_of_group(&members(&[9, 4, 7])).map(|member| member.number), Some(4));
    assert_eq!(next_of_group(&[]), None);
}
