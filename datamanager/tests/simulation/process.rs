//! How does a process live and die?
//!
//! It opens the store, its clients, its observer and its keeper work for a while, and it is killed, closed or just let
//! go of; then it starts again. The last life goes on until there is nothing left to try.

use std::sync::Arc;

use runyard_datamanager::{
    DataManager, Error, WalBuilder, WalDataManager,
    coordinator::{Coordinator, EmbeddedCoordinator},
};
use runyard_objectstorage::ObjectStorage;
use tokio::task::JoinSet;

use crate::{
    client::Client, clock::Clock, keeper::keep, machine::Machine, observer::observe, profile::Upkeep, random::Random,
    world::World,
};

/// How a life ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum End {
    /// In the middle of whatever it does.
    Killed,
    /// In good order.
    Closed,
    /// Its callers go away in the middle of what they do, and nobody closes anything.
    LetGo,
    /// Not before all is done.
    Last,
}

/// Lives until nothing is left to try. Returns the data manager of the last life, if it is open.
pub(crate) async fn live(world: Arc<World>, index: u64) -> Option<(Arc<str>, WalDataManager)> {
    let mut random = Random::new(world.profile.seed, 100 + index);
    for life in 0.. {
        let name: Arc<str> = format!("p{index}.{life}").into();
        let machine = Machine::new(&world, &name, Random::new(random.next(), life));
        let end = match random.below(1_000) {
            _ if life > 8 => End::Last,
            drawn if drawn < world.profile.kills => End::Killed,
            drawn if drawn % 4 == 0 => End::LetGo,
            drawn if drawn % 4 == 1 => End::Last,
            _ => End::Closed,
        };
        let until = {
            let (short, long) = (random.millis(1..500), random.millis(500..60_000) * world.profile.pace);
            tokio::time::sleep(if random.chance(300) { short } else { long })
        };
        tokio::pin!(until);
        let writer = |attempt: u64| {
            let mut id = [0; 16];
            // What failed to open may still write, and files are named after the first half.
            for (part, number) in id.chunks_exact_mut(4).zip([index | attempt << 8, life, attempt, 7]) {
                part.copy_from_slice(&(number as u32).to_be_bytes());
            }
            id
        };
        let coordinator = coordinator(&world, index, &name);
        let data = tokio::select! {
            biased;
            () = &mut until, if end == End::Killed => {
                machine.kill();
                world.etcd.cut_off(&name);
                world.count("kills while opening");
                continue;
            }
            opened = open(&world, &machine, index, coordinator.as_ref(), writer) => opened?,
        };
        let mut callers = JoinSet::new();
        for _ in 0..world.profile.clients {
            let (world, life) = (Arc::clone(&world), Arc::clone(&name));
            let random = Random::new(random.next(), 0);
            let (data, coordinator) = (data.clone(), coordinator.clone());
            let client = Client { world, life, data, random, held: None, leads: None, coordinator, candidacy: None };
            callers.spawn(client.run());
        }
        drop(coordinator);
        let (watches, keeps) = (Random::new(random.next(), 0), Random::new(random.next(), 0));
        if !matches!(world.profile.upkeep, Upkeep::Automatic { .. }) {
            callers.spawn(observe(Arc::clone(&world), Arc::clone(&name), data.clone(), watches));
        }
        if world.profile.upkeep != Upkeep::None {
            callers.spawn(keep(Arc::clone(&world), Arc::clone(&name), data.clone(), keeps));
        }
        tokio::select! {
            biased;
            () = finish(&world, &mut callers) => return Some((name, data)),
            () = until, if end != End::Last => {}
        }
        world.trace(|| format!("{name} ends: {end:?}"));
        world.is_sharing_no_more(&name);
        world.count(match end {
            End::Killed => "kills",
            End::Closed | End::Last => "ends in good order",
            End::LetGo => "ends without a word",
        });
        match end {
            End::Killed => {
                machine.kill();
                world.etcd.cut_off(&name);
                callers.shutdown().await;
            }
            End::LetGo => {
                world.callers_are_gone(&name, u64::MAX);
                callers.shutdown().await;
            }
            End::Closed | End::Last => {
                data.close().await;
                finish(&world, &mut callers).await;
            }
        }
        drop(data);
        let pause = random.millis(0..5_000) * world.profile.pace;
        tokio::time::sleep(pause).await;
        if !world.has_operations() {
            break;
        }
    }
    None
}

/// Whose hints a life follows.
fn coordinator(world: &World, index: u64, name: &Arc<str>) -> Option<Arc<dyn Coordinator>> {
    let coordination = world.profile.coordination;
    if coordination.shares(index) {
        Some(Arc::new(world.etcd.connect(&**name)))
    } else if coordination.is_sole(index) {
        Some(Arc::new(EmbeddedCoordinator::new().holder(&**name)))
    } else {
        None
    }
}

/// Opens as often as it takes.
async fn open(
    world: &Arc<World>,
    machine: &Machine,
    index: u64,
    coordinator: Option<&Arc<dyn Coordinator>>,
    writer: impl Fn(u64) -> [u8; 16],
) -> Option<WalDataManager> {
    for attempt in 0.. {
        // Many reads are not all lucky by themselves.
        machine.be_lucky(attempt > 2);
        let acknowledged = world.acknowledged();
        let mut builder = builder(world, Arc::new(machine.clone()), index).writer_id(writer(attempt));
        if let Some(coordinator) = coordinator {
            builder = builder.coordinator(Arc::clone(coordinator));
        }
        match builder.open().await {
            Ok(data) => {
                world.opened(writer(attempt), data.watch_status(), machine, world.profile.coordination.shares(index));
                world.trace(|| format!("{} is open", machine.name));
                machine.be_lucky(false);
                if data.snapshot().position() < acknowledged {
                    world.fail(format!("{} was opened after {acknowledged}, and does not see it", machine.name));
                }
                return Some(data);
            }
            Err(error @ (Error::Storage { .. } | Error::OutcomeUnknown { .. })) => {
                world.trace(|| format!("{} does not open: {error:?}", machine.name));
            }
            Err(error) => {
                world.fail(format!("{} cannot be opened: {error:?}", machine.name));
                return None;
            }
        }
        tokio::time::sleep(std::time::Duration::from_secs(1)).await;
    }
    None
}

/// A data manager with the settings of the world.
pub(crate) fn builder(world: &World, storage: Arc<dyn ObjectStorage>, process: u64) -> WalBuilder {
    let profile = &world.profile;
    WalDataManager::builder(storage)
        .base_path(profile.base_path)
        .uptime(Arc::new(Clock::new(process)))
        .commit_timeout(profile.commit_timeout)
        // Some remember more than others.
        .history_transactions_max(profile.history_transactions_max << (process % 2))
        .recent_bytes_max(profile.recent_bytes_max)
        .queue_bytes_max(profile.queue_bytes_max)
        .data_file_size_max(profile.data_file_size_max)
        .cache_bytes_max(profile.cache_bytes_max)
        .checkpoint_log_bytes(u64::MAX)
        .checkpoint_batches(match profile.upkeep {
            Upkeep::Automatic { batches } => batches,
            Upkeep::None | Upkeep::Asked => u64::MAX,
        })
        .checkpoint_age(std::time::Duration::MAX)
}

async fn finish(world: &World, callers: &mut JoinSet<()>) {
    while let Some(ended) = callers.join_next().await {
        if let Err(error) = ended {
            world.fail(format!("a caller ended with {error}"));
        }
    }
}
