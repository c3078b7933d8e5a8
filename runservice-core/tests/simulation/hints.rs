//! What goes wrong with the etcd? Processes are cut off from it, and it is stopped, wiped, rolled back and compacted.

use std::{sync::Arc, time::Duration};

use crate::{random::Random, world::World};

/// How long it lasts at most.
const LONGEST_MILLIS: u64 = 40_000;

/// Breaks the etcd until nothing goes wrong any more, and leaves it whole.
pub(crate) async fn break_etcd(world: Arc<World>) {
    let mut random = Random::new(world.profile.seed, 500);
    let (etcd, pause) = (&world.etcd, random.pick(&[5_000, 30_000, 120_000]));
    let mut before = etcd.snapshot();
    while !world.is_calm() {
        let pause = random.millis(1..pause) * world.profile.pace;
        world.calm_or_sleep(pause).await;
        if world.is_calm() {
            break;
        }
        let took = random.millis(0..LONGEST_MILLIS);
        match random.below(9) {
            0 => {
                world.count("ends of etcd");
                world.trace(|| format!("etcd is down for {took:?}"));
                etcd.stop();
                world.calm_or_sleep(took).await;
                etcd.start();
            }
            1 => {
                world.trace(|| "etcd is wiped".to_owned());
                etcd.wipe();
            }
            2 => {
                world.trace(|| "etcd is rolled back".to_owned());
                etcd.restore(&before);
            }
            3 => etcd.compact(),
            4 | 5 => {
                let Some(leader) = etcd.leaders("scheduler").pop() else { continue };
                world.count("leaders whose lease was lost");
                world.trace(|| format!("the lease of {leader} ends, which places the tasks"));
                etcd.revoke_lease(&leader);
            }
            6 | 7 => cut_off(&world, &mut random, took).await,
            _ => {
                etcd.hold_announcements();
                world.calm_or_sleep(took).await;
                etcd.release_announcements();
            }
        }
        if random.chance(200) {
            before = etcd.snapshot();
        }
    }
    etcd.start();
    etcd.release_announcements();
    etcd.processes().iter().filter(|name| is_alive(&world, name)).for_each(|name| etcd.reconnect(name));
}

async fn cut_off(world: &Arc<World>, random: &mut Random, took: Duration) {
    let alive = world.processes();
    if alive.is_empty() {
        return;
    }
    let name = &alive[random.below(alive.len() as u64) as usize].name;
    world.count("processes that were cut off from etcd");
    world.trace(|| format!("{name} is cut off from etcd for {took:?}"));
    world.etcd.cut_off(name);
    world.calm_or_sleep(took).await;
    // One that was killed meanwhile stays as it is.
    if is_alive(world, name) {
        world.etcd.reconnect(name);
    }
}

fn is_alive(world: &World, name: &str) -> bool {
    world.processes().iter().any(|life| *life.name == *name)
}
