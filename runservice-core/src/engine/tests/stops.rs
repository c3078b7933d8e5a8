//! Rule 8: stop and cancel, and in which phases they are legal.

use runyard_executor_core::contract::{AttemptState, FailureClass};

use super::kit::{World, executor, name, rows, task};
use crate::{
    engine::{Effect, Event, RefusalKind},
    model::{RunPhase, TaskStatus},
};

#[test]
fn stop_skips_what_has_not_begun_and_stops_what_is_scheduled() {
    let mut world = World::running([
        task("done"),
        task("assigned"),
        task("running"),
        task("ready"),
        task("approval").approval(1),
        task("waits").after("running"),
    ]);
    world.succeed("done");
    world.assign("assigned", "exec");
    world.begin("running");
    world.apply(Event::Stop);
    assert_eq!(
        world.show(),
        "running stopped | approval=skipped assigned=stopping done=success ready=skipped running=stopping waits=skipped"
    );
    world.end("running", AttemptState::Stopped);
    world.end("assigned", AttemptState::Stopped);
    assert_eq!(world.state.run.phase, RunPhase::Finished);
    assert_eq!(world.task("assigned").status, TaskStatus::Stopped);
}

#[test]
fn a_result_that_is_set_never_changes() {
    let mut world = World::running([task("a"), task("b")]);
    world.begin("b");
    world.fail("a");
    world.apply(Event::Stop);
    assert_eq!(world.show(), "running failed | a=failed b=stopping");
    world.end("b", AttemptState::Stopped);
    assert_eq!(world.show(), "finished failed | a=failed b=stopped");

    let mut world = World::running([task("a")]);
    world.begin("a");
    world.apply(Event::Stop);
    world.fail("a");
    assert_eq!(world.show(), "finished stopped | a=failed");

    let mut world = World::running([task("a")]);
    world.begin("a");
    world.apply(Event::Stop);
    world.succeed("a");
    assert_eq!(world.show(), "finished stopped | a=success");
}

#[test]
fn a_stopped_run_tries_nothing_again() {
    let mut world =
        World::running([task("a").retry(3, &[FailureClass::Exit]), task("b").retry(3, &[FailureClass::Exit])]);
    world.begin("a");
    world.fail("b");
    assert_eq!(world.show(), "running unknown | a=running b=ready");
    world.apply(Event::Stop);
    assert_eq!(world.show(), "running stopped | a=stopping b=stopped", "the attempt to come does not");
    world.fail("a");
    assert_eq!(world.show(), "finished stopped | a=failed b=stopped");
}

#[test]
fn an_assignment_taken_back_after_stop_skips_the_task() {
    let mut world = World::running([task("a")]);
    world.assign("a", "exec");
    world.apply(Event::Stop);
    world.apply(Event::Unassign { task: name("a") });
    assert_eq!(world.show(), "finished stopped | a=skipped");
}

#[test]
fn stop_is_told_again_to_an_executor_that_accepts_after_it() {
    let mut world = World::running([task("a")]);
    world.assign("a", "exec");
    let stop = Effect::StopAssignment {
        task: name("a"),
        id: world.task("a").id.clone(),
        attempt: 1,
        executor: executor("exec"),
    };
    assert_eq!(rows(&world.apply(Event::Stop)), [&stop]);
    assert_eq!(rows(&world.apply(Event::Stop)), Vec::<&Effect>::new(), "asking twice changes nothing");
    assert_eq!(rows(&world.accept("a", "exec")), [&stop]);
}

#[test]
fn a_cancelled_run_is_final_with_all_its_tasks() {
    let mut world = World::queued([task("a"), task("b").after("a"), task("c").skip()]);
    let effects = world.apply(Event::Cancel);
    assert_eq!(world.show(), "cancelled unknown | a=cancelled b=cancelled c=skipped");
    assert_eq!(rows(&effects), [&Effect::RunCancelled]);
    assert!(world.state.run.phase.is_final());
}

#[test]
fn actions_in_the_wrong_phase_are_bad_requests_that_say_what_is_legal() {
    let queued = World::queued([task("a")]);
    let running = World::running([task("a")]);
    let mut finished = World::running([task("a")]);
    finished.succeed("a");
    let mut cancelled = World::queued([task("a")]);
    cancelled.apply(Event::Cancel);
    let approve = || Event::Approve { task: name("a"), approver: Some("ann".into()) };
    let assign = || Event::Assign { task: name("a"), executor: executor("exec"), attempt: 1 };
    let table = [
        (&queued, vec![Event::Stop, approve(), assign()]),
        (&running, vec![Event::Start, Event::Cancel]),
        (&finished, vec![Event::Start, Event::Cancel, Event::Stop, approve(), assign()]),
        (&cancelled, vec![Event::Start, Event::Cancel, Event::Stop, approve(), assign()]),
    ];
    for (world, events) in table {
        for event in events {
            let refusal = world.clone().refused(event.clone());
            assert_eq!(refusal.kind(), RefusalKind::BadRequest, "{event:?}");
            let phase = world.state.run.phase.as_str();
            assert!(refusal.to_string().starts_with(&format!("run #7 is {phase}: only ")), "{refusal}");
        }
    }
    assert_eq!(
        queued.clone().refused(Event::Stop).to_string(),
        "run #7 is queued: only a running run can be stopped; a queued one can be cancelled"
    );
}

#[test]
fn a_task_that_does_not_exist_is_not_found() {
    let refusal = World::running([task("a")]).refused(Event::Approve { task: name("b"), approver: None });
    assert_eq!(refusal.kind(), RefusalKind::NotFound);
    assert_eq!(refusal.to_string(), "run #7 has no task `b`");
}
