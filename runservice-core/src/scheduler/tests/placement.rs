//! Where a task goes, and why it goes nowhere.

use proptest::prelude::*;
use runyard_executor_core::contract::Arch;

use super::{executor, labels, waiting};
use crate::scheduler::{DefaultScheduler, ExecutorView, Placement, Scheduler, WaitingReason, WaitingTask};

fn place(task: &WaitingTask, executors: &[ExecutorView]) -> Result<String, WaitingReason> {
    match DefaultScheduler::default().place(task, executors) {
        Placement::To(id) => Ok(id.to_string()),
        Placement::Wait(reason) => Err(reason),
    }
}

#[test]
fn a_limit_of_n_means_n_tasks_and_0_means_none() {
    let task = waiting("1", "a", 1);
    let table = [(0, 0, false), (0, 1, true), (1, 1, false), (2, 3, true), (3, 3, false), (4, 3, false)];
    for (active, limit, fits) in table {
        assert_eq!(place(&task, &[executor("x", active, limit)]).is_ok(), fits, "{active} of {limit}");
    }
    assert_eq!(
        place(&task, &[executor("x", 0, 0)]),
        Err(WaitingReason::AllDraining { executors: vec!["X".to_owned()] })
    );
    assert_eq!(place(&task, &[executor("x", 2, 2)]), Err(WaitingReason::AllFull { executors: 1 }));
}

#[test]
fn an_executor_that_is_not_ready_gets_nothing_and_says_why() {
    let task = waiting("1", "a", 1);
    let mut one = executor("x", 0, 4);
    one.not_ready = Some("its disk is full".to_owned());
    let expected = WaitingReason::AllNotReady { executors: labels(&[("X", "its disk is full")]) };
    assert_eq!(place(&task, &[one.clone()]), Err(expected));
    assert_eq!(place(&task, &[one, executor("y", 3, 4)]).as_deref(), Ok("y"));
}

/// Id, active tasks, limit.
type Executors = &'static [(&'static str, u32, u32)];

#[test]
fn the_executor_with_the_largest_free_share_takes_the_task() {
    let task = waiting("1", "a", 1);
    let table: [(Executors, &str); 6] = [
        (&[("a", 1, 4), ("b", 0, 4)], "b"),
        (&[("a", 3, 4), ("b", 10, 16)], "b"),
        (&[("a", 1, 4), ("b", 5, 16)], "a"),
        (&[("a", 0, 2), ("b", 0, 8)], "b"),
        (&[("b", 0, 4), ("a", 0, 4)], "a"),
        (&[("a", 4, 4), ("b", 15, 16)], "b"),
    ];
    for (executors, expected) in table {
        let executors: Vec<_> = executors.iter().map(|(id, active, limit)| executor(id, *active, *limit)).collect();
        assert_eq!(place(&task, &executors).as_deref(), Ok(expected), "{executors:?}");
    }
}

#[test]
fn load_spreads_instead_of_filling_the_first() {
    let mut executors = vec![executor("a", 0, 4), executor("b", 0, 4), executor("c", 0, 4)];
    for _ in 0..6 {
        let id = place(&waiting("1", "a", 1), &executors).unwrap();
        executors.iter_mut().find(|executor| executor.id.as_str() == id).unwrap().active += 1;
    }
    assert_eq!(executors.iter().map(|executor| executor.active).collect::<Vec<_>>(), [2, 2, 2]);
}

#[test]
fn an_arch_is_matched_against_the_whole_list() {
    let mut both = executor("x", 0, 1);
    both.archs = vec![Arch::Amd64, Arch::Arm64];
    for (arch, fits) in [(None, true), (Some(Arch::Arm64), true), (Some(Arch::Amd64), true), (Some(Arch::Arm), false)] {
        let task = WaitingTask { arch, ..waiting("1", "a", 1) };
        assert_eq!(place(&task, std::slice::from_ref(&both)).is_ok(), fits, "{arch:?}");
    }
}

#[test]
fn the_reason_names_what_only_somebody_can_change_before_what_waiting_changes() {
    let task = WaitingTask {
        arch: Some(Arch::Arm64),
        privileged: true,
        labels: labels(&[("zone", "eu")]),
        ..waiting("1", "a", 1)
    };
    let mut one = executor("x", 1, 0);
    one.alive = false;
    assert_eq!(place(&task, &[]), Err(WaitingReason::NoExecutor));
    assert_eq!(place(&task, &[one.clone()]), Err(WaitingReason::NoExecutorForArch { arch: Arch::Arm64 }));
    one.archs.push(Arch::Arm64);
    assert_eq!(place(&task, &[one.clone()]), Err(WaitingReason::NoPrivileged { arch: Some(Arch::Arm64) }));
    one.allow_privileged_containers = true;
    one.labels = labels(&[("zone", "us")]);
    assert_eq!(place(&task, &[one.clone()]), Err(WaitingReason::NoLabels { labels: task.labels.clone() }));
    one.labels = labels(&[("zone", "eu"), ("disk", "fast")]);
    assert_eq!(place(&task, &[one.clone()]), Err(WaitingReason::AllDraining { executors: vec!["X".to_owned()] }));
    one.task_limit = 1;
    assert_eq!(place(&task, &[one.clone()]), Err(WaitingReason::AllSilent { executors: vec!["X".to_owned()] }));
    one.alive = true;
    assert_eq!(place(&task, &[one.clone()]), Err(WaitingReason::AllFull { executors: 1 }));
    one.active = 0;
    assert_eq!(place(&task, &[one]), Ok("x".to_owned()));
}

#[test]
fn privileged_executors_take_unprivileged_tasks_too() {
    let mut privileged = executor("x", 0, 1);
    privileged.allow_privileged_containers = true;
    assert!(place(&waiting("1", "a", 1), &[privileged]).is_ok());
}

fn any_executors() -> impl Strategy<Value = Vec<ExecutorView>> {
    let one = (any::<bool>(), 0..3_usize, any::<bool>(), any::<bool>(), 0..4_u32, 0..5_u32);
    prop::collection::vec(one, 0..6).prop_map(|executors| {
        let build = |(index, one): (usize, (bool, usize, bool, bool, u32, u32))| {
            let (alive, arch, privileged, labelled, limit, active) = one;
            let archs = [vec![Arch::Amd64], vec![Arch::Arm64], vec![Arch::Amd64, Arch::Arm64]];
            let mut view = executor(&format!("x{index}"), active, limit);
            (view.alive, view.archs, view.allow_privileged_containers) = (alive, archs[arch].clone(), privileged);
            view.labels = if labelled { labels(&[("zone", "eu")]) } else { labels(&[]) };
            view
        };
        executors.into_iter().enumerate().map(build).collect()
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 256, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_task_goes_where_it_fits_if_it_fits_anywhere_whatever_the_order(
        executors in any_executors(),
        arch in prop::sample::select(vec![None, Some(Arch::Amd64), Some(Arch::Arm64)]),
        privileged: bool,
        labelled: bool,
    ) {
        let wanted = if labelled { labels(&[("zone", "eu")]) } else { labels(&[]) };
        let task = WaitingTask { arch, privileged, labels: wanted, ..waiting("1", "a", 1) };
        let fits = |one: &ExecutorView| {
            one.alive
                && arch.is_none_or(|arch| one.archs.contains(&arch))
                && (one.allow_privileged_containers || !privileged)
                && (!one.labels.is_empty() || !labelled)
                && one.active < one.task_limit
        };
        let placed = place(&task, &executors);
        match &placed {
            Ok(id) => prop_assert!(executors.iter().any(|one| one.id.as_str() == id && fits(one))),
            Err(_) => prop_assert!(!executors.iter().any(fits)),
        }
        let backwards: Vec<_> = executors.into_iter().rev().collect();
        prop_assert_eq!(place(&task, &backwards).ok(), placed.ok());
    }
}
