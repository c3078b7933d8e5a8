//! What do followers and waiters see?
//!
//! One of them in each life of a process: whoever waits for news of one store is woken in an order that tokio draws by
//! itself, and a simulation must be repeatable.

use std::{sync::Arc, time::Duration};

use futures::StreamExt;
use runyard_datamanager::{DataManager, Error, Position, WalDataManager};

use crate::{
    random::Random,
    world::{Followed, World},
};

/// Follows, stops, goes on, and waits for positions of other processes.
pub(crate) async fn observe(world: Arc<World>, life: Arc<str>, data: WalDataManager, mut random: Random) {
    let mut after = Position::ZERO;
    while world.has_operations() {
        let pause = random.millis(1..5_000) * world.profile.pace;
        tokio::time::sleep(pause).await;
        if random.chance(300) {
            let position = world.acknowledged();
            match data.wait_for(position).await {
                Ok(()) if data.snapshot().position() >= position => {}
                Ok(()) => return world.fail(format!("{life} waited for {position} and does not see it")),
                Err(Error::Closed) => return,
                Err(Error::Storage { .. }) => {}
                Err(error) => return world.fail(format!("{life} waited for {position}: {error:?}")),
            }
            continue;
        }
        if random.chance(100) {
            after = Position::ZERO;
        }
        let patience = random.millis(1..20_000);
        let Some(last) = follow(&world, &life, &data, after, random.between(1..20), patience).await else { return };
        after = last;
    }
}

/// Follows for a while. Returns the last position; none if there is no more to be followed.
async fn follow(
    world: &World,
    life: &Arc<str>,
    data: &WalDataManager,
    after: Position,
    count: u64,
    patience: Duration,
) -> Option<Position> {
    let mut items = Vec::new();
    let mut stream = data.follow(after);
    let mut is_over = false;
    for _ in 0..count {
        match tokio::time::timeout(patience, stream.next()).await {
            Err(_) => break,
            Ok(Some(Ok(committed))) => items.push(committed),
            Ok(Some(Err(Error::Storage { .. }))) => break,
            Ok(Some(Err(Error::PositionExpired { position, .. }))) => {
                world.count("followers that came too late");
                if position.lsn >= world.disk.floor() {
                    world.fail(format!("{life} was told that {position} is gone, and the log has it"));
                }
                world.follow_ended(Followed { life: Arc::clone(life), after, items });
                // What it missed it finds in a snapshot.
                return Some(data.snapshot().position());
            }
            Ok(Some(Err(error))) => {
                world.fail(format!("{life} followed from {after}: {error:?}"));
                is_over = true;
                break;
            }
            Ok(None) => {
                is_over = true;
                break;
            }
        }
    }
    let last = items.last().map_or(after, |item| item.position);
    world.follow_ended(Followed { life: Arc::clone(life), after, items });
    (!is_over).then_some(last)
}
