//! Whose turn it is.

use std::sync::atomic::{AtomicUsize, Ordering};

use proptest::prelude::*;
use runyard_executor_core::contract::Arch;

use super::{executor, waiting};
use crate::{
    model::GroupPath,
    scheduler::{
        DefaultScheduler, ExecutorView, Placed, Placement, PlacementClass, PlacementQueue, Plan, RunView, Scheduler,
        WaitingTask,
    },
};

fn queue(waiting: &[WaitingTask]) -> PlacementQueue {
    let mut queue = PlacementQueue::new();
    for task in waiting {
        queue.insert(&DefaultScheduler::default(), task.clone());
    }
    queue
}

fn run(queue: &mut PlacementQueue, mut executors: Vec<ExecutorView>) -> Vec<Placed> {
    queue.round(&DefaultScheduler::default(), &mut executors)
}

fn names(placed: &[Placed]) -> Vec<&str> {
    placed.iter().map(|placed| placed.task.task.as_str()).collect()
}

fn unplaceable(task: WaitingTask) -> WaitingTask {
    WaitingTask { arch: Some(Arch::Arm), ..task }
}

#[test]
fn groups_take_turns_and_inside_a_group_the_oldest_is_first() {
    let waiting = vec![
        waiting("a", "a3", 30),
        waiting("a", "a1", 10),
        waiting("a", "a2", 20),
        waiting("b", "b2", 60),
        waiting("b", "b1", 50),
        waiting("c", "c1", 99),
    ];
    let mut queue = self::queue(&waiting);
    let all = || vec![executor("x", 0, 6)];
    assert_eq!(names(&run(&mut queue, all())), ["a1", "b1", "c1", "a2", "b2", "a3"]);
    // The last place was that of `a`.
    assert_eq!(names(&run(&mut queue, all())), ["b1", "c1", "a1", "b2", "a2", "a3"]);
    // The group that had the last place is gone.
    run(&mut queue, vec![executor("x", 0, 1)]);
    waiting.iter().filter(|task| task.task.as_str().starts_with('b')).for_each(|task| {
        queue.remove(&DefaultScheduler::default(), task);
    });
    assert_eq!(names(&run(&mut queue, all())), ["c1", "a1", "a2", "a3"]);
}

#[test]
fn a_single_slot_goes_round_between_groups() {
    let mut waiting: Vec<_> = (0..3).map(|n| super::waiting("a", &format!("a{n}"), n)).collect();
    waiting.extend((0..2).map(|n| super::waiting("b", &format!("b{n}"), 100 + n)));
    let mut queue = self::queue(&waiting);
    let mut served = Vec::new();
    loop {
        let placed = run(&mut queue, vec![executor("x", 0, 1)]);
        let [placed] = &placed[..] else { break };
        served.push(placed.task.task.as_str().to_owned());
        queue.remove(&DefaultScheduler::default(), &placed.task);
    }
    assert_eq!(served, ["a0", "b0", "a1", "b1", "a2"]);
}

#[test]
fn a_task_that_cannot_be_placed_blocks_no_other_and_costs_its_group_no_turn() {
    let mut waiting: Vec<_> = (0..5).map(|n| unplaceable(super::waiting("a", &format!("odd{n}"), n))).collect();
    waiting.push(super::waiting("a", "a", 9));
    waiting.extend((0..3).map(|n| super::waiting("b", &format!("b{n}"), n)));
    assert_eq!(names(&run(&mut queue(&waiting), vec![executor("x", 0, 2)])), ["a", "b0"]);
}

#[test]
fn a_round_counts_what_it_has_placed() {
    let waiting: Vec<_> = (0..10).map(|n| waiting("a", &format!("a{n}"), n)).collect();
    let executors = vec![executor("x", 1, 3), executor("y", 0, 2), executor("z", 0, 0)];
    assert_eq!(run(&mut queue(&waiting), executors).len(), 4);
}

/// Counts how often it is asked.
#[derive(Debug, Default)]
struct Counting(DefaultScheduler, AtomicUsize);

impl Scheduler for Counting {
    fn plan(&self, run: &RunView<'_>) -> Plan {
        self.0.plan(run)
    }

    fn place(&self, task: &WaitingTask, executors: &[ExecutorView]) -> Placement {
        self.1.fetch_add(1, Ordering::Relaxed);
        self.0.place(task, executors)
    }

    fn class(&self, task: &WaitingTask) -> PlacementClass {
        self.0.class(task)
    }
}

#[test]
fn a_round_asks_for_what_it_places_and_once_for_each_class_that_waits() {
    let scheduler = Counting::default();
    let mut queue = PlacementQueue::new();
    for n in 0..10_000 {
        let task = waiting(&(n % 100).to_string(), &format!("t{n}"), n);
        queue.insert(&scheduler, if n % 2 == 0 { unplaceable(task) } else { task });
    }
    let placed = queue.round(&scheduler, &mut [executor("x", 0, 7)]);
    assert_eq!((placed.len(), scheduler.1.load(Ordering::Relaxed)), (7, 9));
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 128, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn groups_get_places_evenly_and_no_slot_stays_empty(
        queue in prop::collection::vec((0..4_u8, 0..40_u64, prop::bool::weighted(0.3)), 0..30),
        limits in prop::collection::vec(0..5_u32, 0..4),
    ) {
        let tasks: Vec<WaitingTask> = queue.iter().enumerate().map(|(index, (group, position, odd))| {
            let task = waiting(&group.to_string(), &format!("t{index}"), *position);
            if *odd { unplaceable(task) } else { task }
        }).collect();
        let fitting = |group: u8| queue.iter().filter(|(of, _, odd)| *of == group && !odd).count();
        let executors: Vec<_> =
            limits.iter().enumerate().map(|(index, limit)| executor(&format!("x{index}"), 0, *limit)).collect();
        let placed = run(&mut self::queue(&tasks), executors);

        let slots = limits.iter().sum::<u32>() as usize;
        let all: usize = (0..4).map(fitting).sum();
        prop_assert_eq!(placed.len(), all.min(slots));
        let got = |group: u8| {
            let root = GroupPath::new("project", &group.to_string()).unwrap();
            placed.iter().filter(|placed| placed.task.root == root).count()
        };
        for one in 0..4 {
            for other in 0..4 {
                let unserved = got(one) < fitting(one);
                prop_assert!(!unserved || got(other) <= got(one) + 1, "{} {} of {:?}", one, other, queue);
            }
        }
    }
}
