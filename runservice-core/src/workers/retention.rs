//! When has something been kept for long enough? The leader's.
//!
//! What is oldest is first in an index, so the next thing to do is known: this sleeps until then, or until a run is unpinned.
//! Nothing else can become due earlier than what it sleeps for, but when the wall clock is set; so it looks once an hour
//! besides. What must not exceed a total size is added up then, too: there is no event for "too much".

use std::time::{Duration, SystemTime};

use futures::{TryStreamExt, stream::BoxStream};
use runyard_datamanager::{Committed, DataManagerExt, Direction, IndexScan, KeyRange};
use runyard_executor_core::contract::RunId;

use crate::{
    Error, EventSequence, Result,
    engine::Change,
    layout::{self, Aging, CACHES, CACHES_BY_USE, EVENTS, EVENTS_EXPIRED, LOGS, RUNS, RUNS_BY_AGE},
    model::Run,
    rows::TaskData,
    service::Core,
};

/// The longest sleep.
const LOOKS_EVERY: Duration = Duration::from_secs(60 * 60);

/// So much is read at a time.
const PAGE: usize = 100;

/// So many events are removed by one commit.
const EVENTS_AT_A_TIME: usize = 1_000;

pub(super) async fn run(core: &Core) -> Result<()> {
    let mut changes = core.data.follow(core.data.snapshot().position());
    loop {
        let mut next = LOOKS_EVERY;
        for aging in [Aging::Run, Aging::Logs, Aging::Workspaces] {
            next = next.min(expire_runs(core, aging).await?);
        }
        next = next.min(expire_caches(core).await?).min(expire_events(core).await?);
        if let Some(most) = core.settings.logs_bytes_max {
            shrink_logs(core, most).await?;
        }
        if let Some(most) = core.settings.caches_bytes_max {
            shrink_caches(core, most).await?;
        }
        tokio::select! {
            () = tokio::time::sleep(next) => {}
            unpinned = unpinned(&mut changes) => {
                if !unpinned? {
                    return Ok(());
                }
            }
        }
    }
}

/// Waits until a run is unpinned; or says that there will be no more changes.
async fn unpinned(changes: &mut BoxStream<'static, runyard_datamanager::Result<Committed>>) -> Result<bool> {
    while let Some(committed) = changes.try_next().await? {
        for change in committed.changes.iter().filter(|change| change.collection == EVENTS.name()) {
            let Some(value) = &change.value else { continue };
            if EVENTS.decode(&change.key, value)?.event.change == (Change::RunPinned { pinned: false }) {
                return Ok(true);
            }
        }
    }
    Ok(false)
}

/// How long it is until something that old may go; zero: it may now.
fn time_left(since: SystemTime, keep_for: Duration, now: SystemTime) -> Duration {
    let old = now.duration_since(since).unwrap_or_default();
    keep_for.saturating_sub(old)
}

/// Does to the oldest runs what is due. How long it is until the next.
async fn expire_runs(core: &Core, aging: Aging) -> Result<Duration> {
    let settings = &core.settings;
    let keep_for = match aging {
        Aging::Run => settings.runs_keep_for,
        Aging::Logs => settings.logs_keep_for,
        Aging::Workspaces => settings.workspaces_keep_for,
    };
    let Some(keep_for) = keep_for else { return Ok(LOOKS_EVERY) };
    loop {
        let oldest = oldest_runs(core, aging).await?;
        for run in &oldest {
            let left = time_left(run.times.finished.unwrap_or(SystemTime::UNIX_EPOCH), keep_for, core.clock.now());
            if !left.is_zero() {
                return Ok(left);
            }
            expire_run(core, aging, &run.id).await?;
        }
        if oldest.is_empty() {
            // Whatever ends from now on is due after that time at the earliest.
            return Ok(keep_for);
        }
    }
}

async fn expire_run(core: &Core, aging: Aging, run: &RunId) -> Result<u64> {
    let expired = match aging {
        Aging::Logs => core.expire(run, TaskData::Logs).await,
        Aging::Workspaces => core.expire(run, TaskData::Workspaces).await,
        Aging::Run => core.delete(run).await.map(|()| 0),
    };
    match expired {
        // Somebody deleted it meanwhile, or has just pinned it.
        Err(Error::NotExist { .. } | Error::BadRequest { .. }) => Ok(0),
        expired => expired,
    }
}

async fn oldest_runs(core: &Core, aging: Aging) -> Result<Vec<Run>> {
    let (prefix, direction) = (layout::age_prefix(aging), Direction::Ascending);
    let scan = IndexScan { index: RUNS_BY_AGE, prefix: &prefix, direction, limit: PAGE, after: None };
    let page = core.data.read_index(&core.data.snapshot(), &RUNS, &scan).await?;
    Ok(page.entries.into_iter().map(|(_, run)| run).collect())
}

/// Takes the logs of the oldest runs away until all logs have at most so many bytes.
async fn shrink_logs(core: &Core, most: u64) -> Result<()> {
    let mut total = 0;
    let mut range = KeyRange::all();
    loop {
        let page = core.data.read_range(&core.data.snapshot(), &LOGS, range, Direction::Ascending, PAGE).await?;
        total += page.entries.iter().map(|(_, row)| row.bytes).sum::<u64>();
        match page.entries.last().filter(|_| page.more) {
            Some((last, _)) => range = KeyRange::all().after(last),
            None => break,
        }
    }
    while total > most {
        let oldest = oldest_runs(core, Aging::Logs).await?;
        if oldest.is_empty() {
            // The rest belongs to runs that go on or are pinned.
            break;
        }
        for run in oldest {
            if total > most {
                total = total.saturating_sub(expire_run(core, Aging::Logs, &run.id).await?);
            }
        }
    }
    Ok(())
}

/// Drops the cache entries that nobody has used for long. How long it is until the next.
async fn expire_caches(core: &Core) -> Result<Duration> {
    let Some(keep_for) = core.settings.caches_keep_for else { return Ok(LOOKS_EVERY) };
    loop {
        let oldest = oldest_caches(core).await?;
        for (key, row) in &oldest {
            let left = time_left(row.unused_since(), keep_for, core.clock.now());
            if !left.is_zero() {
                return Ok(left);
            }
            core.replace_cache(key, row, None).await?;
        }
        if oldest.is_empty() {
            return Ok(keep_for);
        }
    }
}

async fn oldest_caches(core: &Core) -> Result<Vec<(bytes::Bytes, crate::rows::CacheRow)>> {
    let direction = Direction::Ascending;
    let scan = IndexScan { index: CACHES_BY_USE, prefix: &[], direction, limit: PAGE, after: None };
    Ok(core.data.read_index(&core.data.snapshot(), &CACHES, &scan).await?.entries)
}

async fn shrink_caches(core: &Core, most: u64) -> Result<()> {
    let all = core.data.read_all(&core.data.snapshot(), &CACHES, KeyRange::all()).await?;
    let mut total: u64 = all.iter().map(|(_, row)| row.size).sum();
    drop(all);
    while total > most {
        let oldest = oldest_caches(core).await?;
        if oldest.is_empty() {
            break;
        }
        for (key, row) in oldest {
            if total > most && core.replace_cache(&key, &row, None).await? {
                total -= row.size.min(total);
            }
        }
    }
    Ok(())
}

/// Removes the events that were kept for long enough. How long it is until the next.
async fn expire_events(core: &Core) -> Result<Duration> {
    let Some(keep_for) = core.settings.events_keep_for else { return Ok(LOOKS_EVERY) };
    loop {
        let at = core.data.snapshot();
        let page = core.data.read_range(&at, &EVENTS, KeyRange::all(), Direction::Ascending, EVENTS_AT_A_TIME).await?;
        let now = core.clock.now();
        let due = page.entries.iter().take_while(|(_, row)| time_left(row.time, keep_for, now).is_zero());
        let due: Vec<_> = due.map(|(key, _)| key.clone()).collect();
        let Some(last) = due.last() else {
            let next = page.entries.first().map(|(_, row)| time_left(row.time, keep_for, now));
            return Ok(next.unwrap_or(keep_for));
        };
        let expired = EventSequence::of_key(last);
        let remove = |tx: runyard_datamanager::Tx| {
            let due = &due;
            async move {
                for key in due {
                    tx.delete(&EVENTS, key).await?;
                }
                if let Some(expired) = expired {
                    tx.put(&EVENTS_EXPIRED, "", &expired).await?;
                }
                Ok::<_, Error>(())
            }
        };
        core.data.transact(remove).await?;
    }
}
