//! What does a durable commit cost?
//!
//! The floor of a lone writer is one persisted object; that of many is a group commit with nothing around it: what waits
//! goes into one object.

use std::{path::Path, sync::Arc, time::Duration};

use bytes::Bytes;
use futures::future::BoxFuture;
use runyard_datamanager::{DataManager, Transaction, WalDataManager};
use runyard_objectstorage::{CallKind, ObjectKey, ObjectStorageExt, PosixStorage, PutMode};
use tokio::sync::{mpsc, oneshot};

use crate::{
    Outcome,
    measure::{Cost, Start, compared, median, micros, now, percentile, row},
    stores::{ENTRIES, Storage, Values, builder, directory, key, put, storage},
};

const VALUE_BYTES: [usize; 2] = [100, 1024];
const LONE_COMMITS: f64 = 2_000.0;
const WRITERS: u64 = 64;
const ROUNDS: usize = 7;
const WARM_UP: Duration = Duration::from_millis(200);
const MEASURED: Duration = Duration::from_millis(1_500);

/// Writes one entry; it is on the disk when this completes.
type Write = Arc<dyn Fn(Bytes, Bytes) -> BoxFuture<'static, Outcome> + Send + Sync>;

pub(crate) async fn bench(scale: f64) -> Outcome {
    // Removed at the end: ext4 leaves the inodes of deleted files alone for minutes, and looks at all of them whenever it
    // creates a file.
    let directory = directory()?;
    for bytes in VALUE_BYTES {
        lone(directory.path(), bytes, (LONE_COMMITS * scale).ceil() as u64).await?;
    }
    for bytes in VALUE_BYTES {
        many(directory.path(), bytes, scale).await?;
    }
    Ok(())
}

async fn lone(path: &Path, bytes: usize, count: u64) -> Outcome {
    let floor = one_object(PosixStorage::open(path.join(format!("floor-{bytes}"))).await?);
    let data = builder(&storage(&path.join(format!("store-{bytes}"))).await?).open().await?;
    let ours = commit(&data);
    let (mut floors, mut commits) = (Vec::new(), Vec::new());
    for number in 0..count + count / 10 {
        let mut costs = [Cost::default(); 2];
        // Who comes first pays for what the one before left to be done, so they take turns in that as well.
        for place in 0..2 {
            let way = (place + number as usize) % 2;
            let value = Values::Random.make(number, 0, bytes);
            let start = Start::now();
            [&floor, &ours][way](key(number), value).await?;
            costs[way] = start.cost();
        }
        // The first ones warm up.
        if number >= count / 10 {
            floors.push(costs[0]);
            commits.push(costs[1]);
        }
    }
    data.close().await;
    println!("1 writer, values of {bytes} bytes, {count} commits");
    let floor = told("  floor: one persisted object", &floors, None);
    told("  commit", &commits, Some(floor));
    Ok(())
}

fn told(name: &str, costs: &[Cost], floor: Option<Duration>) -> Duration {
    let mut walls: Vec<_> = costs.iter().map(|cost| cost.wall).collect();
    let mut cpus: Vec<_> = costs.iter().map(|cost| cost.cpu).collect();
    let (p50, p99, cpu) = (median(&mut walls), percentile(&mut walls, 99), median(&mut cpus));
    let ratio = floor.map(|floor| {
        let ratio = p50.as_secs_f64() / floor.as_secs_f64();
        compared(ratio, "of the floor", |it| it <= 1.5, "at most 1.5")
    });
    let remark = format!("p99 {}, processor {}  {}", micros(p99), micros(cpu), ratio.unwrap_or_default());
    row(name, format!("p50 {}", micros(p50)), &remark);
    p50
}

/// What one round of many writers has shown.
struct Round {
    per_second: f64,
    p50: Duration,
    /// Of the process, for each write.
    cpu: Duration,
    /// How many writes shared an object.
    group: f64,
}

async fn many(path: &Path, bytes: usize, scale: f64) -> Outcome {
    let (mut floors, mut commits, mut ratios) = (Vec::new(), Vec::new(), Vec::new());
    for round in 0..ROUNDS {
        for place in 0..2 {
            let storage = storage(&path.join(format!("{bytes}-{round}-{place}"))).await?;
            if (place + round) % 2 == 0 {
                let floor = one_group(storage.clone());
                floors.push(write_for(&floor, &storage, bytes, scale).await?);
            } else {
                let data = builder(&storage).open().await?;
                commits.push(write_for(&commit(&data), &storage, bytes, scale).await?);
                data.close().await;
            }
        }
        ratios.push(commits[round].per_second / floors[round].per_second);
    }
    println!("{WRITERS} writers, values of {bytes} bytes, medians of {ROUNDS} rounds in turn");
    for (name, rounds) in [("  floor: one persisted object for each group", &floors), ("  commit", &commits)] {
        let mut rates: Vec<_> = rounds.iter().map(|round| round.per_second).collect();
        let mut p50s: Vec<_> = rounds.iter().map(|round| round.p50).collect();
        let mut cpus: Vec<_> = rounds.iter().map(|round| round.cpu).collect();
        let mut groups: Vec<_> = rounds.iter().map(|round| round.group).collect();
        let (p50, cpu, group) = (median(&mut p50s), median(&mut cpus), median(&mut groups));
        let remark = format!("p50 {}, processor {} each, {group:.1} in an object", micros(p50), micros(cpu));
        row(name, format!("{:.0} /s", median(&mut rates)), &remark);
    }
    let spread = format!("{:.2} to {:.2}", percentile(&mut ratios, 0), percentile(&mut ratios, 100));
    let remark = compared(median(&mut ratios), "of the floor", |it| it >= 0.8, "at least 0.8");
    row("  rate beside that of the same round's floor", spread, &remark);
    Ok(())
}

async fn write_for(write: &Write, storage: &Storage, bytes: usize, scale: f64) -> Outcome<Round> {
    let (warm_up, measured) = (WARM_UP.mul_f64(scale), MEASURED.mul_f64(scale));
    let start = Start::now();
    let (began, before) = (now(), storage.metrics());
    let tasks: Vec<_> = (0..WRITERS)
        .map(|writer| {
            let write = write.clone();
            tokio::spawn(async move {
                let mut latencies = Vec::new();
                let mut writes = 0;
                for number in 0.. {
                    let id = number * WRITERS + writer;
                    let value = Values::Random.make(id, 0, bytes);
                    let start = now();
                    write(key(id), value).await?;
                    writes += 1;
                    let ended = now();
                    if ended - began > warm_up + measured {
                        break;
                    }
                    if ended - began > warm_up {
                        latencies.push(ended - start);
                    }
                }
                Outcome::Ok((latencies, writes))
            })
        })
        .collect();
    let (mut latencies, mut writes) = (Vec::new(), 0);
    for task in tasks {
        let (its, count) = task.await??;
        latencies.extend(its);
        writes += count;
    }
    let per_second = latencies.len() as f64 / measured.as_secs_f64();
    let group = f64::from(writes) / storage.metrics().since(&before).calls(CallKind::Put) as f64;
    Ok(Round { per_second, p50: median(&mut latencies), cpu: start.cost().cpu / writes, group })
}

fn commit(data: &WalDataManager) -> Write {
    let data = data.clone();
    Arc::new(move |key, value| {
        let data = data.clone();
        Box::pin(async move {
            let actions = vec![put(ENTRIES, key, value)];
            data.commit(Transaction { actions, ..Transaction::default() }).await?;
            Ok(())
        })
    })
}

fn one_object(storage: PosixStorage) -> Write {
    let storage = Arc::new(storage);
    Arc::new(move |key, value| {
        let storage = storage.clone();
        Box::pin(async move {
            let key = ObjectKey::parse(&format!("floor/{}", key.escape_ascii()))?;
            Ok(storage.put_bytes(&key, value, PutMode::Create).await?)
        })
    })
}

fn one_group(storage: Storage) -> Write {
    let (sender, mut receiver) = mpsc::unbounded_channel::<(Bytes, Bytes, oneshot::Sender<()>)>();
    // It ends with the last writer.
    tokio::spawn(async move {
        let mut group = Vec::new();
        for number in 0_u64.. {
            if receiver.recv_many(&mut group, 1_024).await == 0 {
                return;
            }
            let mut object = Vec::new();
            for (key, value, _) in &group {
                object.extend_from_slice(key);
                object.extend_from_slice(value);
            }
            let name = ObjectKey::parse(&format!("log/{number:020}")).expect("a valid key");
            storage.put_bytes(&name, object.into(), PutMode::Create).await.expect("the disk works");
            for (.., done) in group.drain(..) {
                let _ = done.send(());
            }
            // Those just answered may come back at once, and share the next object.
            tokio::task::yield_now().await;
        }
    });
    Arc::new(move |key, value| {
        let (done, written) = oneshot::channel();
        let sent = sender.send((key, value, done));
        Box::pin(async move {
            sent?;
            Ok(written.await?)
        })
    })
}
