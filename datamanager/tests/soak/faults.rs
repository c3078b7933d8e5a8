//! Everything is right, and everybody is back, whatever is broken: processes, etcd, and the storage.

use std::time::Duration;

use rustix::process::Signal;
use tokio::time::{Instant, sleep};

use crate::{
    arguments::Arguments,
    checks,
    leaders::PROCESSES,
    place::Place,
    random::Random,
    s3::S3Server,
    stage::{self, LEASE, Stage},
    worker::Load,
};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fault {
    Kill,
    KillOfTheLeader,
    KillOfAll,
    Pause,
    PauseOfTheLeader,
    EtcdKilled,
    EtcdKilledAndAProcess,
    EtcdPaused,
    EtcdWiped,
    EtcdRestored,
    StoragePaused,
}

const FAULTS: [Fault; 11] = [
    Fault::Kill,
    Fault::KillOfTheLeader,
    Fault::KillOfAll,
    Fault::Pause,
    Fault::PauseOfTheLeader,
    Fault::EtcdKilled,
    Fault::EtcdKilledAndAProcess,
    Fault::EtcdPaused,
    Fault::EtcdWiped,
    Fault::EtcdRestored,
    Fault::StoragePaused,
];

pub(crate) async fn run(arguments: &Arguments) {
    let directory = stage::directory();
    let s3 = S3Server::start(directory.path()).await;
    let place = Place::Bucket { endpoint: s3.endpoint.clone() };
    let mut stage = Stage::set(arguments, directory, place).await;
    (0..PROCESSES).for_each(|_| stage.start(Load::Mix));
    println!("everybody committed after {:.1?}", stage.are_back().await);
    let mut random = Random::new(arguments.seed, 2);
    let end = Instant::now() + arguments.length;
    let (mut left, mut longest) = (Vec::new(), Duration::ZERO);
    while Instant::now() < end {
        // Each of them once before any of them again.
        if left.is_empty() {
            left = FAULTS.to_vec();
        }
        let fault = left.swap_remove(random.below(left.len() as u64) as usize);
        strike(fault, &mut stage, &s3, &mut random).await;
        let took = stage.are_back().await;
        println!("{fault:?}: every process committed again after {took:.1?}");
        longest = longest.max(took);
        sleep(random.millis(500..3_000)).await;
    }
    println!("the longest time until every process committed again: {longest:.1?}");
    let ended = stage.end().await;
    checks::check(ended);
}

/// Does something, and undoes it.
async fn strike(fault: Fault, stage: &mut Stage, s3: &S3Server, random: &mut Random) {
    let slot = random.below(PROCESSES as u64) as usize;
    let leader = stage.leader().unwrap_or(slot);
    match fault {
        Fault::Kill => stage.replace(slot).await,
        Fault::KillOfTheLeader => stage.replace(leader).await,
        Fault::KillOfAll => {
            for slot in 0..PROCESSES {
                stage.replace(slot).await;
            }
        }
        Fault::Pause => stage.pause(slot).await,
        Fault::PauseOfTheLeader => stage.pause(leader).await,
        Fault::EtcdKilled => {
            stage.cluster.kill_all().await;
            sleep(random.millis(500..6_000)).await;
            stage.cluster.start_all().await;
        }
        Fault::EtcdKilledAndAProcess => {
            stage.cluster.kill_all().await;
            stage.replace(leader).await;
            sleep(random.millis(500..4_000)).await;
            stage.cluster.start_all().await;
        }
        Fault::EtcdPaused => {
            stage.cluster.signal(0, Signal::STOP);
            sleep(LEASE + random.millis(500..2_000)).await;
            stage.cluster.signal(0, Signal::CONT);
        }
        Fault::EtcdWiped => {
            stage.cluster.kill_all().await;
            stage.cluster.wipe();
            stage.cluster.start_all().await;
        }
        Fault::EtcdRestored => {
            let snapshot = stage.cluster.snapshot().await;
            // Somebody else leads by the time of the restoring, and much was announced.
            stage.replace(leader).await;
            stage.are_back().await;
            stage.cluster.kill_all().await;
            stage.cluster.restore(&snapshot).await;
            stage.cluster.start_all().await;
        }
        Fault::StoragePaused => {
            s3.signal(Signal::STOP);
            sleep(random.millis(1_000..8_000)).await;
            s3.signal(Signal::CONT);
        }
    }
}
