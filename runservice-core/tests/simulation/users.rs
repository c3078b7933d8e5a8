//! What do simulated users do? They create runs, stop, cancel, approve and annotate them, through any process, and again
//! if they were not answered.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

use runyard_executor_core::contract::{RunId, TaskName};
use runyard_runservice_core::{
    Error, ErrorKind, NewRun, RestartPoint, Result, RunDetail, RunFilter, RunService,
    model::{Run, RunPhase, TaskStatus},
};

use crate::{configs::config, random::Random, world::World};

/// Those who approve.
const APPROVERS: [&str; 3] = ["ann", "ben", "eve"];

/// Creates its share of the runs, and meddles with all of them.
pub(crate) async fn use_runs(world: Arc<World>, index: u64) {
    let mut random = Random::new(world.profile.seed, 300 + index);
    let share = world.profile.runs.div_ceil(world.profile.users);
    let mut push = BTreeSet::new();
    for number in 0..share {
        let pause = if random.chance(400) { Duration::ZERO } else { world.profile.pause(&mut random, 40_000) };
        tokio::time::sleep(pause).await;
        if random.chance(600) {
            push.clear();
        }
        let key = format!("u{index}-{number}");
        let new = NewRun {
            config: config(&mut random, &key, world.profile.tasks_max),
            idempotency_key: Some(key.clone()),
            siblings: push.clone(),
        };
        let run = create(&world, &mut random, new).await;
        push.insert(run.id);
        for _ in 0..random.below(5) {
            let pause = random.mostly_short(3_000, 30_000) * world.profile.pace;
            tokio::time::sleep(pause).await;
            meddle(&world, &mut random, index).await;
        }
    }
}

/// Creates a run, for as long as it takes.
async fn create(world: &Arc<World>, random: &mut Random, new: NewRun) -> Run {
    let key = new.idempotency_key.clone().expect("each has one");
    world.promises().tried.insert(key.clone());
    let run = insist(world, random, "creating a run", |runs| {
        let new = new.clone();
        async move { runs.create(new).await }
    })
    .await;
    let run = run.unwrap_or_else(|error| panic!("creating {key} was refused: {error:?}"));
    world.count("runs that were created");
    world.trace(|| format!("{key} is run #{} of {}, {:?}: {}", run.number, run.group, new.config.concurrency, run.id));
    world.promises().created.insert(key, run.id.clone());
    run
}

/// Asks any process, and again for as long as it is not answered. The error is an answer that it does not change.
async fn insist<T, F: Future<Output = Result<T>>>(
    world: &Arc<World>,
    random: &mut Random,
    what: &str,
    ask: impl Fn(RunService) -> F,
) -> Result<T> {
    loop {
        let process = world.some_process(random).await;
        let answer = tokio::select! {
            biased;
            () = process.ended.cancelled() => None,
            answer = ask(process.runs.clone()) => Some(answer),
        };
        match answer {
            Some(Ok(answer)) => return Ok(answer),
            // Another process may not see yet what this user was told of.
            Some(Err(error)) if error.kind() == ErrorKind::BadRequest => return Err(error),
            Some(Err(error)) if error.kind() == ErrorKind::NotExist && world.promises().may_be_gone() => {
                return Err(error);
            }
            Some(Err(error)) => world.trace(|| format!("{what}: {} answers {error:?}", process.name)),
            None => {}
        }
        tokio::time::sleep(random.millis(100..3_000)).await;
    }
}

/// Does something to one of the runs.
async fn meddle(world: &Arc<World>, random: &mut Random, index: u64) {
    let known = world.promises().known();
    if known.is_empty() {
        return;
    }
    let run = &known[random.below(known.len() as u64) as usize];
    match random.below(10) {
        9 => meddle_with_executors(world, random).await,
        0 => stop(world, random, run).await,
        1 | 7 => cancel(world, random, run).await,
        2 => annotate(world, random, run, index).await,
        3 => look(world, random, run).await,
        4 | 5 => restart(world, random, run).await,
        6 => delete(world, random, run).await,
        _ => approve_all(world, random, run).await,
    }
}

async fn stop(world: &Arc<World>, random: &mut Random, run: &RunId) {
    world.promises().stopped.insert(run.clone());
    if let Ok(run) = insist(world, random, "stopping", |runs| {
        let run = run.clone();
        async move { runs.stop(&run).await }
    })
    .await
    {
        world.count("runs that were stopped");
        world.trace(|| format!("{} is to stop", run.id));
        if !run.stop_requested {
            world.fail(format!("run {} was stopped, and is not to stop", run.id));
        }
    }
}

async fn cancel(world: &Arc<World>, random: &mut Random, run: &RunId) {
    world.promises().cancelled.insert(run.clone());
    if let Ok(run) = insist(world, random, "cancelling", |runs| {
        let run = run.clone();
        async move { runs.cancel(&run).await }
    })
    .await
    {
        world.count("runs that were cancelled");
        if run.phase != RunPhase::Cancelled {
            world.fail(format!("run {} was cancelled, and is {:?}", run.id, run.phase));
        }
    }
}

/// Drains an executor, or removes one that is not there.
async fn meddle_with_executors(world: &Arc<World>, random: &mut Random) {
    let Ok(executors) = insist(world, random, "listing", |runs| async move { runs.executors().await }).await else {
        return;
    };
    if executors.is_empty() {
        return;
    }
    let id = executors[random.below(executors.len() as u64) as usize].status.id.clone();
    let drains = random.chance(500);
    world.promises().executors_may_go = true;
    let done = insist(world, random, "draining or removing an executor", |runs| {
        let id = id.clone();
        async move { if drains { runs.drain_executor(&id).await } else { runs.remove_executor(&id).await } }
    });
    match done.await {
        Ok(()) if !drains => world.count("executors that were removed"),
        _ => {}
    }
}

/// A run that is over begins again, from scratch or where it failed.
async fn restart(world: &Arc<World>, random: &mut Random, run: &RunId) {
    let from = random.pick(&[RestartPoint::Scratch, RestartPoint::FailedTasks, RestartPoint::FailedTasks]);
    let restarted = insist(world, random, "restarting", |runs| {
        let run = run.clone();
        async move { runs.restart(&run, from).await }
    })
    .await;
    if let Ok(again) = restarted {
        world.count("runs that were restarted");
        world.trace(|| format!("{run} begins again, {from:?}: {}", again.id));
        if again.restart_of.as_ref() != Some(run) {
            world.fail(format!("{run} began again as {}, which repeats {:?}", again.id, again.restart_of));
        }
        world.promises().restarted.insert(again.id);
    }
}

/// Unless it is pinned, a run that is over may go.
async fn delete(world: &Arc<World>, random: &mut Random, run: &RunId) {
    let is_pinned = random.chance(300);
    let pinned = insist(world, random, "pinning", |runs| {
        let run = run.clone();
        async move { runs.set_pinned(&run, is_pinned).await }
    })
    .await;
    if pinned.is_err() || random.chance(500) {
        return;
    }
    world.promises().to_delete.insert(run.clone());
    let deleted = insist(world, random, "deleting", |runs| {
        let run = run.clone();
        async move { runs.delete(&run).await }
    })
    .await;
    if deleted.is_ok() {
        world.count("runs that were deleted");
        world.trace(|| format!("{run} is deleted"));
        world.promises().deleted.insert(run.clone());
    }
}

/// Each user has a key of its own, so that the last value is the one that was taken last.
async fn annotate(world: &Arc<World>, random: &mut Random, run: &RunId, index: u64) {
    let Ok(detail) = insist(world, random, "reading", |runs| {
        let run = run.clone();
        async move { runs.get(&run).await }
    })
    .await
    else {
        return;
    };
    let Some(task) = some_task(random, &detail) else { return };
    let (key, value) = (format!("note of {index}"), random.next().to_string());
    let patch: BTreeMap<_, _> = [(key.clone(), Some(value.clone()))].into();
    if insist(world, random, "annotating", |runs| {
        let (run, task, patch) = (run.clone(), task.clone(), patch.clone());
        async move { runs.annotate(&run, &task, patch).await }
    })
    .await
    .is_ok()
    {
        world.count("annotations");
        world.promises().annotated.insert((run.clone(), task, key), value);
    }
}

fn some_task(random: &mut Random, detail: &RunDetail) -> Option<TaskName> {
    let count = detail.tasks.len() as u64;
    (count > 0).then(|| detail.tasks.keys().nth(random.below(count) as usize).cloned()).flatten()
}

async fn look(world: &Arc<World>, random: &mut Random, run: &RunId) {
    if let Ok(detail) = insist(world, random, "reading", |runs| {
        let run = run.clone();
        async move { runs.get(&run).await }
    })
    .await
    {
        world.count("looks");
        world.check(check_reasons(&detail));
    }
}

/// What waits says why.
pub(crate) fn check_reasons(detail: &RunDetail) -> std::result::Result<(), String> {
    let RunDetail { run, tasks, waiting, waiting_tasks, .. } = detail;
    if (run.phase == RunPhase::Queued) != waiting.is_some() {
        return Err(format!("run #{} is {:?}, and waits for {waiting:?}", run.number, run.phase));
    }
    let reason = |name: &TaskName| waiting_tasks.iter().find(|view| view.task == *name).map(|view| &view.reason);
    for task in tasks.values() {
        let reason = reason(&task.name);
        if task.waiting_approval && reason.is_none() {
            return Err(format!("task {} of run #{} waits for approval, and does not say so", task.name, run.number));
        }
        if task.status.is_final() && reason.is_some() {
            return Err(format!(
                "task {} of run #{} is {:?}, and waits: {reason:?}",
                task.name, run.number, task.status
            ));
        }
    }
    Ok(())
}

/// Approves what waits for approval, by two users at once; by one of them perhaps twice.
async fn approve_all(world: &Arc<World>, random: &mut Random, run: &RunId) {
    let Ok(detail) = insist(world, random, "reading", |runs| {
        let run = run.clone();
        async move { runs.get(&run).await }
    })
    .await
    else {
        return;
    };
    world.check(check_reasons(&detail));
    for task in detail.tasks.values().filter(|task| task.waiting_approval || task.status == TaskStatus::NotStarted) {
        let needed = detail.config.tasks.get(&task.name).is_some_and(|config| config.needs_approval);
        if !needed || task.approved {
            continue;
        }
        let (mut one, mut other) = (Random::new(random.next(), 0), Random::new(random.next(), 0));
        let users = [random.pick(&APPROVERS), random.pick(&APPROVERS)];
        tokio::join!(
            approve(world, &mut one, run, &task.name, users[0]),
            approve(world, &mut other, run, &task.name, users[1])
        );
    }
}

async fn approve(world: &Arc<World>, random: &mut Random, run: &RunId, task: &TaskName, user: &str) {
    let approved = insist(world, random, "approving", |runs| {
        let (run, task, user) = (run.clone(), task.clone(), user.to_owned());
        async move { runs.approve(&run, &task, Some(&user)).await }
    })
    .await;
    let is_taken = match &approved {
        Ok(_) => true,
        // It was taken before it was answered.
        Err(Error::BadRequest { message }) => message.starts_with(&format!("`{user}` has approved")),
        Err(_) => false,
    };
    if is_taken {
        world.count("approvals");
        world.promises().approved.insert((run.clone(), task.clone(), user.to_owned()));
    }
}

/// Sees to it that nothing waits for an approval for ever, once nothing goes wrong any more: also not a run that began
/// again when nobody heard of it.
pub(crate) async fn approve_in_the_end(world: Arc<World>) {
    let mut random = Random::new(world.profile.seed, 390);
    world.calm().await;
    loop {
        let all = RunFilter { limit: 1_000, ..RunFilter::default() };
        let page = insist(&world, &mut random, "listing", |runs| {
            let all = all.clone();
            async move { runs.list(&all).await }
        })
        .await;
        for run in page.map(|page| page.runs).unwrap_or_default() {
            if !run.phase.is_final() {
                approve_all(&world, &mut random, &run.id).await;
            }
        }
        tokio::time::sleep(Duration::from_secs(60)).await;
    }
}
