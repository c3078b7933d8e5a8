//! Was everything kept that was promised? Looked at in the end, when all runs have ended.

use std::collections::BTreeMap;

use futures::TryStreamExt;
use runyard_executor_core::contract::StepRef;
use runyard_objectstorage::ObjectStorageExt;
use runyard_runservice_core::{
    LogRef, LogRequest, RunService,
    model::{RunPhase, RunState},
};

use crate::{
    history::History,
    output::Script,
    promises::{Followed, LogId, Promises},
    world::World,
};

/// Everything, in the end.
pub(crate) async fn check(world: &World, history: &History, runs: &RunService) -> Result<(), String> {
    history.check_leftovers()?;
    let logs = read_logs(history, runs).await?;
    check_objects(world, history).await?;
    let promises = world.promises();
    check_created(&promises, history)?;
    check_kept(&promises, history)?;
    check_approved(&promises, history)?;
    check_annotated(&promises, history)?;
    check_causes(&promises, history)?;
    check_consumed(&promises, history)?;
    for (log, bytes) in &logs {
        check_log(world, &promises, history, log, bytes)?;
    }
    promises.followed.iter().try_for_each(|followed| check_followed(world, &logs, followed))
}

/// Nothing is stored of runs that are there no more, or have given up their logs.
async fn check_objects(world: &World, history: &History) -> Result<(), String> {
    let objects = world.storage.list_objects("logs/").await.map_err(|error| error.to_string())?;
    for object in objects {
        let parts: Vec<_> = object.key.as_str().split('/').collect();
        let of_task = |RunState { run, tasks }: &RunState| {
            tasks.values().any(|task| parts[1] == task.id.as_str() && history.keeps_logs(run, &task.id))
        };
        let is_referred_to = match parts[2] {
            "runs" => history.runs.iter().any(|(run, state)| run.as_str() == parts[3] && of_task(state)),
            _ => history.runs.values().any(of_task),
        };
        if !is_referred_to {
            return Err(format!("`{}` is left of what was deleted or given up", object.key));
        }
    }
    Ok(())
}

/// Each creation made one run, however often it was asked for.
fn check_created(promises: &Promises, history: &History) -> Result<(), String> {
    let mut keys = promises.created.clone();
    keys.retain(|_, run| !history.deleted.contains(run));
    let created = history.runs.values().filter(|state| state.run.restart_of.is_none()).count();
    if created != keys.len() || history.idempotency != keys || promises.tried.len() != promises.created.len() {
        return Err(format!("{} creations made {created} runs: {keys:?}, {:?}", keys.len(), history.idempotency));
    }
    Ok(())
}

/// What was restarted is there, and nothing is gone that nobody deleted.
fn check_kept(promises: &Promises, history: &History) -> Result<(), String> {
    for run in promises.known() {
        let is_there = history.runs.contains_key(&run);
        let may_be = if is_there { !promises.deleted.contains(&run) } else { promises.to_delete.contains(&run) };
        if !may_be {
            return Err(format!("run {run} is there: {is_there}, and these were deleted: {:?}", promises.deleted));
        }
    }
    Ok(())
}

/// Whoever approved is on record, also one of two at once.
fn check_approved(promises: &Promises, history: &History) -> Result<(), String> {
    for (run, name, user) in promises.approved.iter().filter(|(run, ..)| !history.deleted.contains(run)) {
        let task = history.runs.get(run).and_then(|state| state.tasks.get(name));
        let approvers = task.and_then(|task| task.annotations.get("approvers")).map_or("", String::as_str);
        if !approvers.contains(&format!("\"{user}\"")) {
            return Err(format!("{user} has approved task {name} of {run}, and on record are {approvers}"));
        }
    }
    Ok(())
}

/// The last annotation that was taken is there.
fn check_annotated(promises: &Promises, history: &History) -> Result<(), String> {
    for ((run, name, key), value) in promises.annotated.iter().filter(|((run, ..), _)| !history.deleted.contains(run)) {
        let task = history.runs.get(run).and_then(|state| state.tasks.get(name));
        let found = task.and_then(|task| task.annotations.get(key));
        if found != Some(value) {
            return Err(format!("task {name} of {run} was annotated with `{key}`: {value}, and has {found:?}"));
        }
    }
    Ok(())
}

/// Nothing was stopped or cancelled that nobody wanted so.
fn check_causes(promises: &Promises, history: &History) -> Result<(), String> {
    // Who stopped or cancelled something may be there no more.
    if !history.deleted.is_empty() {
        return Ok(());
    }
    use runyard_runservice_core::model::ConcurrencyPolicy::{CancelQueued, CancelRunning};
    for (id, state) in &history.runs {
        let run = &state.run;
        let later =
            history.runs.iter().filter(|(_, other)| other.run.group == run.group && other.run.number > run.number);
        let policies: Vec<_> = later.filter_map(|(id, _)| Some(history.configs.get(id)?.concurrency)).collect();
        let stops = policies.contains(&CancelRunning);
        let cancels = stops || policies.contains(&CancelQueued);
        if run.phase == RunPhase::Cancelled && !cancels && !promises.cancelled.contains(id) {
            return Err(format!("run #{} of {} was cancelled by nobody", run.number, run.group));
        }
        if run.stop_requested && !stops && !promises.stopped.contains(id) {
            return Err(format!("run #{} of {} was stopped by nobody", run.number, run.group));
        }
    }
    Ok(())
}

/// A consumer is given every event once, in order.
fn check_consumed(promises: &Promises, history: &History) -> Result<(), String> {
    for (index, consumed) in promises.consumed.iter().enumerate() {
        for (at, event) in consumed.iter().enumerate() {
            let expected = history.events.get(at);
            if expected.is_none_or(|(place, told)| *place != event.sequence.to_string() || *told != event.event) {
                return Err(format!("consumer {index} was given {event:?}, and the next event was {expected:?}"));
            }
        }
        if consumed.len() != history.events.len() {
            let (given, all) = (consumed.len(), history.events.len());
            return Err(format!("consumer {index} was given {given} of {all} events"));
        }
    }
    Ok(())
}

/// Everything that is stored of every log of every attempt that began.
async fn read_logs(history: &History, runs: &RunService) -> Result<BTreeMap<LogId, Vec<u8>>, String> {
    let mut logs = BTreeMap::new();
    for state in history.runs.values() {
        for task in state.tasks.values().filter(|task| history.keeps_logs(&state.run, &task.id)) {
            let steps = (0..task.steps.len() as u32).map(StepRef::Step);
            let steps: Vec<_> = std::iter::once(StepRef::Setup).chain(steps).collect();
            for (attempt, step) in (1..=task.attempt).flat_map(|attempt| steps.iter().map(move |step| (attempt, *step)))
            {
                let log = LogRef { run: state.run.id.clone(), task: task.name.clone(), attempt: Some(attempt), step };
                let request = LogRequest { log, offset: 0, follow: true };
                let unreadable = |error| format!("the log of {} {attempt} {step} cannot be read: {error:?}", task.id);
                let stream = runs.log(&request).await.map_err(unreadable)?;
                let pieces: Vec<_> = stream.try_collect().await.map_err(unreadable)?;
                logs.insert((task.id.clone(), attempt, step), pieces.concat());
            }
        }
    }
    Ok(logs)
}

/// A log is what the step printed, from the first byte on: as far as was acknowledged, and if its end is known, up to it;
/// or it says what is missing.
fn check_log(world: &World, promises: &Promises, history: &History, log: &LogId, bytes: &[u8]) -> Result<(), String> {
    let printed = Script::of(world.profile.seed, log, world.profile.failures, world.profile.pace).whole();
    let row = history.logs.get(&format!("{}/{}/{}", log.0, log.1, log.2));
    let gap = row.filter(|row| row.missing > 0).map_or(String::new(), |row| gap(row.missing));
    let stored =
        bytes.strip_suffix(gap.as_bytes()).ok_or_else(|| format!("log {log:?} does not say what is missing"))?;
    if !printed.starts_with(stored) {
        return Err(format!("log {log:?} is {:?}, and {printed:?} was printed", String::from_utf8_lossy(stored)));
    }
    let promised = promises.stored.get(log).copied().unwrap_or_default();
    if (stored.len() as u64) < promised {
        return Err(format!("of log {log:?}, {promised} bytes were acknowledged, and {} are there", stored.len()));
    }
    let reported = history.task(&log.0).and_then(|(_, task)| match task.attempt == log.1 {
        true => Some((task.setup.clone(), task.steps.clone())),
        false => {
            task.earlier.iter().find(|earlier| earlier.attempt == log.1).map(|at| (at.setup.clone(), at.steps.clone()))
        }
    });
    let end = reported.and_then(|(setup, steps)| match log.2 {
        StepRef::Setup => setup.log,
        StepRef::Step(index) => steps.get(index as usize).and_then(|step| step.log.clone()),
    });
    if let Some(end) = end {
        let missing = row.map_or(0, |row| row.missing);
        if stored.len() as u64 + missing != end.bytes {
            let stored = stored.len();
            return Err(format!("log {log:?} has {stored} bytes and misses {missing}, and ended at {}", end.bytes));
        }
    }
    Ok(())
}

fn gap(missing: u64) -> String {
    format!("\n[runyard: {missing} bytes of this log were lost before they were stored]\n")
}

/// A follower was given what the step printed, in order; and all of the log if it came to its end.
fn check_followed(world: &World, logs: &BTreeMap<LogId, Vec<u8>>, followed: &Followed) -> Result<(), String> {
    let Followed { who, log, bytes, is_whole } = followed;
    let printed = Script::of(world.profile.seed, log, world.profile.failures, world.profile.pace).whole();
    let stored = logs.get(log).map_or(&[][..], Vec::as_slice);
    let is_printed = printed.starts_with(bytes) || stored == bytes || is_printed_with_gap(&printed, bytes);
    if !is_printed {
        return Err(format!("{who} was given {:?} of {printed:?}", String::from_utf8_lossy(bytes)));
    }
    // What was on its way when its executor was lost may be known to the follower alone.
    if *is_whole && bytes.len() < stored.len() {
        return Err(format!("{who} came to the end of {log:?} after {} of {} bytes", bytes.len(), stored.len()));
    }
    Ok(())
}

fn is_printed_with_gap(printed: &[u8], bytes: &[u8]) -> bool {
    let text = String::from_utf8_lossy(bytes);
    let Some((before, gap)) = text.rsplit_once("\n[runyard: ") else { return false };
    printed.starts_with(before.as_bytes()) && gap.ends_with("bytes of this log were lost before they were stored]\n")
}
