//! What do simulated users ask to be run? Random graphs with everything that a definition can say.

use std::collections::{BTreeMap, BTreeSet};

use runyard_executor_core::contract::{Arch, FailureClass, RunStep, Runtime, Step, Steps, TaskName};
use runyard_runservice_core::model::{ConcurrencyPolicy, Condition, GroupPath, RetryPolicy, RunConfig, TaskConfig};

use crate::random::Random;

/// A definition that can be run, mostly.
pub(crate) fn config(random: &mut Random, name: &str, tasks_max: u64) -> RunConfig {
    let root = GroupPath::new("project", random.pick(&["a", "a", "b"])).expect("valid");
    let group = root.child("branch", random.pick(&["main", "main", "next", "x/y%"])).expect("valid");
    let mut config = RunConfig::new(name, group);
    config.concurrency = random.pick(&[
        ConcurrencyPolicy::Queue,
        ConcurrencyPolicy::Queue,
        ConcurrencyPolicy::CancelQueued,
        ConcurrencyPolicy::CancelRunning,
        ConcurrencyPolicy::Parallel,
    ]);
    if random.chance(30) {
        config.setup_errors.push("it does not parse".to_owned());
        return config;
    }
    // Now and then there is nothing to do.
    let tasks = if random.chance(20) { 0 } else { random.between(1..tasks_max + 1) };
    for index in 0..tasks {
        config.tasks.insert(task_name(index), task(random, index));
    }
    config
}

fn task_name(index: u64) -> TaskName {
    TaskName::parse(format!("t{index}")).expect("valid")
}

fn task(random: &mut Random, index: u64) -> TaskConfig {
    let mut depends = BTreeMap::new();
    for _ in 0..random.pick(&[0, 1, 1, 2]) {
        if index > 0 {
            depends.insert(task_name(random.below(index)), conditions(random));
        }
    }
    let step =
        |number: u64| Step::Run(RunStep { name: format!("s{number}"), command: "true".into(), ..RunStep::default() });
    TaskConfig {
        depends,
        steps: Steps((0..random.pick(&[0, 1, 1, 2, 3])).map(step).collect()),
        ignore_failure: random.chance(150),
        needs_approval: random.chance(100),
        approvers_min: random.pick(&[0, 1, 2]),
        skip: random.chance(50),
        retry: retry(random),
        labels: if random.chance(60) { [("disk".to_owned(), "fast".to_owned())].into() } else { BTreeMap::new() },
        runtime: Runtime { arch: random.pick(&[None, None, None, Some(Arch::Arm64)]), ..Runtime::default() },
        ..TaskConfig::default()
    }
}

fn conditions(random: &mut Random) -> BTreeSet<Condition> {
    let all = [Condition::Success, Condition::Failure, Condition::Skipped];
    match random.chance(600) {
        true => BTreeSet::new(),
        false => all.into_iter().filter(|_| random.chance(500)).collect(),
    }
}

fn retry(random: &mut Random) -> RetryPolicy {
    let all = [FailureClass::Exit, FailureClass::Setup, FailureClass::Infrastructure, FailureClass::Lost];
    match random.chance(500) {
        true => RetryPolicy::default(),
        false => RetryPolicy {
            max: random.between(1..3) as u32,
            on: all.into_iter().filter(|_| random.chance(700)).collect(),
        },
    }
}
