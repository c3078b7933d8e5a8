//! Who watches? One consumer of all events, and followers of logs, who come back to any process where they were.

use std::{collections::BTreeSet, sync::Arc, time::Duration};

use futures::StreamExt;
use runyard_executor_core::contract::{RunId, StepRef, TaskName};
use runyard_runservice_core::{EventSequence, LogRef, LogRequest, engine::Change, model::TaskStatus};
use tokio::task::JoinSet;

use crate::{
    promises::{Followed, LogId},
    random::Random,
    variants::Variant,
    world::World,
};

/// Reads all events from the first one on, with reconnections, and lets logs be followed that begin.
pub(crate) async fn consume(world: Arc<World>, index: u64) {
    let mut random = Random::new(world.profile.seed, 400 + index);
    let mut followers = JoinSet::new();
    let mut seen = BTreeSet::new();
    let mut after = EventSequence::ZERO;
    world.promises().consumed.push(Vec::new());
    loop {
        let process = world.some_process(&mut random).await;
        let mut events = process.runs.events(after);
        let until = tokio::time::sleep(random.mostly_short(20_000, 200_000));
        tokio::pin!(until);
        loop {
            let next = tokio::select! {
                biased;
                () = world.over() => return,
                () = process.ended.cancelled() => break,
                () = &mut until => break,
                next = events.next() => next,
            };
            let Some(Ok(event)) = next else { break };
            after = event.sequence;
            if event.event.change == Change::RunLogsExpired {
                world.count("runs whose logs expired");
            }
            if let Change::TaskStatus { task, id, attempt, status: TaskStatus::Running, .. } = &event.event.change
                && seen.insert((id.clone(), *attempt))
                && random.chance(250)
            {
                let step = if random.chance(300) { StepRef::Setup } else { StepRef::Step(0) };
                let (run, task, log) = (event.event.run.clone(), task.clone(), (id.clone(), *attempt, step));
                world.promises().following += 1;
                followers.spawn(follow(Arc::clone(&world), run, task, log, Random::new(random.next(), 0)));
            }
            if !(world.is(Variant::ConsumerSkips) && random.chance(100)) {
                world.promises().consumed[index as usize].push(event);
            }
        }
        world.count("consumers that came back");
        tokio::time::sleep(random.mostly_short(100, 30_000)).await;
    }
}

/// Follows a log to its end.
async fn follow(world: Arc<World>, run: RunId, task: TaskName, log: LogId, mut random: Random) {
    let mut followed = Followed {
        who: format!("a follower of {task} of {run}"),
        log: log.clone(),
        bytes: Vec::new(),
        is_whole: false,
    };
    loop {
        let process = world.some_process(&mut random).await;
        let name = LogRef { run: run.clone(), task: task.clone(), attempt: Some(log.1), step: log.2 };
        let request = LogRequest { log: name, offset: followed.bytes.len() as u64, follow: true };
        let until = tokio::time::sleep(random.mostly_short(30_000, 300_000));
        tokio::pin!(until);
        let reading = async {
            // A task that has no such step is refused for ever.
            let mut stream = process.runs.log(&request).await.map_err(|error| error.to_string())?;
            while let Some(bytes) = stream.next().await {
                followed.bytes.extend_from_slice(&bytes.map_err(|error| error.to_string())?);
            }
            Ok::<_, String>(())
        };
        let read = tokio::select! {
            biased;
            () = world.over() => Some(Err("all is over".to_owned())),
            () = process.ended.cancelled() => None,
            () = &mut until => None,
            read = reading => Some(read),
        };
        let for_ever = |error: &str| error.contains("has no step") || error.contains("is not kept any more");
        let is_refused = matches!(&read, Some(Err(error)) if for_ever(error));
        if world.is_over() || is_refused || world.promises().to_delete.contains(&run) {
            break;
        }
        if matches!(read, Some(Ok(()))) {
            world.count("logs that were followed to their end");
            followed.is_whole = true;
            break;
        }
        world.count("followers that came back");
        tokio::time::sleep(random.millis(100..3_000)).await;
    }
    world.trace(|| format!("{} has read {} bytes", followed.who, followed.bytes.len()));
    let mut promises = world.promises();
    promises.followed.push(followed);
    promises.following -= 1;
}

/// Gives followers the time to come to the end of what has ended.
pub(crate) const FOLLOWERS_TAKE: Duration = Duration::from_secs(600);
