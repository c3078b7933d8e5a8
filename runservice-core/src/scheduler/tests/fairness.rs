//! Whose turn it is.

use proptest::prelude::*;
use runyard_executor_core::contract::Arch;

use super::{executor, waiting};
use crate::{
    model::GroupPath,
    scheduler::{DefaultScheduler, ExecutorView, Placement, Round, WaitingTask, order, round},
};

fn run(waiting: Vec<WaitingTask>, executors: Vec<ExecutorView>, last: Option<&GroupPath>) -> Round {
    round(&DefaultScheduler::default(), waiting, executors, last)
}

fn names(tasks: &[WaitingTask]) -> Vec<&str> {
    tasks.iter().map(|task| task.task.as_str()).collect()
}

fn placed(round: &Round) -> Vec<&str> {
    let placed = round.placed.iter().filter(|placed| matches!(placed.placement, Placement::To(_)));
    placed.map(|placed| placed.task.task.as_str()).collect()
}

fn unplaceable(task: WaitingTask) -> WaitingTask {
    WaitingTask { arch: Some(Arch::Arm), ..task }
}

#[test]
fn groups_take_turns_and_inside_a_group_the_oldest_is_first() {
    let queue = vec![
        waiting("a", "a3", 30),
        waiting("a", "a1", 10),
        waiting("a", "a2", 20),
        waiting("b", "b2", 60),
        waiting("b", "b1", 50),
        waiting("c", "c1", 99),
    ];
    assert_eq!(names(&order(queue.clone(), None)), ["a1", "b1", "c1", "a2", "b2", "a3"]);
    let last = GroupPath::new("project", "a").unwrap();
    assert_eq!(names(&order(queue.clone(), Some(&last))), ["b1", "c1", "a1", "b2", "a2", "a3"]);
    let gone = GroupPath::new("project", "bb").unwrap();
    assert_eq!(names(&order(queue, Some(&gone))), ["c1", "a1", "b1", "a2", "b2", "a3"]);
}

#[test]
fn a_single_slot_goes_round_between_groups() {
    let mut queue: Vec<_> = (0..3).map(|n| waiting("a", &format!("a{n}"), n)).collect();
    queue.extend((0..2).map(|n| waiting("b", &format!("b{n}"), 100 + n)));
    let (mut last, mut served) = (None, Vec::new());
    while !queue.is_empty() {
        let round = run(queue.clone(), vec![executor("x", 0, 1)], last.as_ref());
        let [task] = placed(&round)[..] else { panic!("{round:?}") };
        served.push(task.to_owned());
        queue.retain(|waiting| waiting.task.as_str() != task);
        last = round.last;
    }
    assert_eq!(served, ["a0", "b0", "a1", "b1", "a2"]);
}

#[test]
fn a_task_that_cannot_be_placed_blocks_no_other_and_costs_its_group_no_turn() {
    let mut queue: Vec<_> = (0..5).map(|n| unplaceable(waiting("a", &format!("odd{n}"), n))).collect();
    queue.push(waiting("a", "a", 9));
    queue.extend((0..3).map(|n| waiting("b", &format!("b{n}"), n)));
    let round = run(queue, vec![executor("x", 0, 2)], None);
    assert_eq!(placed(&round), ["a", "b0"]);
    assert_eq!(round.placed.len(), 9, "everybody else has a reason");
}

#[test]
fn a_round_counts_what_it_has_placed() {
    let queue: Vec<_> = (0..10).map(|n| waiting("a", &format!("a{n}"), n)).collect();
    let executors = vec![executor("x", 1, 3), executor("y", 0, 2), executor("z", 0, 0)];
    assert_eq!(placed(&run(queue, executors, None)).len(), 4);
}

#[test]
fn nothing_placed_leaves_the_turn_where_it_was() {
    let last = GroupPath::new("project", "a").unwrap();
    assert_eq!(run(vec![waiting("b", "b", 1)], vec![], Some(&last)).last, Some(last));
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
        let round = run(tasks, executors, None);

        prop_assert_eq!(round.placed.len(), queue.len());
        let slots = limits.iter().sum::<u32>() as usize;
        let all: usize = (0..4).map(fitting).sum();
        prop_assert_eq!(placed(&round).len(), all.min(slots));
        let got = |group: u8| {
            let root = GroupPath::new("project", &group.to_string()).unwrap();
            let here = round.placed.iter().filter(|placed| placed.task.root == root);
            here.filter(|placed| matches!(placed.placement, Placement::To(_))).count()
        };
        for one in 0..4 {
            for other in 0..4 {
                let unserved = got(one) < fitting(one);
                prop_assert!(!unserved || got(other) <= got(one) + 1, "{} {} of {:?}", one, other, queue);
            }
        }
    }
}
