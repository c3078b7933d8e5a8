//! Which rows and which news go with a change?

use runyard_executor_core::contract::{Arch, AttemptState, Container, LogEnd, StepRef, TaskId};

use super::kit::{World, changes, executor, name, rows, task};
use crate::{
    engine::{Change, Effect, Event, step},
    model::RunResult,
    scheduler::{DefaultScheduler, ExecutorView, Placement, Plan, RunView, Scheduler, WaitingReason, WaitingTask},
};

fn id(world: &World, task: &str) -> TaskId {
    world.task(task).id.clone()
}

#[test]
fn a_task_is_in_the_placement_queue_exactly_while_it_is_ready() {
    let mut world = World::queued([task("a"), task("b").after("a")]);
    let effects = world.apply(Event::Start);
    assert_eq!(rows(&effects), [&Effect::Ready { task: name("a") }, &Effect::RunStarted]);
    let added =
        Effect::AssignmentAdded { task: name("a"), id: id(&world, "a"), attempt: 1, executor: executor("exec") };
    assert_eq!(rows(&world.assign("a", "exec")), [&added, &Effect::NotReady { task: name("a") }]);
    assert_eq!(rows(&world.accept("a", "exec")), Vec::<&Effect>::new());
}

#[test]
fn the_end_of_a_task_removes_its_assignment_seals_its_logs_and_wakes_its_children() {
    let mut world = World::running([task("a"), task("b").after("a")]);
    world.begin("a");
    let effects = world.report("a", AttemptState::Success);
    let (a, id) = (name("a"), id(&world, "a"));
    let end = Some(LogEnd { bytes: 3, sha256: None });
    let expected = [
        Effect::AssignmentRemoved {
            task: a.clone(),
            id: id.clone(),
            attempt: 1,
            executor: executor("exec"),
            taken_back: false,
        },
        Effect::SealLog { task: a, id, attempt: 1, step: StepRef::Step(0), end },
        Effect::Ready { task: name("b") },
    ];
    assert_eq!(rows(&effects), expected.iter().collect::<Vec<_>>());
}

#[test]
fn the_end_of_a_run_lets_the_next_of_its_group_start() {
    let mut world = World::running([task("a")]);
    let effects = world.fail("a");
    assert!(rows(&effects).contains(&&Effect::RunFinished));
    let told = changes(&effects);
    let last = &told[told.len() - 2..];
    let result = RunResult::Failed;
    assert_eq!(last, [&Change::RunResultSet { result }, &Change::RunFinished { result }]);
}

#[test]
fn a_run_with_nothing_to_do_starts_and_finishes_in_one_step() {
    let mut world = World::queued([task("a").skip()]);
    let effects = world.apply(Event::Start);
    assert_eq!(rows(&effects), [&Effect::RunStarted, &Effect::RunFinished]);
    let result = RunResult::Success;
    let expected = [&Change::RunStarted, &Change::RunResultSet { result }, &Change::RunFinished { result }];
    assert_eq!(changes(&effects), expected);
}

#[test]
fn a_row_of_the_placement_queue_says_what_the_task_needs() {
    let mut world = World::running([task("a")]);
    let definition = world.config.tasks.get_mut(&name("a")).unwrap();
    definition.runtime.arch = Some(Arch::Arm64);
    definition.runtime.containers = vec![Container::default(), Container { privileged: true, ..Container::default() }];
    definition.labels.insert("zone".into(), "eu".into());
    let row = WaitingTask::new(&world.config, &world.state, &name("a"), 17).unwrap();
    assert_eq!((row.root.as_str(), row.position, row.attempt), ("/project/1", 17, 1));
    assert_eq!((row.arch, row.privileged), (Some(Arch::Arm64), true));
    assert_eq!(row.labels["zone"], "eu");
    assert_eq!(WaitingTask::new(&world.config, &world.state, &name("b"), 17), None);
}

#[test]
fn a_failure_is_told_with_its_reason() {
    let mut world = World::running([task("a")]);
    let effects = world.fail("a");
    let reason = changes(&effects).into_iter().find_map(|change| match change {
        Change::TaskStatus { failure, .. } => failure.clone(),
        _ => None,
    });
    assert_eq!(reason.map(|failure| failure.message), Some("it broke".to_owned()));
}

#[test]
fn an_event_reads_back_from_json_with_its_run_beside_its_change() {
    let mut world = World::running([task("a")]);
    let effects = world.assign("a", "exec");
    let Some(Effect::Emit(event)) = effects.last() else { panic!("{effects:?}") };
    let json = serde_json::to_string(event).unwrap();
    assert_eq!(
        json,
        r#"{"run":"run-7","number":7,"group":"/project/1/branch/main","type":"task_assigned","task":"a","id":"task-1","attempt":1,"executor":"exec","accepted":false,"stop":false}"#
    );
    assert_eq!(serde_json::from_str::<crate::engine::RunEvent>(&json).unwrap(), *event);
}

#[test]
fn what_changes_nothing_has_no_effect() {
    let mut world = World::running([task("a").approval(1)]);
    world.apply(Event::SetAnnotations { task: name("a"), patch: super::kit::patch("x", None) });
    assert_eq!(world.apply(Event::SetAnnotations { task: name("a"), patch: Default::default() }), []);
}

#[test]
fn a_scheduler_with_other_rules_is_heard_when_it_is_asked_again() {
    #[derive(Debug)]
    struct Frozen;
    impl Scheduler for Frozen {
        fn plan(&self, _: &RunView<'_>) -> Plan {
            Plan::new()
        }
        fn place(&self, _: &WaitingTask, _: &[ExecutorView]) -> Placement {
            Placement::Wait(WaitingReason::NoExecutor)
        }
    }

    let world = World::running([task("a")]);
    assert!(world.task("a").ready);
    let frozen = step(&Frozen, &world.config, &world.state, &Event::Reconsider).expect("always legal");
    assert_eq!(frozen.effects, [Effect::NotReady { task: name("a") }]);
    let thawed = step(&DefaultScheduler::default(), &world.config, &frozen.state, &Event::Reconsider).expect("legal");
    assert_eq!(thawed.effects, [Effect::Ready { task: name("a") }]);
    assert_eq!(thawed.state, world.state);
}
