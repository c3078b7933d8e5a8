//! How does a process of the run service live and die?
//!
//! It opens the store, runs the service for a while, and is killed or closed; then it starts again. When nothing goes
//! wrong any more, the life that it has goes on to the end.

use std::{sync::Arc, time::Duration};

use runyard_datamanager::{
    DataManager, Error, VirtualUptime, WalDataManager,
    coordinator::{Coordinator, ModelCoordinator},
};
use runyard_objectstorage::ObjectStorage;
use runyard_runservice_core::{
    IdSource, RUN_DATA, RunService, Settings,
    scheduler::{DefaultScheduler, Scheduler},
};
use tokio_util::sync::CancellationToken;

use crate::{
    clock::Clock,
    random::Random,
    storage::Machine,
    variants::{Chosen, Overbooking, Reckless, Unconditional, Variant},
    world::{Life, World},
};

/// Lives again and again, until all is over.
pub(crate) async fn live(world: Arc<World>, index: u64) {
    let mut random = Random::new(world.profile.seed, 100 + index);
    for life in 0.. {
        let name: Arc<str> = format!("p{index}.{life}").into();
        live_once(&world, index, life, &name, &mut random).await;
        if world.is_over() {
            return;
        }
        let pause = random.mostly_short(3_000, 40_000) * world.profile.pace;
        world.calm_or_sleep(pause).await;
    }
}

async fn live_once(world: &Arc<World>, index: u64, life: u64, name: &Arc<str>, random: &mut Random) {
    let machine = Machine::new(world, name, Random::new(random.next(), life));
    let is_killed = random.chance(world.profile.kills);
    let until = random.mostly_short(20_000, 120_000) * world.profile.pace;
    // Killed or closed; when nothing goes wrong any more, neither.
    let end = async {
        tokio::time::sleep(until).await;
        if world.is_calm() {
            std::future::pending::<()>().await;
        }
    };
    tokio::pin!(end);
    let coordinator = world.profile.is_shared.then(|| Arc::new(world.etcd.connect(&**name)));
    let opening = open(world, &machine, coordinator.as_ref(), [index, life]);
    let data = tokio::select! {
        biased;
        () = world.over() => return,
        () = &mut end, if is_killed => {
            kill(world, &machine, name);
            return;
        }
        data = opening => data,
    };
    let Some(data) = data else { return };
    let runs = service(world, &machine, data.clone(), coordinator, index, random);
    let (shutdown, ended) = (CancellationToken::new(), CancellationToken::new());
    world.process_began(index, Life { name: Arc::clone(name), runs: runs.clone(), ended });
    let working = tokio::select! {
        biased;
        () = world.over() => return,
        worked = runs.run(shutdown.clone()) => Err(worked),
        () = end => Ok(()),
    };
    world.process_ended(index);
    match working {
        Err(worked) => world.fail(format!("the workers of {name} ended by themselves: {worked:?}")),
        Ok(()) if is_killed => {
            world.count("kills of processes");
            kill(world, &machine, name);
        }
        Ok(()) => {
            world.count("processes that were closed");
            world.trace(|| format!("{name} is closed"));
            data.close().await;
        }
    }
}

fn kill(world: &World, machine: &Machine, name: &str) {
    world.trace(|| format!("{name} is killed"));
    world.etcd.cut_off(name);
    machine.kill();
}

/// Opens as often as it takes.
async fn open(
    world: &Arc<World>,
    machine: &Machine,
    coordinator: Option<&Arc<ModelCoordinator>>,
    [index, life]: [u64; 2],
) -> Option<WalDataManager> {
    for attempt in 0_u64.. {
        let mut id = [0; 16];
        // What failed to open may still write, and files are named after the first half.
        for (part, number) in id.chunks_exact_mut(4).zip([index | attempt << 8, life, attempt, 7]) {
            part.copy_from_slice(&(number as u32).to_be_bytes());
        }
        let mut builder = WalDataManager::builder(Arc::new(machine.clone()) as Arc<dyn ObjectStorage>)
            .base_path(RUN_DATA)
            .uptime(Arc::new(VirtualUptime::new()))
            .commit_timeout(world.profile.commit_timeout)
            .checkpoint_log_bytes(u64::MAX)
            .checkpoint_batches(u64::MAX)
            .checkpoint_age(Duration::MAX)
            .writer_id(id);
        if let Some(coordinator) = coordinator {
            builder = builder.coordinator(Arc::clone(coordinator) as Arc<dyn Coordinator>);
        }
        match builder.open().await {
            Ok(data) => return Some(data),
            Err(Error::Storage { .. } | Error::OutcomeUnknown { .. }) => {}
            Err(error) => {
                world.fail(format!("p{index}.{life} cannot open the store: {error:?}"));
                return None;
            }
        }
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
    None
}

/// What the engine is given to decide with.
pub(crate) fn scheduler(world: &World) -> Box<dyn Scheduler> {
    let scheduler = DefaultScheduler::default();
    match world.variant {
        Some(Variant::SchedulerOverbooks) => Box::new(Overbooking(scheduler)),
        Some(Variant::SchedulerIgnoresConditions) => Box::new(Unconditional(scheduler)),
        _ => Box::new(scheduler),
    }
}

fn service(
    world: &Arc<World>,
    machine: &Machine,
    data: WalDataManager,
    coordinator: Option<Arc<ModelCoordinator>>,
    index: u64,
    random: &mut Random,
) -> RunService {
    let data: Arc<dyn DataManager> = match world.is(Variant::DataChecksNothing) {
        true => Arc::new(Reckless(data)),
        false => Arc::new(data),
    };
    let (lost_after, logs_keep_for) = (world.profile.lost_after, world.profile.logs_keep_for);
    let settings = Settings { lost_after, logs_keep_for, ..Settings::default() };
    let mut builder = RunService::builder(data, machine.clone())
        .clock(Clock::new(world.began, index))
        .ids(IdSource::from_seed(random.next()))
        .settings(settings)
        .scheduler(Chosen(scheduler(world)))
        .process_name(format!("p{index}"));
    if let Some(coordinator) = coordinator {
        builder = builder.coordinator(coordinator);
    }
    builder.build()
}
