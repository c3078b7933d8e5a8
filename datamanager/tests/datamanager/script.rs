//! What a store is made to do in a script, what it must hold after any part of it, and what may lie in the storage then.
//!
//! Transaction `n` comes after transaction `n - 1`, so whoever knows how many there are knows everything that a store
//! must hold.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use bytes::Bytes;
use futures::StreamExt;
use runyard_datamanager::{
    Action, Collection, DataManager, DataManagerExt, Direction, Error, IndexScan, KeyRange, Position, ReadSet, Result,
    Snapshot, Transaction, Tx, VirtualUptime, WalBuilder, WalDataManager,
};
use runyard_objectstorage::{MemoryStorage, ObjectStorage, ObjectStorageExt, PutMode};
use serde::{Deserialize, Serialize, de::DeserializeOwned};

use crate::support::TIMEOUT;

/// How long a cleaner waits, and a little longer.
pub(crate) const CLEANER_WAIT: Duration = Duration::from_secs(601);

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Job {
    owner: String,
    state: usize,
}

pub(crate) const JOBS: Collection<Job> = Collection::new("jobs").with_indexes(&[("owner", |_, job, keys| {
    keys.push(job.owner.clone().into());
})]);

pub(crate) const EVENTS: Collection<usize> = Collection::new("events");

/// So much that only what changes is written again, into deltas.
pub(crate) const BULK: Collection<String> = Collection::new("bulk");

const GROUP: &str = "group";
const OWNERS: usize = 3;
const IDS: usize = 11;
const BULK_IDS: usize = 22;

/// What a store holds beside the events.
#[derive(Debug, Default)]
pub(crate) struct Model {
    jobs: BTreeMap<Bytes, Job>,
    bulk: BTreeMap<Bytes, String>,
}

pub(crate) fn builder(storage: impl ObjectStorage, base_path: &str, writer: u8) -> WalBuilder {
    let builder = WalDataManager::builder(Arc::new(storage)).base_path(base_path).writer_id([writer; 16]);
    // Files so small that the bulk has several; checkpoints when the script says so.
    let builder = builder.data_file_size_max(10_000).checkpoint_age(Duration::MAX);
    builder.commit_timeout(TIMEOUT).uptime(Arc::new(VirtualUptime::new()))
}

fn id(n: usize) -> String {
    format!("job {:02}", n % IDS)
}

/// What transaction `n` changes: some jobs are begun or go on, also to another owner, and one that may be long in a
/// data file is removed.
fn jobs(n: usize) -> Vec<(String, Option<Job>)> {
    let job = |state| Some(Job { owner: format!("owner {}", state % OWNERS), state });
    let mut jobs = vec![(id(n), job(n)), (id(n * 4), job(n + 1))];
    if n.is_multiple_of(2) {
        jobs.push((id(n + 5), None));
    }
    jobs
}

/// What else it changes: all of the bulk at first, and then a little of it.
fn bulk(n: usize) -> Vec<(String, Option<String>)> {
    let id = |n: usize| format!("bulk {:02}", n % BULK_IDS);
    match n {
        1 => (0..BULK_IDS).map(|n| (id(n), Some(noise(n)))).collect(),
        _ if n.is_multiple_of(2) => vec![(id(n * 7), None)],
        _ => vec![(id(n * 5), Some(format!("changed by {n}")))],
    }
}

/// The keys of all of the bulk, of what was deleted too.
pub(crate) fn bulk_keys() -> impl Iterator<Item = Bytes> {
    bulk(1).into_iter().map(|(id, _)| id.into())
}

/// A text that does not become much shorter.
fn noise(seed: usize) -> String {
    let mut state = seed as u64 + 1;
    let letter = |_| {
        // The generator of Knuth's MMIX.
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        char::from(b'0' + (state >> 58) as u8)
    };
    (0..1_000).map(letter).filter(|letter| *letter != '\\').collect()
}

fn takes_group(n: usize) -> bool {
    n.is_multiple_of(3)
}

/// What a store holds after `count` transactions.
pub(crate) fn model(count: usize) -> Model {
    let mut model = Model::default();
    for n in 1..=count {
        for (id, job) in jobs(n) {
            change(&mut model.jobs, id, job);
        }
        for (id, value) in bulk(n) {
            change(&mut model.bulk, id, value);
        }
    }
    model
}

fn change<V>(entries: &mut BTreeMap<Bytes, V>, id: String, value: Option<V>) {
    match value {
        Some(value) => drop(entries.insert(id.into(), value)),
        None => drop(entries.remove(id.as_bytes())),
    }
}

/// Commits transaction `n`.
pub(crate) async fn commit(data: &WalDataManager, n: usize) -> Result<Position> {
    let body = async |tx: Tx| {
        write(&tx, &JOBS, jobs(n)).await?;
        write(&tx, &BULK, bulk(n)).await?;
        if takes_group(n) {
            tx.take_group(GROUP);
        }
        tx.append(&EVENTS, &n)
    };
    let ((), position) = data.transact(body).await?;
    Ok(position)
}

async fn write<V: Serialize + DeserializeOwned>(
    tx: &Tx,
    collection: &Collection<V>,
    changes: Vec<(String, Option<V>)>,
) -> Result<()> {
    for (id, value) in changes {
        match value {
            Some(value) => tx.put(collection, id, &value).await?,
            None => tx.delete(collection, id).await?,
        }
    }
    Ok(())
}

/// How many transactions there are in a store, from its events, which are in order.
pub(crate) async fn count(data: &WalDataManager) -> Result<usize> {
    let events = data.read_all(&data.snapshot(), &EVENTS, KeyRange::all()).await?;
    let numbers: Vec<usize> = events.iter().map(|(_, n)| *n).collect();
    assert_eq!(numbers, (1..=events.len()).collect::<Vec<_>>(), "each once, in order, none left out");
    Ok(numbers.len())
}

/// Reads everything that is visible, in every way, and compares it with the model. Returns how many transactions there
/// are.
pub(crate) async fn check(data: &WalDataManager) -> Result<usize> {
    let count = count(data).await?;
    let (at, model) = (data.snapshot(), model(count));
    check_at(data, &at, &model).await?;
    let descending = data.read_range(&at, &JOBS, KeyRange::all(), Direction::Descending, usize::MAX).await?;
    assert!(descending.entries.into_iter().rev().eq(model.jobs.clone()));
    for n in 0..IDS {
        assert_eq!(data.read(&at, &JOBS, id(n)).await?.as_ref(), model.jobs.get(id(n).as_bytes()), "{}", id(n));
    }
    for (id, _) in bulk(1) {
        assert_eq!(data.read(&at, &BULK, &id).await?.as_ref(), model.bulk.get(id.as_bytes()), "{id}");
    }
    if (1..=count).any(takes_group) {
        check_group(data).await?;
    }
    Ok(count)
}

/// Makes sure that it is remembered that the group was taken.
pub(crate) async fn check_group(data: &WalDataManager) -> Result<()> {
    let reads = ReadSet { groups: vec![GROUP.to_owned()], ..ReadSet::default() };
    match data.commit(Transaction { reads, actions: Vec::new() }).await {
        Err(Error::Conflict { .. }) => Ok(()),
        Err(error) => Err(error),
        Ok(_) => panic!("that a group was taken is forgotten"),
    }
}

/// Reads everything, and the jobs by their index too.
async fn check_at(data: &WalDataManager, at: &Snapshot, model: &Model) -> Result<()> {
    let all = data.read_all(at, &JOBS, KeyRange::all()).await?;
    assert!(all.into_iter().eq(model.jobs.clone()), "{at:?}");
    let all = data.read_all(at, &BULK, KeyRange::all()).await?;
    assert!(all.into_iter().eq(model.bulk.clone()), "{at:?}");
    let scan =
        IndexScan { index: "owner", prefix: b"", direction: Direction::Ascending, limit: usize::MAX, after: None };
    let by_owner = data.read_index(at, &JOBS, &scan).await?;
    let mut expected: Vec<_> = model.jobs.clone().into_iter().collect();
    expected.sort_by_key(|(_, job)| job.owner.clone());
    assert_eq!(by_owner.entries, expected, "{at:?}");
    Ok(())
}

/// Reads what was visible at every position that can still be read, and follows the log from its beginning. Returns
/// how many positions there were.
pub(crate) async fn check_history(data: &WalDataManager) -> Result<usize> {
    let events = data.read_all(&data.snapshot(), &EVENTS, KeyRange::all()).await?;
    let mut readable = 0;
    for (key, n) in &events {
        let (position, _) = Position::from_append_key(key).unwrap();
        match data.snapshot_at(position).await {
            Err(Error::PositionExpired { .. }) => assert_eq!(readable, 0, "only what is older is gone"),
            Err(error) => return Err(error),
            Ok(at) => {
                check_at(data, &at, &model(*n)).await?;
                readable += 1;
            }
        }
    }
    let mut after = Position::ZERO;
    let mut left = events.as_slice();
    while let Some(((_, expected), rest)) = left.split_first() {
        match data.follow(after).next().await.unwrap() {
            Err(Error::PositionExpired { .. }) => left = rest,
            Err(error) => return Err(error),
            Ok(committed) => {
                let event = committed.changes.iter().find(|change| change.collection == EVENTS.name()).unwrap();
                assert_eq!(event.value.as_deref(), Some(expected.to_string().as_bytes()));
                left = rest;
            }
        }
        (after, _) = Position::from_append_key(&events[events.len() - left.len() - 1].0).unwrap();
    }
    Ok(readable)
}

/// Whether a store has the hash of one that nothing ever happened to, after the same transactions.
pub(crate) async fn check_hash(data: &WalDataManager) {
    let at = data.snapshot();
    let events = data.read_all(&at, &EVENTS, KeyRange::all()).await.unwrap();
    let replayed = builder(MemoryStorage::new(), "", 255).open().await.unwrap();
    // Where an event lies tells how the transactions were put into batches; that may be different.
    let actions = events.iter().map(|(key, n)| Action::Put {
        collection: EVENTS.name().to_owned(),
        key: key.clone(),
        value: n.to_string().into(),
    });
    replayed.commit(Transaction { actions: actions.collect(), ..Transaction::default() }).await.unwrap();
    let Model { jobs, bulk } = model(events.len());
    let tx = async |tx: Tx| {
        write(&tx, &JOBS, puts(&jobs)).await?;
        write(&tx, &BULK, puts(&bulk)).await
    };
    replayed.transact(tx).await.unwrap();
    let expected = replayed.state_hash(&replayed.snapshot()).await.unwrap();
    assert_eq!(data.state_hash(&at).await.unwrap(), expected);
}

fn puts<V: Clone>(entries: &BTreeMap<Bytes, V>) -> Vec<(String, Option<V>)> {
    let put = |(id, value): (&Bytes, &V)| (String::from_utf8_lossy(id).into_owned(), Some(value.clone()));
    entries.iter().map(put).collect()
}

/// Commits and checkpoints until there is something to clean, and waits until that is done.
pub(crate) async fn commit_and_clean(data: &WalDataManager, mut n: usize) -> Result<()> {
    loop {
        commit(data, n).await?;
        if data.checkpoint().await?.number > 3 {
            break;
        }
        n += 1;
    }
    tokio::time::sleep(CLEANER_WAIT).await;
    Ok(())
}

/// All objects of a storage, by name.
pub(crate) type Objects = BTreeMap<String, Bytes>;

pub(crate) async fn objects(storage: &impl ObjectStorage) -> Objects {
    let mut objects = Objects::new();
    for meta in storage.list_objects("").await.unwrap() {
        objects.insert(meta.key.to_string(), storage.get_bytes(&meta.key).await.unwrap());
    }
    objects
}

/// A storage of these objects.
pub(crate) async fn storage_of(objects: &Objects) -> MemoryStorage {
    let storage = MemoryStorage::new();
    for (name, bytes) in objects {
        storage.put_bytes(&name.parse().unwrap(), bytes.clone(), PutMode::Create).await.unwrap();
    }
    storage
}

/// How many transactions there are in [`store`].
pub(crate) const TRANSACTIONS: usize = 8;

/// The objects of a store with three checkpoints of base files and deltas, with a floor, and a log that goes on.
pub(crate) async fn store() -> Objects {
    let storage = MemoryStorage::new();
    let data = builder(storage.clone(), "base", 1).open().await.unwrap();
    for n in 1..=TRANSACTIONS {
        commit(&data, n).await.unwrap();
        if n <= 6 && n != 2 {
            data.checkpoint().await.unwrap();
        }
    }
    tokio::time::sleep(CLEANER_WAIT).await;
    data.close().await;
    let objects = objects(&storage).await;
    assert_eq!(litter(&objects, "base"), [""; 0]);
    let count = |directory: &str| objects.keys().filter(|name| name.starts_with(directory)).count();
    assert_eq!((count("base/manifest/"), count("base/floor/"), count("base/log/")), (3, 1, 4));
    assert!(count("base/data/bulk/") > 4, "base files and deltas: {:?}", objects.keys());
    objects
}

/// What lies in a storage though no store has it, or no longer needs it. Names and formats are frozen, so that this can
/// be seen from outside.
pub(crate) fn litter(objects: &Objects, base_path: &str) -> Vec<String> {
    let prefix = if base_path.is_empty() { String::new() } else { format!("{base_path}/") };
    let inside: BTreeMap<&str, &Bytes> =
        objects.iter().filter_map(|(name, bytes)| Some((name.strip_prefix(&prefix)?, bytes))).collect();
    let below = |directory: &str| -> Vec<(&str, &Bytes)> {
        let below = inside.iter().filter_map(|(name, bytes)| Some((name.strip_prefix(directory)?, *bytes)));
        below.collect()
    };
    let (manifests, floors) = (below("manifest/"), below("floor/"));
    let mut litter: Vec<String> =
        objects.keys().filter(|name| !name.starts_with(&prefix)).map(|name| format!("outside: {name}")).collect();
    litter.extend(manifests.iter().rev().skip(3).map(|(number, _)| format!("old manifest: {number}")));
    litter.extend(floors.iter().rev().skip(1).map(|(number, _)| format!("old floor: {number}")));
    let floor = floors.last().map_or(0, |(_, bytes)| u64::from_le_bytes(bytes[16..24].try_into().unwrap()));
    for name in inside.keys() {
        let (kind, rest) = name.split_once('/').unwrap_or((name, ""));
        match kind {
            "format" | "manifest" | "floor" => {}
            "log" if rest.parse::<u64>().unwrap() < floor => litter.push(format!("below floor {floor}: {rest}")),
            "log" => {}
            "data" if manifests.iter().any(|(_, bytes)| names_file(bytes, rest)) => {}
            _ => litter.push(format!("orphan: {name}")),
        }
    }
    litter
}

/// Whether a manifest names a data file, `<collection>/<manifest>-<writer>-<number>`.
pub(crate) fn names_file(manifest: &[u8], name: &str) -> bool {
    let (_, id) = name.split_once('/').unwrap();
    let parts: Vec<&str> = id.split('-').collect();
    let mut encoded = parts[0].parse::<u64>().unwrap().to_le_bytes().to_vec();
    encoded.extend(u64::from_str_radix(parts[1], 16).unwrap().to_le_bytes());
    encoded.extend(parts[2].parse::<u32>().unwrap().to_le_bytes());
    manifest.windows(encoded.len()).any(|window| window == encoded)
}
