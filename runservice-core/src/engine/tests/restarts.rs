//! What may be restarted, from where, and what a restart keeps.

use std::{collections::BTreeSet, sync::Arc};

use runyard_executor_core::contract::TaskId;

use super::kit::{World, identity, ids, name, task};
use crate::{
    engine::{Event, Refusal, RestartFrom, Stepped, restart},
    model::Condition::{Failure, Skipped},
};

fn from_failed() -> RestartFrom {
    RestartFrom::FailedTasks { expired: BTreeSet::new() }
}

fn try_restart(old: &World, from: &RestartFrom) -> Result<World, Refusal> {
    let Stepped { state, .. } = restart(&old.config, &old.state, from, identity(8), &mut ids("new-"))?;
    Ok(World { config: old.config.clone(), state })
}

fn kept(old: &World, new: &World) -> Vec<String> {
    let same = |task: &&Arc<crate::model::Task>| old.state.tasks[&task.name].id == task.id;
    new.state.tasks.values().filter(same).map(|task| task.name.to_string()).collect()
}

fn failed() -> World {
    let mut world = World::running([
        task("build").saving(),
        task("lint"),
        task("test").after("build"),
        task("deploy").after("test").after("lint").approval(1),
        task("tell").on("test", &[Failure]),
        task("never").skip(),
        task("instead").on("never", &[Skipped]),
    ]);
    for good in ["build", "lint", "instead"] {
        world.succeed(good);
    }
    world.fail("test");
    world.succeed("tell");
    assert_eq!(
        world.show(),
        "finished failed | build=success deploy=skipped instead=success lint=success never=skipped tell=success \
         test=failed"
    );
    world
}

#[test]
fn from_scratch_every_task_is_new() {
    let old = failed();
    let mut new = try_restart(&old, &RestartFrom::Scratch).unwrap();
    assert_eq!(kept(&old, &new), Vec::<String>::new());
    assert_eq!(new.state.run.number, 8);
    assert_eq!(new.state.run.restart_of, Some(old.state.run.id.clone()));
    assert_eq!((&new.state.run.group, &new.state.run.name), (&old.state.run.group, &old.state.run.name));
    new.apply(Event::Start);
    assert_eq!(
        new.show(),
        "running unknown | build=ready deploy=waits instead=ready lint=ready never=skipped tell=waits test=waits"
    );
}

#[test]
fn from_failed_tasks_what_succeeded_after_nothing_but_successes_is_kept() {
    let old = failed();
    let mut new = try_restart(&old, &from_failed()).unwrap();
    assert_eq!(kept(&old, &new), ["build", "lint"], "what follows a skip or a failure is new, whatever became of it");
    assert_eq!(new.state.tasks[&name("build")], old.state.tasks[&name("build")]);
    new.apply(Event::Start);
    new.succeed("instead");
    new.succeed("test");
    assert_eq!(
        new.show(),
        "running unknown | build=success deploy=approval instead=success lint=success never=skipped tell=skipped \
         test=success"
    );
}

#[test]
fn new_tasks_ask_for_approval_again() {
    let mut old = World::running([task("a").approval(1), task("b")]);
    old.approve_as("a", "ann");
    old.fail("a");
    let mut new = try_restart(&old, &from_failed()).unwrap();
    new.apply(Event::Start);
    assert_eq!(new.show(), "running unknown | a=approval b=ready");
    assert!(new.task("a").annotations.is_empty());
}

#[test]
fn only_a_finished_or_cancelled_run_is_restarted() {
    let mut cancelled = World::queued([task("a")]);
    cancelled.apply(Event::Cancel);
    for from in [RestartFrom::Scratch, from_failed()] {
        let new = try_restart(&cancelled, &from).unwrap();
        assert_eq!(new.show(), "queued unknown | a=waits");
        for world in [World::queued([task("a")]), World::running([task("a")]), World::queued([task("a").after("x")])] {
            let refusal = try_restart(&world, &from).unwrap_err().to_string();
            let phase = world.state.run.phase.as_str();
            assert_eq!(refusal, format!("run #7 is {phase}: only a finished or cancelled run can be restarted"));
        }
    }
}

#[test]
fn a_success_is_restarted_only_from_scratch() {
    let mut old = World::running([task("a")]);
    old.succeed("a");
    let refusal = try_restart(&old, &from_failed()).unwrap_err();
    assert!(matches!(refusal, Refusal::NothingFailed { .. }), "{refusal}");
    try_restart(&old, &RestartFrom::Scratch).unwrap();
}

#[test]
fn a_restart_that_would_share_expired_archives_is_refused_and_names_them() {
    let old = failed();
    let expired = |tasks: &[&str]| RestartFrom::FailedTasks {
        expired: tasks.iter().map(|task| old.task(task).id.clone()).collect::<BTreeSet<TaskId>>(),
    };
    let refusal = try_restart(&old, &expired(&["build", "lint", "test"])).unwrap_err();
    assert_eq!(
        refusal.to_string(),
        "run #7 cannot be restarted from its failed tasks, because the workspace archives of `build` have expired; \
         restart it from scratch"
    );
    try_restart(&old, &expired(&["lint", "test"])).expect("lint saves nothing, and test runs again");
}

#[test]
fn a_restart_of_a_stopped_run_keeps_what_it_got_done() {
    let mut old = World::running([task("a"), task("b").after("a")]);
    old.succeed("a");
    old.apply(Event::Stop);
    let mut new = try_restart(&old, &from_failed()).unwrap();
    new.apply(Event::Start);
    assert_eq!(new.show(), "running unknown | a=success b=ready");
}
