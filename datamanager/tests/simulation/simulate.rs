//! What happens in the world of one seed?

use std::{
    collections::{BTreeMap, BTreeSet},
    ops::Range,
    sync::{
        Arc, Mutex,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use futures::StreamExt;
use runyard_datamanager::{
    Action, Committed, DataManager, Direction, Error, KeyRange, Position, Result, Scan, Transaction, WalDataManager,
    broken::Broken,
};
use runyard_objectstorage::ObjectStorage;
use tokio::task::JoinSet;

use crate::{
    check::{Content, check},
    damage::{Found, append_forged, damage, go_back},
    hints,
    keeper::{checkpoint, leave},
    process::{builder, live},
    profile::{Coordination, Profile, Upkeep},
    random::Random,
    world::{Counts, Followed, World},
};

/// Longer than anything lasts.
const STUCK: Duration = Duration::from_secs(10 * 24 * 3600);

/// What became of a seed.
#[derive(Debug)]
pub(crate) struct Report {
    pub(crate) failure: Option<String>,
    pub(crate) trace: Vec<String>,
    pub(crate) counts: Counts,
}

/// Runs one seed.
pub(crate) fn simulate(seed: u64, is_traced: bool) -> Report {
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().expect("a runtime");
    runtime.block_on(async {
        let world = World::new(Profile::of(seed), is_traced).await;
        world.trace(|| format!("{:?}", world.profile));
        match tokio::time::timeout(STUCK, run(&world)).await {
            Ok(Ok(())) => {}
            Ok(Err(wrong)) => world.fail(wrong),
            Err(_) => world.fail("somebody waits for ever"),
        }
        Report { failure: world.failure(), trace: world.take_trace(), counts: world.counts() }
    })
}

/// Everything from the first start to the last check.
async fn run(world: &Arc<World>) -> Result<(), String> {
    let mut processes: Vec<_> =
        (0..world.profile.processes).map(|index| tokio::spawn(live(Arc::clone(world), index))).collect();
    let mut trouble = JoinSet::new();
    if (0..world.profile.processes).any(|index| world.profile.coordination.shares(index)) {
        trouble.spawn(hints::break_links(Arc::clone(world), Random::new(world.profile.seed, 4)));
        trouble.spawn(hints::break_etcd(Arc::clone(world), Random::new(world.profile.seed, 5)));
    }
    let mut alive = Vec::new();
    for process in &mut processes {
        alive.extend(process.await.map_err(|error| format!("a process ended with {error}"))?);
    }
    trouble.shutdown().await;
    // First, because what lands late takes minutes.
    hints::mend(world);
    world.calm_down().await;
    // What is queued in processes whose callers went away is still committed.
    loop {
        let tip = world.disk.tip();
        tokio::time::sleep(Duration::from_secs(120)).await;
        if tip == world.disk.tip() {
            break;
        }
    }
    world.failure().map_or(Ok(()), Err)?;
    hints::check(
        world,
        match world.profile.upkeep {
            Upkeep::Automatic { batches } => Some(batches),
            Upkeep::None | Upkeep::Asked => None,
        },
    )?;
    for (life, data) in &alive {
        commit_at_last(world, life, data).await?;
    }
    let hash = async |data: &WalDataManager| data.state_hash(&data.snapshot()).await;
    for (life, data) in &alive {
        data.catch_up().await.map_err(|error| format!("{life} cannot catch up: {error:?}"))?;
        if let Err(error @ Error::Corrupt { .. }) = hash(data).await {
            return Err(format!("{life} reads from a checkpoint that is damaged: {error:?}"));
        }
        if world.profile.upkeep != Upkeep::None {
            // The checkpoint that it reads from may have been cleaned: it makes a new one, or goes over to one.
            let made = checkpoint(world, life, data).await;
            made.map_err(|error| format!("{life} cannot make checkpoints any more: {error:?}"))?;
        }
    }
    let fresh = open_fresh(world, Arc::clone(&world.disk) as _)
        .await
        .map_err(|error| format!("it cannot be opened in the end: {error:?}"))?;
    for (life, data) in &alive {
        if data.snapshot().position() != fresh.snapshot().position() {
            return Err(format!("{life} has not come to the end of the log"));
        }
        let hash = async |data| hash(data).await.map_err(|error| format!("no hash of {life}: {error:?}"));
        if hash(data).await? != hash(&fresh).await? {
            return Err(format!("{life} holds something else than a store that is opened now"));
        }
    }
    follow_all(world, &fresh).await;
    let (log, record) = (world.disk.log(), world.record());
    let collections: BTreeSet<_> = ["a", "b", "events", "names"].into();
    let mut content = Content::new();
    for collection in collections {
        let scan = Scan {
            collection: collection.to_owned(),
            range: KeyRange::all(),
            direction: Direction::Ascending,
            limit: usize::MAX,
        };
        let page = fresh.scan(&fresh.snapshot(), &scan).await.map_err(|error| format!("{error:?}"))?;
        if !page.entries.is_empty() {
            content.insert(collection.to_owned(), page.entries);
        }
    }
    let claims = check(&log, &record, world.profile.history_transactions_max, &content)?;
    (1..claims).for_each(|_| world.count("take-overs by a sole holder"));
    if !world.disk.neighbours_are_untouched().await {
        return Err("objects outside the base path were changed".to_owned());
    }
    let found = Found {
        hash: hash(&fresh).await.map_err(|error| error.to_string())?,
        covered: world.disk.tip() - fresh.status().log_batches,
    };
    go_back(world, &found).await?;
    match Random::new(world.profile.seed, 1).chance(250) {
        true => append_forged(world, &log, alive.first().map(|(_, data)| data)).await,
        false => damage(world, &found).await,
    }
}

/// What can still succeed is not failed: a commit may give up while an outage is being got over, but not for ever.
async fn commit_at_last(world: &Arc<World>, life: &Arc<str>, data: &WalDataManager) -> Result<(), String> {
    for _ in 0..20 {
        let left = leave(world, life, data).await;
        if let Err(Error::TakenOver { .. }) = left {
            return is_taken_over(world, life, data);
        }
        if left.is_err() {
            tokio::time::sleep(Duration::from_secs(1)).await;
            continue;
        }
        let id = world.begin(life);
        let value = format!("\"t{id}/end\"");
        let actions = vec![Action::Append { collection: "events".into(), value: value.into() }];
        world.describe(id, |attempt| attempt.actions = actions.clone());
        let answer = data.commit(Transaction { actions, ..Transaction::default() }).await;
        world.answer(id, &answer);
        match answer {
            Ok(_) => return Ok(()),
            Err(Error::TakenOver { .. }) => return is_taken_over(world, life, data),
            Err(_) => {}
        }
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
    Err(format!("{life} cannot commit any more"))
}

/// Whether a process may say that somebody else has the store.
fn is_taken_over(world: &World, life: &str, data: &WalDataManager) -> Result<(), String> {
    let says = data.status().taken_over;
    match says.as_ref().filter(|says| !says.contains(&format!("by {life} "))) {
        Some(_) if !matches!(world.profile.coordination, Coordination::None | Coordination::Shared) => Ok(()),
        _ => Err(format!("{life} was told that the store is taken over, and says {says:?}")),
    }
}

pub(crate) async fn open_fresh(world: &World, storage: Arc<dyn ObjectStorage>) -> Result<WalDataManager> {
    builder(world, storage, 0).writer_id([0xff; 16]).open().await
}

async fn follow_all(world: &World, fresh: &WalDataManager) {
    let end = fresh.snapshot().position();
    // The log may have been cleaned up to there.
    let after = Position { lsn: world.disk.floor(), index: 0 };
    let mut stream = fresh.follow(after);
    let mut items = Vec::new();
    while items.last().map_or(after, |item: &Committed| item.position) < end {
        match stream.next().await {
            Some(Ok(item)) => items.push(item),
            other => return world.fail(format!("the whole log cannot be followed: {other:?}")),
        }
    }
    world.follow_ended(Followed { life: "fresh".into(), after, items });
}

/// Runs seeds on all processors. Returns the first one that fails, or how often what happened.
pub(crate) fn simulate_all(seeds: Range<u64>, broken: Option<Broken>) -> Result<Counts, (u64, String)> {
    let threads = std::thread::available_parallelism().map_or(2, usize::from) as u64;
    let next = AtomicU64::new(seeds.start);
    let failed = Mutex::new(BTreeMap::new());
    let counts = Mutex::new(Counts::new());
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                let _guard = broken.map(Broken::on_this_thread);
                loop {
                    let seed = next.fetch_add(1, Ordering::Relaxed);
                    if seed >= seeds.end || !failed.lock().expect("not poisoned").is_empty() {
                        return;
                    }
                    let report = simulate(seed, false);
                    for (what, count) in report.counts {
                        *counts.lock().expect("not poisoned").entry(what).or_default() += count;
                    }
                    if let Some(failure) = report.failure {
                        failed.lock().expect("not poisoned").insert(seed, failure);
                    }
                }
            });
        }
    });
    match failed.into_inner().expect("not poisoned").pop_first() {
        Some(failed) => Err(failed),
        None => Ok(counts.into_inner().expect("not poisoned")),
    }
}
