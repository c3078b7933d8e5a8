//! What holds for every graph and every sequence of events.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use proptest::prelude::*;
use runyard_executor_core::contract::{
    AttemptState, ExecutorId,
    FailureClass::{Exit, Lost},
    TaskName,
};

use super::kit::{Def, World, executor, exit, failure, name, patch, task};
use crate::{
    engine::{Change, Effect, Event, Refusal, ready, waiting},
    model::{
        Condition::{self, Failure, Skipped, Success},
        RunPhase, RunResult, RunState, Task, TaskStatus, Times,
    },
    scheduler::DefaultScheduler,
};

/// One task of a random graph: parents by distance with a set of conditions as bits, and its flags.
#[derive(Clone, Debug)]
struct Shape {
    parents: Vec<(usize, u8)>,
    approval: bool,
    ignore_failure: bool,
    skip: bool,
    retries: u32,
}

/// An event in terms of numbers: its kind, a task, an outcome.
type Act = (u8, usize, u8);

fn shapes() -> impl Strategy<Value = Vec<Shape>> {
    let weighted = prop::bool::weighted;
    let parents = prop::collection::vec((1..4_usize, 0..8_u8), 0..3);
    let one = (parents, weighted(0.2), weighted(0.2), weighted(0.1), 0..3_u32);
    let shape =
        |(parents, approval, ignore_failure, skip, retries)| Shape { parents, approval, ignore_failure, skip, retries };
    prop::collection::vec(one.prop_map(shape), 1..9)
}

fn acts() -> impl Strategy<Value = Vec<Act>> {
    prop::collection::vec((0..40_u8, 0..9_usize, 0..6_u8), 0..60)
}

fn conditions(bits: u8) -> Vec<Condition> {
    let all = [Success, Failure, Skipped].into_iter().enumerate();
    all.filter(|(bit, _)| bits & (1 << bit) != 0).map(|(_, condition)| condition).collect()
}

/// A queued run; `names` gives each index its name.
fn world(shapes: &[Shape], names: &dyn Fn(usize) -> String) -> World {
    let definition = |(index, shape): (usize, &Shape)| {
        let mut def: Def = task(&names(index)).retry(shape.retries, &[Exit, Lost]);
        for (distance, bits) in shape.parents.iter().filter(|(distance, _)| *distance <= index) {
            def = def.on(&names(index - distance), &conditions(*bits));
        }
        (def.1.needs_approval, def.1.ignore_failure, def.1.skip) = (shape.approval, shape.ignore_failure, shape.skip);
        def
    };
    World::queued(shapes.iter().enumerate().map(definition))
}

fn outcome(bits: u8) -> AttemptState {
    match bits % 6 {
        0 | 1 => AttemptState::Success,
        2 => exit(),
        3 => AttemptState::Failed(failure(Lost)),
        4 => AttemptState::Stopped,
        _ => AttemptState::Running,
    }
}

/// Mostly what is legal now, sometimes what is not.
fn event(world: &World, task: &str, (kind, _, bits): Act) -> Event {
    let now = world.state.tasks.get(&name(task)).expect("exists");
    let holder = now.assignment.as_ref().map_or_else(|| executor("e0"), |assignment| assignment.executor.clone());
    let attempt = if bits == 5 { now.attempt.saturating_sub(1) } else { now.attempt };
    let (task, by) = (name(task), if bits == 4 { executor("e1") } else { holder });
    match kind {
        0 => Event::Cancel,
        1 => Event::Stop,
        2 => Event::SetAnnotations { task, patch: patch("approvers", Some(r#"["ann"]"#)) },
        3 => Event::Approve { task, approver: Some(format!("user{bits}")) },
        4 | 5 => Event::Approve { task, approver: None },
        6 | 7 => Event::Unassign { task },
        8 | 9 => Event::ExecutorLost { task, attempt, executor: by, message: "gone".to_owned() },
        10..=12 => Event::Start,
        13..=20 => Event::Assign { task, executor: executor(&format!("e{}", bits % 2)), attempt },
        21..=26 => Event::Accept { task, attempt, executor: by },
        _ => {
            let mut report = world.next_report(task.as_str(), by.as_str(), outcome(bits));
            report.fence.attempt = attempt;
            report.sequence -= u64::from(kind == 27);
            Event::Report(report)
        }
    }
}

/// What a service would have stored beside the state, going by the effects alone.
#[derive(Default)]
struct Service {
    queue: BTreeSet<TaskName>,
    assignments: BTreeMap<TaskName, (u32, ExecutorId)>,
    statuses: BTreeMap<TaskName, TaskStatus>,
}

impl Service {
    fn follow(&mut self, effects: &[Effect]) {
        for effect in effects {
            match effect.clone() {
                Effect::Ready { task } => assert!(self.queue.insert(task), "queued twice"),
                Effect::NotReady { task } => assert!(self.queue.remove(&task), "not in the queue"),
                Effect::AssignmentAdded { task, attempt, executor, .. } => {
                    assert_eq!(self.assignments.insert(task, (attempt, executor)), None, "two attempts at a time");
                }
                Effect::AssignmentRemoved { task, attempt, executor, .. } => {
                    assert_eq!(self.assignments.remove(&task), Some((attempt, executor)));
                }
                Effect::Emit(event) => {
                    if let Change::TaskStatus { task, status, .. } = event.change {
                        self.statuses.insert(task, status);
                    }
                }
                _ => {}
            }
        }
    }

    fn check(&self, world: &World) {
        let ready: BTreeSet<_> = ready(&DefaultScheduler::default(), &world.config, &world.state).into_iter().collect();
        assert_eq!(self.queue, ready);
        for (name, task) in &world.state.tasks {
            let held = task.assignment.as_ref().map(|assignment| (task.attempt, assignment.executor.clone()));
            assert_eq!(self.assignments.get(name), held.as_ref());
            let told = self.statuses.get(name).copied();
            let born = if world.config.tasks[name].skip { TaskStatus::Skipped } else { TaskStatus::NotStarted };
            assert_eq!(told.unwrap_or(born), task.status, "the events tell the state");
        }
    }
}

fn check_state(world: &World) {
    let RunState { run, tasks } = &world.state;
    let all_done = tasks.values().all(|task| task.status.is_final() && task.assignment.is_none());
    match run.phase {
        RunPhase::Finished => assert!(all_done && run.result != RunResult::Unknown, "{}", world.show()),
        RunPhase::Running => assert!(!all_done, "{}", world.show()),
        RunPhase::Cancelled => assert!(all_done && run.result == RunResult::Unknown, "{}", world.show()),
        RunPhase::Queued | RunPhase::SetupError => assert_eq!(run.result, RunResult::Unknown),
    }
    let ready = ready(&DefaultScheduler::default(), &world.config, &world.state);
    let waiting = waiting(&DefaultScheduler::default(), &world.config, &world.state);
    for task in tasks.values() {
        let open = run.phase == RunPhase::Running && !task.status.is_final() && task.assignment.is_none();
        assert_eq!(open, ready.contains(&task.name) || waiting.contains_key(&task.name), "a wait without a reason");
        assert!(task.assignment.is_none() || !task.status.is_final());
        assert_eq!(task.status == TaskStatus::Failed, task.failure.is_some(), "a failure without a reason");
        assert!(!task.waiting_approval || (open && !task.approved), "{}", world.show());
    }
}

fn check_transition(before: &RunState, after: &RunState) {
    assert!(before.run.result == RunResult::Unknown || before.run.result == after.run.result, "a result changed");
    assert!(!before.run.phase.is_final() || before.run.phase == after.run.phase, "a final phase changed");
    for (old, new) in before.tasks.values().zip(after.tasks.values()) {
        assert!(!old.status.is_final() || old.status == new.status, "a final status changed");
        assert!(new.attempt == old.attempt || new.attempt == old.attempt + 1);
        let began = old.status == TaskStatus::Running;
        assert!(!began || !matches!(new.status, TaskStatus::NotStarted | TaskStatus::Skipped | TaskStatus::Cancelled));
    }
}

/// Applies an event if it is legal, and checks everything.
fn apply(world: &mut World, service: &mut Service, event: Event) -> Result<(), Refusal> {
    let before = world.state.clone();
    let effects = world.try_apply(event)?;
    check_transition(&before, &world.state);
    check_state(world);
    service.follow(&effects);
    service.check(world);
    let told = effects.iter().any(|effect| matches!(effect, Effect::Emit(_)));
    let unheard = |task: &Arc<Task>| Task { report_sequence: 0, ..(**task).clone() };
    let visible = |state: &RunState| (state.run.clone(), state.tasks.values().map(unheard).collect::<Vec<_>>());
    assert_eq!(told, visible(&before) != visible(&world.state), "a change and its event go together");
    Ok(())
}

/// Answers everything that can be answered, until nothing can; tasks end as `ends` says.
fn drive(world: &mut World, service: &mut Service, ends: &[u8], approves: bool) {
    let _ = apply(world, service, Event::Start);
    let mut ends = ends.iter().copied().chain(std::iter::repeat(0));
    for _ in 0..400 {
        let Some(task) = world.state.tasks.values().find(|task| {
            let ready = service.queue.contains(&task.name);
            ready || task.assignment.is_some() || (approves && task.waiting_approval)
        }) else {
            return;
        };
        let (task, attempt) = (task.clone(), task.attempt);
        let (by, id) = (executor("driver"), task.name.clone());
        let next = match &task.assignment {
            None if task.waiting_approval => Event::Approve { task: id, approver: None },
            None => Event::Assign { task: id, executor: by, attempt },
            Some(held) if !held.accepted => Event::Accept { task: id, attempt, executor: held.executor.clone() },
            Some(held) => {
                let end = ends.next().map(outcome).filter(AttemptState::is_final).unwrap_or(AttemptState::Success);
                Event::Report(world.next_report(task.name.as_str(), held.executor.as_str(), end))
            }
        };
        apply(world, service, next.clone()).unwrap_or_else(|refusal| panic!("{next:?}: {refusal}"));
    }
    panic!("does not come to an end: {}", world.show());
}

fn plain(index: usize) -> String {
    format!("t{index}")
}

fn play(shapes: &[Shape], acts: &[Act], names: &dyn Fn(usize) -> String) -> (World, Service) {
    let mut world = world(shapes, names);
    let mut service = Service::default();
    check_state(&world);
    for act in acts {
        let event = event(&world, &names(act.1 % shapes.len()), *act);
        // Refusals are part of the game; that they change nothing is what `try_apply`'s signature says.
        let _ = apply(&mut world, &mut service, event);
    }
    (world, service)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_fair_driver_brings_every_run_to_its_end(
        shapes in shapes(),
        acts in acts(),
        ends in prop::collection::vec(0..5_u8, 0..20),
    ) {
        let (mut world, mut service) = play(&shapes, &acts, &plain);
        drive(&mut world, &mut service, &ends, true);
        prop_assert!(matches!(world.state.run.phase, RunPhase::Finished | RunPhase::Cancelled), "{}", world.show());
    }

    #[test]
    fn nothing_but_the_approval_of_a_rollback_keeps_a_failed_run_alive(
        shapes in shapes(),
        ends in prop::collection::vec(0..5_u8, 0..20),
    ) {
        let mut world = world(&shapes, &plain);
        let mut service = Service::default();
        drive(&mut world, &mut service, &ends, false);
        let waits: Vec<_> = world.state.tasks.values().filter(|task| task.waiting_approval).collect();
        prop_assert_eq!(waits.is_empty(), world.state.run.phase == RunPhase::Finished, "{}", world.show());
        let rolls_back = |task: &&Arc<Task>| {
            let depends = &world.config.tasks[&task.name].depends;
            let failed = |parent: &TaskName| world.state.tasks[parent].status == TaskStatus::Failed;
            depends.iter().any(|(parent, on)| failed(parent) && on.contains(&Failure))
        };
        prop_assert!(world.state.run.result != RunResult::Failed || waits.iter().all(rolls_back), "{}", world.show());
    }

    #[test]
    fn the_names_of_tasks_and_so_their_order_never_matter(shapes in shapes(), acts in acts(), turn in 0..9_usize) {
        // Another order of the same tasks: backwards, and begun elsewhere.
        let count = shapes.len();
        let other = |index: usize| format!("t{}", (2 * count + turn - index) % count);
        let (first, _) = play(&shapes, &acts, &plain);
        let (second, _) = play(&shapes, &acts, &other);
        prop_assert_eq!(&first.state.run, &second.state.run);
        for index in 0..count {
            let (one, two) = (first.task(&plain(index)), second.task(&other(index)));
            let renamed = Task { id: one.id.clone(), name: one.name.clone(), ..two.clone() };
            prop_assert_eq!(one, &renamed);
            prop_assert_eq!(one.times, Times::default(), "the reducer sets no times");
        }
    }

    #[test]
    fn an_event_that_was_applied_may_come_again_and_changes_nothing(shapes in shapes(), acts in acts()) {
        let mut world = world(&shapes, &plain);
        world.apply(Event::Start);
        for act in acts {
            let event = event(&world, &plain(act.1 % shapes.len()), act);
            let applied = world.try_apply(event.clone()).is_ok();
            let after = world.state.clone();
            // What happens to an attempt is fenced; what users do twice is refused or is the same again.
            let _ = world.try_apply(event.clone());
            prop_assert!(!applied || world.state == after, "{:?}", event);
        }
    }
}
