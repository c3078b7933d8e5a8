//! What do the writers of a process do?
//!
//! Everything that a store could get wrong, on so few entries that they meet: counters, transfers between accounts,
//! pairs of which one decides by the other, names, plain entries that come and go, and reads of many entries at once.

use std::time::Duration;

use runyard_datamanager::Error;
use tokio::time::sleep;

use crate::{
    place::now,
    random::Random,
    record::{Begun, Entry, what},
    worker::{Asked, RETRY_DELAY, Worker},
};

pub(crate) const ACCOUNTS: u64 = 12;
const COUNTERS: u64 = 24;
const PAIRS: u64 = 12;
const PLAIN: u64 = 64;
/// The entries of this collection are created once.
pub(crate) const NAMES: &str = "names";
/// How long it is until the writers go over to the next name.
const NAME_EVERY: Duration = Duration::from_millis(100);

/// The entries that there are before anybody begins.
pub(crate) fn initial(begun: &mut Begun) {
    let account = |n: u64| ("accounts".to_owned(), n.to_string(), Some(format!("100#0.{n}")));
    begun.writes.extend((0..ACCOUNTS).map(account));
}

pub(crate) async fn run(worker: Worker, writer: u64) {
    let mut random = Random::new(worker.spec.seed, worker.spec.process * 100 + writer);
    while !worker.stop.is_cancelled() {
        match step(&worker, writer, &mut random).await {
            Ok(()) => {}
            Err(error) if error.is_conflict() => {}
            Err(_) => sleep(RETRY_DELAY).await,
        }
        sleep(random.millis(worker.spec.place.pause())).await;
    }
}

async fn step(worker: &Worker, writer: u64, random: &mut Random) -> Result<(), Error> {
    match random.below(20) {
        0..6 => count(worker, random).await,
        6..9 => transfer(worker, random).await,
        9..12 => decide_by_the_other(worker, random).await,
        12..14 => claim(worker).await,
        14..16 => put(worker, random).await,
        16 => delete(worker, writer, random).await,
        17 | 18 => read(worker, worker.begin(), random).await,
        _ => read(worker, worker.begin_caught_up().await?, random).await,
    }
}

fn number(value: Option<&String>) -> i64 {
    value.map_or(0, |value| what(value).parse().unwrap())
}

fn entry(collection: &str, key: impl ToString, value: Option<String>) -> Entry {
    (collection.to_owned(), key.to_string(), value)
}

async fn count(worker: &Worker, random: &mut Random) -> Result<(), Error> {
    let (mut asked, key) = (worker.begin(), random.below(COUNTERS).to_string());
    let now = number(worker.read(&mut asked, "counters", &key).await?.as_ref());
    let next = worker.recorder.value(asked.id, now + 1);
    asked.writes.push(entry("counters", key, next));
    worker.commit(asked, None).await.map(drop)
}

async fn transfer(worker: &Worker, random: &mut Random) -> Result<(), Error> {
    let (from, distance) = (random.below(ACCOUNTS), 1 + random.below(ACCOUNTS - 1));
    let (from, to) = (from.to_string(), ((from + distance) % ACCOUNTS).to_string());
    let (mut asked, amount) = (worker.begin(), random.below(20) as i64);
    let of_from = number(worker.read(&mut asked, "accounts", &from).await?.as_ref());
    let of_to = number(worker.read(&mut asked, "accounts", &to).await?.as_ref());
    let value = |amount| worker.recorder.value(asked.id, amount);
    let writes = [entry("accounts", from, value(of_from - amount)), entry("accounts", to, value(of_to + amount))];
    asked.writes.extend(writes);
    worker.commit(asked, None).await.map(drop)
}

/// Sets one of a pair on, if the other one is not; else off. Both are never on.
async fn decide_by_the_other(worker: &Worker, random: &mut Random) -> Result<(), Error> {
    let (mut asked, pair, own) = (worker.begin(), random.below(PAIRS), random.below(2));
    let of_pair = |side| format!("{pair}.{side}");
    worker.read(&mut asked, "pairs", &of_pair(own)).await?;
    let other = number(worker.read(&mut asked, "pairs", &of_pair(1 - own)).await?.as_ref());
    let value = worker.recorder.value(asked.id, 1 - other);
    asked.writes.push(entry("pairs", of_pair(own), value));
    worker.commit(asked, None).await.map(drop)
}

/// Creates the name of this moment, which all writers of all processes want.
async fn claim(worker: &Worker) -> Result<(), Error> {
    let name = (now().saturating_sub(worker.spec.began).as_millis() / NAME_EVERY.as_millis()).to_string();
    let mut asked = worker.begin();
    if worker.read(&mut asked, NAMES, &name).await?.is_some() {
        worker.end_read(asked);
        return Ok(());
    }
    let value = worker.recorder.value(asked.id, "");
    asked.writes.push(entry(NAMES, name, value));
    worker.commit(asked, None).await.map(drop)
}

async fn put(worker: &Worker, random: &mut Random) -> Result<(), Error> {
    let mut asked = worker.begin();
    let value = worker.recorder.value(asked.id, "");
    asked.writes.push(entry("plain", random.below(PLAIN), value));
    worker.commit(asked, None).await.map(drop)
}

async fn delete(worker: &Worker, writer: u64, random: &mut Random) -> Result<(), Error> {
    let mut asked = worker.begin();
    asked.writes.push(entry("plain", random.below(PLAIN), None));
    // Says who it was.
    let mark = entry("marks", format!("{}.{writer}", worker.recorder.process), worker.recorder.value(asked.id, ""));
    asked.writes.push(mark);
    worker.commit(asked, None).await.map(drop)
}

async fn read(worker: &Worker, mut asked: Asked, random: &mut Random) -> Result<(), Error> {
    for account in 0..ACCOUNTS {
        worker.read(&mut asked, "accounts", &account.to_string()).await?;
    }
    for _ in 0..4 {
        worker.read(&mut asked, "plain", &random.below(PLAIN).to_string()).await?;
        worker.read(&mut asked, "counters", &random.below(COUNTERS).to_string()).await?;
    }
    worker.end_read(asked);
    Ok(())
}
