//! Who asks for checkpoints, and puts a store into maintenance?
//!
//! One of them in each life of a process, beside its callers.

use std::{sync::Arc, time::Duration};

use runyard_datamanager::{Action, DataManager, Error, WalDataManager};

use crate::{
    profile::Upkeep,
    random::Random,
    world::{MAINTENANCE, SYSTEM, World},
};

/// For how long a maintenance is left alone that somebody else began.
const PATIENCE: Duration = Duration::from_secs(20);

/// Makes checkpoints and maintains, until there is nothing left to try.
pub(crate) async fn keep(world: Arc<World>, life: Arc<str>, data: WalDataManager, mut random: Random) {
    let longest = random.pick(&[500, 5_000, 20_000]);
    while world.has_operations() {
        let pause = random.millis(0..longest) * world.profile.pace;
        tokio::time::sleep(pause).await;
        if let Some(error @ Error::Corrupt { .. }) = data.status().checkpoint_error {
            return world.fail(format!("{life} cannot make checkpoints, or clean: {error:?}"));
        }
        let done = match random.below(20) {
            _ if data.status().maintenance.is_some() && random.chance(500) => leave(&world, &life, &data).await,
            0 if world.profile.upkeep == Upkeep::Asked => maintain(&world, &life, &data, &mut random).await,
            1..4 if world.profile.upkeep == Upkeep::Asked => data.catch_up().await,
            _ if world.profile.upkeep == Upkeep::Asked => checkpoint(&world, &life, &data).await,
            _ => Ok(()),
        };
        match done {
            Ok(())
            | Err(
                Error::Storage { .. }
                | Error::OutcomeUnknown { .. }
                | Error::Maintenance { .. }
                | Error::TakenOver { .. },
            ) => {}
            // It slept between its snapshot and the read.
            Err(Error::PositionExpired { .. }) => world.expect_expiry(&life),
            Err(Error::Closed) => return,
            Err(error) => return world.fail(format!("{life} cannot keep the store in order: {error:?}")),
        }
    }
}

/// What is visible before a checkpoint is in it.
pub(crate) async fn checkpoint(world: &World, life: &str, data: &WalDataManager) -> Result<(), Error> {
    let visible = data.snapshot().position();
    let made = data.checkpoint().await?;
    world.trace(|| format!("{life} has checkpoint {} up to {}", made.number, made.position));
    world.count(if made.bytes_written > 0 { "checkpoints" } else { "checkpoints that were there already" });
    if made.position < visible {
        world.fail(format!("{life} sees {visible}, and made a checkpoint up to {}", made.position));
    }
    Ok(())
}

async fn maintain(
    world: &Arc<World>,
    life: &Arc<str>,
    data: &WalDataManager,
    random: &mut Random,
) -> Result<(), Error> {
    let id = world.begin(life);
    let reason = format!("\"t{id}/maintenance\"");
    world.describe(id, |attempt| {
        let collection = || SYSTEM.to_owned();
        let begin = Action::Put { collection: collection(), key: MAINTENANCE.into(), value: reason.clone().into() };
        // An import that was left unfinished in the maintenance before does not count in this one.
        attempt.actions = vec![begin, Action::Delete { collection: collection(), key: "import".into() }];
    });
    let answer = data.enter_maintenance(&reason).await;
    world.answer(id, &answer);
    answer?;
    world.count("maintenances");
    let pause = random.millis(0..PATIENCE.as_millis() as u64);
    tokio::time::sleep(pause).await;
    leave(world, life, data).await
}

/// Ends maintenance, whoever began it.
pub(crate) async fn leave(world: &World, life: &str, data: &WalDataManager) -> Result<(), Error> {
    let left = data.leave_maintenance().await;
    world.trace(|| format!("{life} leaves maintenance: {left:?}"));
    left.map(drop)
}
