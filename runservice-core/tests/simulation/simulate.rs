//! What happens in the world of one seed?

use std::{
    collections::BTreeMap,
    ops::Range,
    sync::{
        Arc, Mutex,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use tokio::{task::JoinSet, time::Instant};

use crate::{
    check::check,
    executor, followers, hints,
    observer::Observer,
    process,
    profile::Profile,
    users,
    variants::Variant,
    world::{Counts, Life, World},
};

/// When nothing goes wrong, something happens at least this often, as long as a run has not ended.
const STUCK: Duration = Duration::from_secs(45 * 60);

/// What became of a seed.
#[derive(Debug)]
pub(crate) struct Report {
    pub(crate) failure: Option<String>,
    pub(crate) trace: Vec<String>,
    pub(crate) counts: Counts,
}

/// Runs one seed.
pub(crate) fn simulate(seed: u64, variant: Option<Variant>, is_traced: bool) -> Report {
    simulate_in(Profile::of(seed).for_variant(variant), variant, is_traced)
}

/// Runs the world of a profile.
pub(crate) fn simulate_in(profile: Profile, variant: Option<Variant>, is_traced: bool) -> Report {
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().expect("a runtime");
    runtime.block_on(async {
        let world = World::new(profile, variant, is_traced);
        world.trace(|| format!("{:?}", world.profile));
        let mut actors = Actors::begin(&world);
        tokio::select! {
            biased;
            () = world.over() => {}
            ended = run(&world, &mut actors) => world.check(ended),
        }
        world.end();
        actors.end(&world).await;
        Report { failure: world.failure(), trace: world.take_trace(), counts: world.take_counts() }
    })
}

/// Everybody who acts.
struct Actors {
    users: JoinSet<()>,
    others: JoinSet<()>,
}

impl Actors {
    fn begin(world: &Arc<World>) -> Self {
        let (mut users, mut others) = (JoinSet::new(), JoinSet::new());
        let of = || Arc::clone(world);
        for index in 0..world.profile.processes {
            others.spawn(process::live(of(), index));
        }
        for index in 0..world.profile.executors {
            others.spawn(executor::live(of(), index));
        }
        for index in 0..world.profile.users {
            users.spawn(users::use_runs(of(), index));
        }
        others.spawn(users::approve_in_the_end(of()));
        others.spawn(followers::consume(of(), 0));
        if world.profile.is_shared {
            others.spawn(hints::break_etcd(of()));
        }
        Self { users, others }
    }

    /// Ends all that is still going on; whoever panicked was wrong.
    async fn end(mut self, world: &World) {
        for set in [&mut self.users, &mut self.others] {
            set.abort_all();
            while let Some(ended) = set.join_next().await {
                if let Err(error) = ended
                    && error.is_panic()
                {
                    let panic = error.into_panic();
                    let text = panic.downcast_ref::<String>().cloned();
                    let text = text.or_else(|| panic.downcast_ref::<&str>().map(|text| (*text).to_owned()));
                    world.fail(format!("somebody panicked: {}", text.unwrap_or_default()));
                }
            }
        }
    }
}

/// Everything from the first start to the last check.
async fn run(world: &Arc<World>, actors: &mut Actors) -> Result<(), String> {
    let mut observer = Observer::new(world);
    {
        let users = async {
            while let Some(ended) = actors.users.join_next().await {
                ended.map_err(|error| format!("a user ended with {error}"))?;
            }
            // Things go wrong for a while longer.
            tokio::time::sleep(Duration::from_secs(30) * world.profile.pace).await;
            Ok::<_, String>(())
        };
        tokio::select! {
            biased;
            () = observer.watch() => {}
            ended = users => ended?,
        }
    }
    world.calm_down();
    world.land_all().await;
    finish(world, &mut observer).await?;
    consumed(world, &mut observer).await?;
    let mut random = crate::random::Random::new(world.profile.seed, 600);
    let process = world.some_process(&mut random).await;
    // It sees what there is to see.
    let made = observer.history.position;
    for _ in 0..100 {
        if process.runs.now() >= runyard_runservice_core::EventSequence::ZERO && sees(world, &observer).await {
            break;
        }
        tokio::time::sleep(Duration::from_secs(5)).await;
    }
    observer.look().await;
    if observer.history.position != made {
        world.trace(|| "something was committed after all runs had ended".to_owned());
    }
    world.processes().iter().try_for_each(Life::check_audit)?;
    check(world, &observer.history, &process.runs).await
}

/// Waits until all runs have ended, and whatever expires has.
async fn finish(world: &Arc<World>, observer: &mut Observer) -> Result<(), String> {
    let (mut last, mut since) = (observer.history.position, Instant::now());
    loop {
        observer.look().await;
        let has_ended = observer.history.unfinished().is_empty() && observer.history.chores.is_empty();
        if has_ended && (world.profile.logs_keep_for.is_none() || observer.history.kept().is_empty()) {
            return Ok(());
        }
        if observer.history.position != last {
            (last, since) = (observer.history.position, Instant::now());
        }
        if since.elapsed() > STUCK {
            return Err(why_stuck(world, observer).await);
        }
        tokio::time::sleep(Duration::from_secs(10)).await;
    }
}

/// What is not at its end, and why it waits.
async fn why_stuck(world: &Arc<World>, observer: &Observer) -> String {
    let chores = observer.history.chores.values();
    let kept = if world.profile.logs_keep_for.is_some() { observer.history.kept() } else { Vec::new() };
    let mut why = "nothing happens any more, and left are".to_owned();
    why += &format!(" these chores, {chores:?}, the logs of these runs, {kept:?}, and these runs:");
    let Some(process) = world.processes().into_iter().next() else { return format!("{why} no process is alive") };
    for run in observer.history.unfinished() {
        match process.runs.get(&run).await {
            Ok(detail) => {
                let tasks = detail.tasks.values().filter(|task| !task.status.is_final());
                let tasks: Vec<_> = tasks
                    .map(|task| {
                        let view = detail.waiting_tasks.iter().find(|view| view.task == task.name);
                        let reason = view.map(|view| view.reason.to_string());
                        format!("{} {:?} {:?}, waits: {reason:?}", task.name, task.status, task.assignment)
                    })
                    .collect();
                let reason = detail.waiting.map(|reason| reason.to_string());
                why += &format!("\n  {run} {:?}, waits: {reason:?}\n    {}", detail.run.phase, tasks.join("\n    "));
            }
            Err(error) => why += &format!("\n  {run}: {error:?}"),
        }
    }
    why
}

/// Waits until the consumers of events have had all of them, and followers of logs have come to their end.
async fn consumed(world: &Arc<World>, observer: &mut Observer) -> Result<(), String> {
    let began = Instant::now();
    loop {
        observer.look().await;
        let all = observer.history.events.len();
        let is_done = {
            let promises = world.promises();
            promises.consumed.iter().all(|consumed| consumed.len() >= all) && promises.following == 0
        };
        if is_done {
            return Ok(());
        }
        if began.elapsed() > followers::FOLLOWERS_TAKE {
            let promises = world.promises();
            let given: Vec<_> = promises.consumed.iter().map(Vec::len).collect();
            return Err(format!("of {all} events, consumers were given {given:?}; {} follow logs", promises.following));
        }
        tokio::time::sleep(Duration::from_secs(5)).await;
    }
}

/// Whether every process sees that all runs have ended.
async fn sees(world: &Arc<World>, observer: &Observer) -> bool {
    for process in world.processes() {
        for run in observer.history.runs.keys() {
            if !process.runs.get(run).await.is_ok_and(|detail| detail.run.phase.is_final()) {
                return false;
            }
        }
    }
    true
}

/// Runs seeds on all processors. Returns the first one that fails, or how often what happened.
pub(crate) fn simulate_all(seeds: Range<u64>, variant: Option<Variant>) -> Result<Counts, (u64, String)> {
    let threads = std::thread::available_parallelism().map_or(2, usize::from) as u64;
    let next = AtomicU64::new(seeds.start);
    let failed = Mutex::new(BTreeMap::new());
    let counts = Mutex::new(Counts::new());
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                loop {
                    let seed = next.fetch_add(1, Ordering::Relaxed);
                    if seed >= seeds.end || !failed.lock().expect("not poisoned").is_empty() {
                        return;
                    }
                    let report = simulate(seed, variant, false);
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
