//! What goes wrong with the etcd?
//!
//! Two of them in a world that has one: one cuts processes off and holds what they say, the other one breaks the etcd
//! itself.

use std::sync::Arc;

use crate::{random::Random, world::World};

/// How long processes go without hints at most; and nothing is held for longer.
const LONGEST_MILLIS: u64 = 20_000;

/// Cuts processes off, and lets announcements arrive late.
pub(crate) async fn break_links(world: Arc<World>, mut random: Random) {
    let (etcd, pause) = (&world.etcd, random.pick(&[2_000, 20_000, 60_000]));
    while world.has_operations() {
        let pause = random.millis(1..pause) * world.profile.pace;
        tokio::time::sleep(pause).await;
        let took = random.millis(0..LONGEST_MILLIS);
        if random.chance(400) {
            world.trace(|| format!("announcements are held for {took:?}"));
            etcd.hold_announcements();
            tokio::time::sleep(took).await;
            if random.chance(500) {
                // What was held is lost, and so is the number itself: only a gap tells of it.
                world.trace(|| "etcd is wiped, with what was held".to_owned());
                etcd.wipe();
            }
            etcd.release_announcements();
            continue;
        }
        let sharing = world.sharing();
        if sharing.is_empty() {
            continue;
        }
        let life = &sharing[random.below(sharing.len() as u64) as usize];
        world.count("processes that were cut off from etcd");
        world.trace(|| format!("{life} is cut off from etcd for {took:?}"));
        etcd.cut_off(life);
        tokio::time::sleep(took).await;
        reconnect(&world, life);
    }
}

/// Ends and starts the etcd, and makes it forget.
pub(crate) async fn break_etcd(world: Arc<World>, mut random: Random) {
    let (etcd, pause) = (&world.etcd, random.pick(&[5_000, 20_000, 60_000]));
    let mut before = etcd.snapshot();
    while world.has_operations() {
        let pause = random.millis(1..pause) * world.profile.pace;
        tokio::time::sleep(pause).await;
        match random.below(6) {
            0 => {
                let took = random.millis(0..LONGEST_MILLIS);
                world.count("ends of etcd");
                world.trace(|| format!("etcd is down for {took:?}"));
                etcd.stop();
                tokio::time::sleep(took).await;
                etcd.start();
                world.sharing().iter().for_each(|life| world.was_announced(life));
            }
            1 => {
                world.count("wiped etcds");
                world.trace(|| "etcd is wiped".to_owned());
                etcd.wipe();
            }
            2 => {
                world.count("etcds that were rolled back");
                world.trace(|| "etcd is rolled back".to_owned());
                etcd.restore(&before);
            }
            3 => {
                world.count("compacted watches");
                world.trace(|| "etcd is compacted".to_owned());
                etcd.compact();
            }
            4 => {
                let role = random.pick(&["all", "checkpoints"]);
                let Some(leader) = etcd.leaders(role).pop() else { continue };
                world.count("leases that were lost while holding");
                world.trace(|| format!("the lease of {leader} ends, which leads {role}"));
                etcd.revoke_lease(&leader);
            }
            _ => before = etcd.snapshot(),
        }
    }
}

/// Ends everything that is wrong with it.
pub(crate) fn mend(world: &Arc<World>) {
    world.etcd.start();
    world.etcd.release_announcements();
    world.sharing().iter().for_each(|life| reconnect(world, life));
}

/// What a process was acknowledged meanwhile, it announces now.
fn reconnect(world: &Arc<World>, life: &Arc<str>) {
    // One that was killed meanwhile stays as it is.
    if world.sharing().contains(life) {
        world.etcd.reconnect(life);
        world.was_announced(life);
    }
}

/// When nothing has been wrong for a while, all see what they were told of, and one of them leads each role.
pub(crate) fn check(world: &World, uncovered_max: Option<u64>) -> Result<(), String> {
    let (shown, told) = world.shown();
    for (life, status) in &shown {
        if status.position < told {
            return Err(format!("{life} sees {}, and was told of {told}", status.position));
        }
        if uncovered_max.is_some_and(|max| status.log_batches >= max) {
            let batches = status.log_batches;
            return Err(format!(
                "{life} keeps {batches} batches in memory, and a checkpoint is made of {uncovered_max:?}"
            ));
        }
    }
    let leaders = world.etcd.leaders("checkpoints");
    let is_right = match &leaders[..] {
        [] => shown.is_empty(),
        [leader] => shown.iter().any(|(life, _)| **life == **leader),
        _ => false,
    };
    if !is_right {
        let sharing: Vec<_> = shown.iter().map(|(life, _)| life).collect();
        return Err(format!("of {sharing:?}, the checkpoints are led by {leaders:?}"));
    }
    Ok(())
}
