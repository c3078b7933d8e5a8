//! Rules 1 to 7: results, failed runs, conditions, skips, approval, ignored failures, the end. (Rule 8: `stops`.)

use runyard_executor_core::contract::AttemptState;

use super::kit::{World, exit, task};
use crate::model::{
    Condition::{Failure, Skipped, Success},
    RunResult,
};

// Rule 1: the result

#[test]
fn a_run_whose_tasks_succeed_is_a_success() {
    let mut world = World::running([task("a"), task("b").after("a")]);
    world.succeed("a");
    assert_eq!(world.show(), "running unknown | a=success b=ready");
    world.succeed("b");
    assert_eq!(world.show(), "finished success | a=success b=success");
}

#[test]
fn the_first_failure_fails_the_run_before_it_has_ended() {
    let mut world = World::running([task("a"), task("b")]);
    world.begin("b");
    world.fail("a");
    assert_eq!(world.show(), "running failed | a=failed b=running");
    world.succeed("b");
    assert_eq!(world.show(), "finished failed | a=failed b=success");
}

#[test]
fn a_run_whose_tasks_are_all_skipped_is_a_success() {
    let world = World::running([task("a").skip(), task("b").after("a")]);
    assert_eq!(world.show(), "finished success | a=skipped b=skipped");
}

#[test]
fn a_run_without_tasks_is_a_success_as_soon_as_it_starts() {
    assert_eq!(World::running([]).show(), "finished success | ");
}

// Rule 2: a failed run

#[test]
fn a_failed_run_cancels_roots_that_are_not_scheduled_and_skips_what_follows_them() {
    let mut world = World::running([
        task("bad"),
        task("assigned"),
        task("root"),
        task("child").after("root"),
        task("leaf").after("child"),
    ]);
    world.assign("assigned", "exec");
    world.fail("bad");
    assert_eq!(world.show(), "running failed | assigned=assigned bad=failed child=skipped leaf=skipped root=cancelled");
    world.succeed("assigned");
    assert_eq!(world.state.run.result, RunResult::Failed);
    assert_eq!(world.state.run.phase.as_str(), "finished");
}

#[test]
fn an_assignment_taken_back_from_a_root_of_a_failed_run_cancels_it() {
    let mut world = World::running([task("bad"), task("root")]);
    world.assign("root", "exec");
    world.fail("bad");
    world.lose("root", "exec");
    assert_eq!(world.show(), "finished failed | bad=failed root=cancelled");
}

#[test]
fn in_a_failed_run_branches_that_have_begun_go_on_where_their_conditions_match() {
    let mut world = World::running([
        task("bad"),
        task("begun"),
        task("next").after("begun"),
        task("last").after("next"),
        task("never").on("begun", &[Failure]),
    ]);
    world.begin("begun");
    world.fail("bad");
    world.succeed("begun");
    assert_eq!(world.show(), "running failed | bad=failed begun=success last=waits never=skipped next=ready");
    world.succeed("next");
    world.succeed("last");
    assert_eq!(world.show(), "finished failed | bad=failed begun=success last=success never=skipped next=success");
}

#[test]
fn a_failed_run_cancels_what_waits_for_approval_unless_a_failure_made_it_ready() {
    let cases = [
        // The conditions of an approval on a parent that ended well before the run failed, and what becomes of it.
        (task("x").after("good"), "cancelled"),
        (task("x").on("good", &[Success, Failure]), "cancelled"),
        (task("x").on("bad", &[Failure]), "approval"),
        (task("x").after("good").on("bad", &[Failure]), "approval"),
        (task("x").on("bad", &[Success, Failure, Skipped]), "approval"),
    ];
    for (definition, expected) in cases {
        let depends = definition.1.depends.clone();
        let mut world = World::running([task("good"), task("bad"), definition.approval(1)]);
        world.succeed("good");
        world.fail("bad");
        assert!(world.show().contains(&format!("x={expected}")), "{depends:?}: {}", world.show());
    }
}

#[test]
fn in_a_failed_run_what_becomes_ready_for_approval_later_is_cancelled_too() {
    let mut world = World::running([task("bad"), task("begun"), task("deploy").after("begun").approval(1)]);
    world.begin("begun");
    world.fail("bad");
    assert_eq!(world.show(), "running failed | bad=failed begun=running deploy=waits");
    world.succeed("begun");
    assert_eq!(world.show(), "finished failed | bad=failed begun=success deploy=cancelled");
}

#[test]
fn a_rollback_waits_for_approval_in_a_failed_run_and_runs() {
    let mut world = World::running([task("deploy"), task("rollback").on("deploy", &[Failure]).approval(1)]);
    world.fail("deploy");
    assert_eq!(world.show(), "running failed | deploy=failed rollback=approval");
    world.approve("rollback");
    assert_eq!(world.show(), "running failed | deploy=failed rollback=ready");
    world.succeed("rollback");
    assert_eq!(world.show(), "finished failed | deploy=failed rollback=success");
}

// Rule 3: conditions

#[test]
fn a_child_is_ready_or_skipped_by_the_end_of_its_parent() {
    let table: [(&[crate::model::Condition], [&str; 3]); 8] = [
        // conditions: after a success, a failure, a skip
        (&[], ["ready", "skipped", "skipped"]),
        (&[Success], ["ready", "skipped", "skipped"]),
        (&[Failure], ["skipped", "ready", "skipped"]),
        (&[Skipped], ["skipped", "skipped", "ready"]),
        (&[Success, Failure], ["ready", "ready", "skipped"]),
        (&[Success, Skipped], ["ready", "skipped", "ready"]),
        (&[Failure, Skipped], ["skipped", "ready", "ready"]),
        (&[Success, Failure, Skipped], ["ready", "ready", "ready"]),
    ];
    for (conditions, [success, failed, skipped]) in table {
        for (end, expected) in [(Some(AttemptState::Success), success), (Some(exit()), failed), (None, skipped)] {
            let parent = if end.is_none() { task("parent").skip() } else { task("parent") };
            let mut world = World::running([parent, task("x").on("parent", conditions)]);
            if let Some(end) = end.clone() {
                world.end("parent", end);
            }
            let shown = world.show();
            assert!(shown.ends_with(&format!("x={expected}")), "{conditions:?} after {end:?}: {shown}");
        }
    }
}

#[test]
fn cancelled_and_stopped_parents_match_no_condition() {
    let all = &[Success, Failure, Skipped];
    let mut world = World::running([task("bad"), task("root"), task("x").on("root", all)]);
    world.fail("bad");
    assert_eq!(world.show(), "finished failed | bad=failed root=cancelled x=skipped");

    let mut world = World::running([task("root"), task("x").on("root", all)]);
    world.begin("root");
    world.apply(crate::engine::Event::Stop);
    world.end("root", AttemptState::Stopped);
    assert_eq!(world.show(), "finished stopped | root=stopped x=skipped");
}

#[test]
fn every_parent_must_be_final_and_match() {
    let mut world = World::running([
        task("a"),
        task("b"),
        task("x").after("a").on("b", &[Failure]),
        task("y").after("a").after("b"),
    ]);
    world.begin("a");
    world.begin("b");
    world.succeed("a");
    assert_eq!(world.show(), "running unknown | a=success b=running x=waits y=waits");
    world.fail("b");
    assert_eq!(world.show(), "running failed | a=success b=failed x=ready y=skipped");
}

// Rule 4: born skipped

#[test]
fn a_skip_goes_down_a_long_chain_in_one_step_and_wakes_what_waited_for_it() {
    let numbered = |index: usize| format!("t{index:04}");
    let mut tasks = vec![task(&numbered(0)).skip()];
    tasks.extend((1..300).map(|index| task(&numbered(index)).after(&numbered(index - 1))));
    tasks.push(task("cleanup").on(&numbered(299), &[Skipped]));
    let world = World::running(tasks);
    assert!(world.show().starts_with("running unknown | cleanup=ready t0000=skipped t0001=skipped"));
    assert_eq!(world.show().matches("=skipped").count(), 300);
}

#[test]
fn a_task_is_born_skipped_while_its_run_is_still_queued() {
    assert_eq!(World::queued([task("a").skip(), task("b")]).show(), "queued unknown | a=skipped b=waits");
}

// Rule 5: approval

#[test]
fn a_ready_task_that_needs_approval_waits_for_it() {
    let mut world = World::running([task("a"), task("b").after("a").approval(0)]);
    assert_eq!(world.show(), "running unknown | a=ready b=waits");
    world.succeed("a");
    assert_eq!(world.show(), "running unknown | a=success b=approval");
    world.approve("b");
    assert_eq!(world.show(), "running unknown | a=success b=ready");
}

#[test]
fn stop_clears_the_wait_for_approval() {
    let mut world = World::running([task("a").approval(1)]);
    world.apply(crate::engine::Event::Stop);
    assert_eq!(world.show(), "finished stopped | a=skipped");
    assert!(!world.task("a").waiting_approval);
}

// Rule 6: ignored failures

#[test]
fn an_ignored_failure_stays_a_failure_but_fails_no_run() {
    let mut world = World::running([
        task("lint").ignore_failure(),
        task("after").after("lint"),
        task("report").on("lint", &[Failure]),
        task("other"),
    ]);
    world.fail("lint");
    assert_eq!(world.show(), "running unknown | after=skipped lint=failed other=ready report=ready");
    world.succeed("report");
    world.succeed("other");
    assert_eq!(world.show(), "finished success | after=skipped lint=failed other=success report=success");
}

// Rule 7: the end

#[test]
fn a_run_is_not_finished_while_anything_of_it_is_assigned() {
    let mut world = World::running([task("a"), task("b")]);
    world.assign("b", "exec");
    world.fail("a");
    assert_eq!(world.show(), "running failed | a=failed b=assigned");
    world.accept("b", "exec");
    assert_eq!(world.state.run.phase.as_str(), "running");
    world.lose("b", "exec");
    assert_eq!(world.show(), "finished failed | a=failed b=failed");
}
