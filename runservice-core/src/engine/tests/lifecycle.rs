//! Birth, times and what does not fit together.

use std::time::{Duration, SystemTime};

use runyard_executor_core::contract::{AttemptState, FailureClass::Exit};

use super::kit::{World, changes, config, identity, ids, name, task};
use crate::{
    engine::{Change, Event, RefusalKind, create, stamp, step, waiting},
    model::{ConcurrencyPolicy, RunPhase, Times},
    scheduler::{
        Decision, DefaultScheduler, ExecutorView, Placement, Plan, RunView, Scheduler, WaitingReason, WaitingTask,
    },
};

#[test]
fn setup_errors_make_a_final_run_without_tasks() {
    let mut broken = config([task("a")]);
    broken.setup_errors.push("no such image".into());
    let cyclic = config([task("a").after("b"), task("b").after("a")]);
    let dangling = config([task("a").after("nobody")]);
    for config in [broken, cyclic, dangling] {
        let mut asked = 0;
        let mut new_id = || {
            asked += 1;
            ids("x")()
        };
        let created = create(&config, identity(1), &mut new_id);
        assert_eq!(created.state.run.phase, RunPhase::SetupError);
        assert!(created.state.tasks.is_empty());
        assert_eq!(created.state.run.setup_errors.len(), 1);
        assert_eq!(asked, 0);
        for event in [Event::Start, Event::Cancel, Event::Stop] {
            let refusal = step(&DefaultScheduler::default(), &config, &created.state, &event).unwrap_err();
            assert_eq!(refusal.kind(), RefusalKind::BadRequest);
            assert!(refusal.to_string().starts_with("run #1 is setuperror: only a "), "{refusal}");
        }
    }
}

#[test]
fn a_new_run_is_told_with_what_is_skipped_already() {
    let mut config = config([task("a").skip(), task("b")]);
    config.concurrency = ConcurrencyPolicy::Parallel;
    config.annotations.insert("commit".into(), "abc".into());
    let created = create(&config, identity(3), &mut ids("x"));
    assert!(created.state.run.parallel);
    assert_eq!(created.state.run.annotations["commit"], "abc");
    let told = changes(&created.effects);
    assert!(matches!(told[0], Change::RunCreated { phase: RunPhase::Queued, .. }), "{told:?}");
    assert!(matches!(told[1], Change::TaskStatus { task, .. } if *task == name("a")), "{told:?}");
    assert_eq!(told.len(), 2);
}

#[test]
fn times_are_set_once_and_only_for_what_happened() {
    let at = |seconds| SystemTime::UNIX_EPOCH + Duration::from_secs(seconds);
    let times = |created: Option<u64>, started: Option<u64>, finished: Option<u64>| Times {
        created: created.map(at),
        started: started.map(at),
        finished: finished.map(at),
    };
    let mut world = World::queued([task("a").retry(1, &[Exit]), task("no").skip(), task("bad").after("a")]);
    stamp(&mut world.state, at(1));
    assert_eq!(world.state.run.times, times(Some(1), None, None));
    assert_eq!(world.task("no").times, times(None, None, Some(1)));
    world.apply(Event::Start);
    stamp(&mut world.state, at(2));
    world.begin("a");
    stamp(&mut world.state, at(3));
    assert_eq!(world.task("a").times, times(None, Some(3), None));
    world.fail("a");
    stamp(&mut world.state, at(4));
    assert_eq!(world.task("a").times, times(None, Some(3), None));
    assert_eq!(world.task("a").steps[0].times, Times::default());
    assert_eq!(world.task("a").earlier[0].steps[0].times, times(None, Some(3), Some(4)));
    world.fail("a");
    stamp(&mut world.state, at(5));
    stamp(&mut world.state, at(6));
    assert_eq!(world.task("a").times, times(None, Some(3), Some(5)));
    assert_eq!(world.task("bad").times, times(None, None, Some(5)), "what never began has no start");
    assert_eq!(world.state.run.times, times(Some(1), Some(2), Some(5)));
}

#[test]
fn the_config_of_another_run_is_refused() {
    let world = World::queued([task("a")]);
    let other = config([task("b")]);
    let refusal = step(&DefaultScheduler::default(), &other, &world.state, &Event::Start).unwrap_err();
    assert_eq!(refusal.kind(), RefusalKind::Internal);
}

#[test]
fn every_wait_has_its_reason() {
    let mut world = World::running([task("a"), task("b").after("a"), task("c").approval(2), task("d").after("c")]);
    world.approve_as("c", "ann");
    let reasons = waiting(&DefaultScheduler::default(), &world.config, &world.state);
    let said: Vec<_> = reasons.iter().map(|(task, reason)| format!("{task}: {reason}")).collect();
    assert_eq!(said, ["b: waiting for `a`", "c: waiting for approval: 1 of 2", "d: waiting for `c`"]);
    assert!(waiting(&DefaultScheduler::default(), &world.config, &World::queued([task("a")]).state).is_empty());
}

/// Says something else each time.
#[derive(Debug, Default)]
struct Fickle(std::sync::atomic::AtomicUsize);

impl Scheduler for Fickle {
    fn plan(&self, run: &RunView<'_>) -> Plan {
        let turn = self.0.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        let approval = WaitingReason::WaitingForApproval { have: 0, need: 1 };
        let say = [Decision::Start, Decision::Wait(approval), Decision::Approve, Decision::Skip, Decision::Cancel];
        // Tasks of its own invention, too, and those that it was not asked about.
        let all = run.state.tasks.keys().cloned().chain([name("ghost")]);
        all.enumerate().map(|(index, task)| (task, say[(turn + index) % say.len()].clone())).collect()
    }

    fn place(&self, _: &WaitingTask, _: &[ExecutorView]) -> Placement {
        Placement::Wait(WaitingReason::NoExecutor)
    }
}

#[test]
fn no_scheduler_can_keep_a_step_from_ending_or_change_what_is_final() {
    let mut world = World::running([task("done"), task("running"), task("a").approval(1), task("b").after("a")]);
    world.succeed("done");
    world.begin("running");
    let report = Event::Report(world.next_report("running", "exec", AttemptState::Running));
    let stepped = step(&Fickle::default(), &world.config, &world.state, &report).unwrap();
    assert_eq!(stepped.state.tasks[&name("done")], world.state.tasks[&name("done")]);
    assert_eq!(stepped.state.tasks[&name("running")].status.as_str(), "running");
}
