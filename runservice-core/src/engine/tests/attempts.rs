//! Assignments, reports, retries and lost executors.

use runyard_executor_core::contract::{
    AttemptState,
    FailureClass::{Exit, Infrastructure, Lost},
    StepRef, StepStatus,
};

use super::kit::{World, changes, executor, exit, failure, name, rows, task};
use crate::{
    engine::{Change, Effect, Event, Refusal, RefusalKind},
    model::TaskStatus,
};

fn assign(task: &str, attempt: u32) -> Event {
    Event::Assign { task: name(task), executor: executor("exec"), attempt }
}

#[test]
fn only_a_ready_task_is_assigned_and_only_once() {
    let mut world = World::running([task("a"), task("b").after("a"), task("c").approval(1)]);
    assert_eq!(world.refused(assign("b", 1)).to_string(), "task `b` of run #7 is not ready: waiting for `a`");
    let refusal = world.refused(assign("c", 1)).to_string();
    assert_eq!(refusal, "task `c` of run #7 is not ready: waiting for approval: 0 of 1");
    assert_eq!(world.refused(assign("a", 2)).kind(), RefusalKind::Stale);
    world.apply(assign("a", 1));
    assert!(matches!(world.refused(assign("a", 1)), Refusal::NotReady { reason: None, .. }));
    world.succeed("a");
    assert!(matches!(world.refused(assign("a", 1)), Refusal::NotReady { reason: None, .. }));
}

#[test]
fn an_accepted_assignment_is_not_started_until_reported() {
    let mut world = World::running([task("a")]);
    world.assign("a", "exec");
    world.accept("a", "exec");
    assert_eq!(world.task("a").status, TaskStatus::NotStarted);
    assert!(world.accept("a", "exec").is_empty(), "accepting again changes nothing");
    world.report("a", AttemptState::Running);
    assert_eq!(world.task("a").status, TaskStatus::Running);
    assert_eq!(world.task("a").setup.status, StepStatus::Success);
    assert_eq!(world.task("a").steps[0].status, StepStatus::Running);
}

#[test]
fn a_report_may_jump_to_any_end() {
    for (end, status) in [(AttemptState::Success, TaskStatus::Success), (exit(), TaskStatus::Failed)] {
        let mut world = World::running([task("a")]);
        world.assign("a", "exec");
        world.accept("a", "exec");
        world.report("a", end);
        assert_eq!(world.task("a").status, status);
        assert_eq!(world.task("a").assignment, None);
        assert_eq!(world.task("a").executor, Some(executor("exec")));
    }
}

#[test]
fn repeated_and_older_reports_change_nothing() {
    let mut world = World::running([task("a")]);
    world.begin("a");
    let second = world.next_report("a", "exec", AttemptState::Running);
    world.apply(Event::Report(second.clone()));
    let before = world.state.clone();
    assert_eq!(world.apply(Event::Report(second.clone())), []);
    for sequence in [0, 1, second.sequence] {
        let mut older = second.clone();
        (older.sequence, older.state) = (sequence, exit());
        assert_eq!(world.apply(Event::Report(older)), [], "sequence {sequence}");
    }
    assert_eq!(world.state, before);
}

#[test]
fn the_final_report_may_be_repeated_but_not_followed() {
    let mut world = World::running([task("a"), task("b")]);
    world.begin("a");
    let last = world.next_report("a", "exec", AttemptState::Success);
    world.apply(Event::Report(last.clone()));
    let before = world.state.clone();
    assert_eq!(world.apply(Event::Report(last.clone())), [], "the answer to the first may have been lost");
    let mut later = last.clone();
    (later.sequence, later.state) = (last.sequence + 1, exit());
    assert_eq!(world.refused(Event::Report(later)).kind(), RefusalKind::Stale);
    let mut running = last;
    running.state = AttemptState::Running;
    assert_eq!(world.refused(Event::Report(running)).kind(), RefusalKind::Stale);
    assert_eq!(world.state, before);
}

#[test]
fn reports_and_acceptances_of_others_are_stale() {
    let mut world = World::running([task("a").retry(1, &[Exit]), task("free")]);
    let unassigned = world.next_report("free", "exec", AttemptState::Running);
    world.begin("a");
    let first_attempt = world.next_report("a", "exec", AttemptState::Success);
    let foreign = world.next_report("a", "other", AttemptState::Success);
    let foreign_accept = Event::Accept { task: name("a"), attempt: 1, executor: executor("other") };
    for event in [Event::Report(unassigned), Event::Report(foreign), foreign_accept] {
        assert_eq!(world.refused(event).kind(), RefusalKind::Stale);
    }
    world.fail("a");
    world.begin("a");
    let late_accept = Event::Accept { task: name("a"), attempt: 1, executor: executor("exec") };
    let late_loss =
        Event::ExecutorLost { task: name("a"), attempt: 1, executor: executor("exec"), message: String::new() };
    for event in [Event::Report(first_attempt), late_accept, late_loss] {
        let refusal = world.refused(event);
        assert!(refusal.to_string().starts_with("attempt 1 of task `task-1` is not expected"), "{refusal}");
    }
}

#[test]
fn a_report_of_the_first_executor_is_stale_once_the_task_went_to_a_second() {
    let mut world = World::running([task("a")]);
    world.assign("a", "first");
    let late = world.next_report("a", "first", AttemptState::Running);
    world.apply(Event::Unassign { task: name("a") });
    world.assign("a", "second");
    assert_eq!(world.refused(Event::Report(late)).kind(), RefusalKind::Stale);
}

#[test]
fn whoever_reports_has_accepted() {
    let mut world = World::running([task("a")]);
    world.assign("a", "exec");
    world.report("a", AttemptState::Running);
    assert!(matches!(world.refused(Event::Unassign { task: name("a") }), Refusal::Accepted { .. }));
}

#[test]
fn an_assignment_never_accepted_is_placed_again_and_its_executor_told() {
    for lost in [true, false] {
        let mut world = World::running([task("a")]);
        world.assign("a", "exec");
        let effects = if lost { world.lose("a", "exec") } else { world.apply(Event::Unassign { task: name("a") }) };
        assert_eq!(world.show(), "running unknown | a=ready");
        assert_eq!(world.task("a").attempt, 1, "nothing was attempted");
        let (id, attempt) = (world.task("a").id.clone(), 1);
        let removed =
            Effect::AssignmentRemoved { task: name("a"), id, attempt, executor: executor("exec"), taken_back: true };
        assert_eq!(rows(&effects), [&removed, &Effect::Ready { task: name("a") }]);
    }
    assert_eq!(World::running([task("a")]).refused(Event::Unassign { task: name("a") }).kind(), RefusalKind::Stale);
}

#[test]
fn a_lost_executor_fails_what_it_accepted_and_its_logs_are_sealed_as_they_are() {
    let mut world = World::running([task("a")]);
    world.begin("a");
    let effects = world.lose("a", "exec");
    assert_eq!(world.show(), "finished failed | a=failed");
    let lost = world.task("a").failure.clone().unwrap();
    assert_eq!((lost.class, lost.message.as_str()), (Lost, "silent for 11 min"));
    assert_eq!(world.task("a").steps[0].status, StepStatus::Failed, "nothing of it is executing");
    let (id, step) = (world.task("a").id.clone(), StepRef::Step(0));
    assert!(effects.contains(&Effect::SealLog { task: name("a"), id, attempt: 1, step, end: None }), "{effects:?}");
    let seals = effects.iter().filter(|effect| matches!(effect, Effect::SealLog { .. })).count();
    assert_eq!(seals, 1, "the setup's log had ended before");
}

#[test]
fn an_executor_lost_before_its_first_report_may_have_written_any_log() {
    let mut world = World::running([task("a")]);
    world.assign("a", "exec");
    world.accept("a", "exec");
    let effects = world.lose("a", "exec");
    let seals = effects.iter().filter(|effect| matches!(effect, Effect::SealLog { end: None, .. })).count();
    assert_eq!(seals, 2);
}

#[test]
fn a_failure_is_tried_again_as_often_as_its_class_allows() {
    let table = [
        // retries, on, failure, attempts that are made
        (0, vec![Exit], Exit, 1),
        (1, vec![Exit], Exit, 2),
        (3, vec![Exit, Lost], Exit, 4),
        (3, vec![Lost, Infrastructure], Exit, 1),
        (3, vec![], Exit, 1),
    ];
    for (max, on, class, expected) in table {
        let mut world = World::running([task("a").retry(max, &on)]);
        let mut attempts = 0;
        while world.show() == "running unknown | a=ready" {
            attempts += 1;
            assert_eq!(world.task("a").attempt, attempts);
            world.end("a", AttemptState::Failed(failure(class)));
        }
        assert_eq!(attempts, expected, "max {max} on {on:?}");
        assert_eq!(world.show(), "finished failed | a=failed");
        let earlier: Vec<_> = world.task("a").earlier.iter().map(|earlier| earlier.attempt).collect();
        assert_eq!(earlier, (1..expected).collect::<Vec<_>>());
    }
}

#[test]
fn a_failed_attempt_with_tries_left_keeps_the_task_running_and_ready_to_be_placed_again() {
    let mut world = World::running([task("a").retry(1, &[Lost]), task("b").after("a")]);
    world.begin("a");
    let effects = world.lose("a", "exec");
    assert_eq!(world.show(), "running unknown | a=ready b=waits");
    let retried = world.task("a").clone();
    assert_eq!((retried.status, retried.attempt, retried.report_sequence), (TaskStatus::Running, 2, 0));
    assert_eq!((retried.assignment, retried.failure, retried.executor), (None, None, None));
    assert_eq!(retried.steps[0].status, StepStatus::NotStarted);
    assert_eq!(retried.earlier[0].failure.class, Lost);
    assert_eq!(retried.earlier[0].executor, Some(executor("exec")));
    assert_eq!(retried.earlier[0].steps[0].status, StepStatus::Failed);
    assert!(rows(&effects).contains(&&Effect::Ready { task: name("a") }));
    let told =
        |change: &&Change| matches!(change, Change::TaskRetried { attempt: 2, failure, .. } if failure.class == Lost);
    assert!(changes(&effects).iter().any(told));
    world.succeed("a");
    assert_eq!(world.show(), "running unknown | a=success b=ready");
}

#[test]
fn a_retry_that_has_begun_goes_on_in_a_failed_run() {
    let mut world = World::running([task("a").retry(1, &[Exit]), task("bad")]);
    world.fail("a");
    world.fail("bad");
    assert_eq!(world.show(), "running failed | a=ready bad=failed");
    world.succeed("a");
    assert_eq!(world.show(), "finished failed | a=success bad=failed");
}

#[test]
fn stopped_without_a_request_is_a_failure_that_says_so() {
    let mut world = World::running([task("a")]);
    world.end("a", AttemptState::Stopped);
    assert_eq!(world.show(), "finished failed | a=failed");
    let failure = world.task("a").failure.clone().unwrap();
    assert_eq!(failure.class, Infrastructure);
    assert!(failure.message.contains("nobody had asked"), "{}", failure.message);
}

#[test]
fn a_step_never_goes_back_and_a_report_of_another_length_is_taken_as_far_as_it_goes() {
    let mut world = World::running([task("a").saving()]);
    world.begin("a");
    let mut report = world.next_report("a", "exec", AttemptState::Running);
    report.steps[0].status = StepStatus::Success;
    world.apply(Event::Report(report));
    let mut backwards = world.next_report("a", "exec", AttemptState::Running);
    backwards.steps.truncate(1);
    world.apply(Event::Report(backwards));
    assert_eq!(world.task("a").steps[0].status, StepStatus::Success);
    let mut longer = world.next_report("a", "exec", AttemptState::Success);
    longer.steps.push(longer.steps[0].clone());
    world.apply(Event::Report(longer));
    assert_eq!(world.show(), "finished success | a=success");
    assert_eq!(world.task("a").steps.len(), 2);
}
