//! How long does it take until another process sees a commit, and what does etcd have to do for it?
//!
//! One process leads and commits at a moderate rate, another one follows. After that etcd is frozen for a while: commits
//! go on at their pace, because none of them asks it anything.

use std::{collections::HashMap, time::Duration};

use futures::StreamExt;
use runyard_datamanager::{DataManager, Leadership, Position, conformance::history::Outcome, coordinator::Coordinator};
use rustix::process::Signal;
use tokio::time::{Instant, sleep, sleep_until};

use crate::{
    arguments::Arguments,
    checks, leader,
    observer::Board,
    place::{Place, now},
    record::Line,
    server::Cluster,
    stage::{self, Stage},
    worker::{Load, Worker},
};

const COMMIT_EVERY: Duration = Duration::from_millis(10);
const FROZEN_FOR: Duration = Duration::from_secs(2);
const TARGET: Duration = Duration::from_millis(20);

/// The worker that commits.
pub(crate) async fn commit(worker: Worker) {
    let _candidacy = worker.coordinator.campaign("scheduler").await.unwrap();
    let leadership = Leadership::acquire(&worker.data, "scheduler", "the one that commits").await.unwrap();
    let mut next = Instant::now();
    while !worker.stop.is_cancelled() {
        leader::append(&worker, &leadership).await.unwrap();
        next += COMMIT_EVERY;
        sleep_until(next).await;
    }
}

/// The worker that follows.
pub(crate) async fn see(worker: Worker) {
    let mut followed = worker.data.follow(worker.data.snapshot().position());
    let stop = worker.stop.clone();
    let note = async {
        while let Some(committed) = followed.next().await {
            worker.recorder.write(&Line::Saw { position: committed.unwrap().position, at: now() });
        }
    };
    stop.run_until_cancelled(note).await;
}

pub(crate) async fn run(arguments: &Arguments) {
    let directory = stage::directory();
    let place = Place::Directory(directory.path().join("storage"));
    let mut stage = Stage::set(arguments, directory, place).await;
    stage.start(Load::See);
    stage.start(Load::Commit);
    let is_led = |board: &Board| board.leader.is_some();
    stage.observer.wait_for("the leader commits", stage::BACK_WITHIN, is_led).await;
    // Until everything is warm.
    sleep(Duration::from_secs(1)).await;
    let (from, before) = (now(), changes(&stage.cluster).await);
    sleep(arguments.length).await;
    let (to, after) = (now(), changes(&stage.cluster).await);
    stage.cluster.signal(0, Signal::STOP);
    let frozen = now();
    sleep(FROZEN_FOR).await;
    let thawed = now();
    stage.cluster.signal(0, Signal::CONT);
    let gathered = checks::check(stage.end().await);

    let mut seen: HashMap<Position, Duration> = HashMap::new();
    for line in gathered.followed.iter().flat_map(|(_, lines)| lines) {
        if let Line::Saw { position, at } = line {
            seen.insert(*position, *at);
        }
    }
    let in_time = |from, to| move |returned: &Duration| (from..to).contains(returned);
    let measured = in_time(from, to);
    let answered: Vec<_> = gathered.led.iter().filter(|led| measured(&led.returned)).collect();
    let late = answered.iter().map(|led| seen[&led.position].saturating_sub(led.returned)).collect();
    let [p50, p99, most] = percentiles(late);
    let met = if p99 <= TARGET { "met" } else { "MISSED" };
    println!(
        "{} commits; seen by the other process after they were acknowledged: p50 {p50:.1?}, p99 {p99:.1?}, at most \
         {most:.1?}; target p99 {TARGET:?}: {met}",
        answered.len()
    );
    println!(
        "etcd made {} changes meanwhile: {:.2} per commit",
        after - before,
        (after - before) as f64 / answered.len() as f64
    );
    for (what, within) in [("with etcd", measured), ("while etcd was frozen", in_time(frozen, thawed))] {
        let took = gathered.operations.iter().filter_map(|operation| match operation.outcome {
            Outcome::Acknowledged { returned, .. } if within(&returned) => Some(returned - operation.invoked),
            _ => None,
        });
        let took: Vec<_> = took.collect();
        let number = took.len();
        let [p50, p99, most] = percentiles(took);
        println!("{number} commits {what} took: p50 {p50:.1?}, p99 {p99:.1?}, at most {most:.1?}");
    }
}

/// How often etcd has changed anything. Keep-alives are no changes.
async fn changes(cluster: &Cluster) -> u64 {
    let status = cluster.ctl(&["-w", "json", "endpoint", "status"]).await;
    let status: serde_json::Value = serde_json::from_str(&status).unwrap();
    status[0]["Status"]["header"]["revision"].as_u64().unwrap()
}

fn percentiles(mut times: Vec<Duration>) -> [Duration; 3] {
    times.sort_unstable();
    let at = |share: usize| times.get(times.len() * share / 100).or(times.last()).copied().unwrap_or_default();
    [at(50), at(99), at(100)]
}
