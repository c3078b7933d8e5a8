//! How fast is a store opened?

use std::path::Path;

use futures::{StreamExt, TryStreamExt, stream};
use runyard_datamanager::DataManager;
use runyard_objectstorage::{CallKind, ObjectStorageExt};
use sha2::{Digest, Sha256};

use crate::{
    Outcome,
    measure::{Start, compared, median, megabytes, micros, row},
    stores::{Values, builder, directory, fill, fill_singly, key, storage},
};

const LOG_BYTES: f64 = 256.0 * (1 << 20) as f64;
const STORE_BYTES: f64 = (1 << 30) as f64;
const LOG_OBJECTS: f64 = 10_000.0;
const VALUE_BYTES: usize = 1024;
const ROUNDS: usize = 7;

pub(crate) async fn bench(scale: f64) -> Outcome {
    let directory = directory()?;
    let log = directory.path().join("log");
    let entries = (LOG_BYTES * scale) as u64 / VALUE_BYTES as u64;
    let data = builder(&storage(&log).await?).open().await?;
    fill_singly(&data, 0..entries, VALUE_BYTES).await?;
    data.close().await;
    drop(data);
    println!("opening a log of {entries} transactions of {VALUE_BYTES} bytes, written by 64 writers");
    open(&log, None).await?;

    let large = directory.path().join("large");
    let entries = (STORE_BYTES * scale) as u64 / VALUE_BYTES as u64;
    let objects = (LOG_OBJECTS * scale).ceil() as u64;
    let data = builder(&storage(&large).await?).open().await?;
    fill(&data, (0..entries).map(|number| (key(number), Values::Random.make(number, 0, VALUE_BYTES)))).await?;
    let checkpoint = data.checkpoint().await?;
    for number in 0..objects {
        fill(&data, [(key(number), Values::Random.make(number, 1, VALUE_BYTES))].into_iter()).await?;
    }
    assert!(data.snapshot().position().lsn >= checkpoint.position.lsn + objects);
    data.close().await;
    drop(data);
    println!(
        "opening a store of {entries} entries of {VALUE_BYTES} bytes and {objects} log objects after its checkpoint"
    );
    open(&large, Some(objects as usize)).await
}

/// Opens a store again and again, beside reading its log alone: all of it, or the newest objects.
async fn open(path: &Path, newest: Option<usize>) -> Outcome {
    let (mut opens, mut floors, mut hashes, mut cpus) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
    let (mut bytes, mut gets) = (0, 0);
    for _ in 0..ROUNDS {
        let storage = storage(path).await?;
        let start = Start::now();
        // What the log of an opening is: read ahead, but neither checked nor decoded.
        let log = storage.list_objects("log/").await?;
        let log = &log[log.len() - newest.unwrap_or(log.len())..];
        let bodies = stream::iter(log).map(|meta| storage.get_bytes(&meta.key)).buffered(32);
        let bodies: Vec<_> = bodies.try_collect().await?;
        floors.push(start.cost().wall);
        let start = Start::now();
        for body in &bodies {
            std::hint::black_box(Sha256::digest(body));
        }
        hashes.push(start.cost().wall);
        drop(bodies);
        let before = storage.metrics();
        let start = Start::now();
        let data = builder(&storage).open().await?;
        let cost = start.cost();
        opens.push(cost.wall);
        cpus.push(cost.cpu);
        let read = storage.metrics().since(&before);
        // The log, the format, and the manifest if there is one.
        gets = read.calls(CallKind::Get);
        bytes = read.bytes_read;
        data.close().await;
    }
    let wall = median(&mut opens);
    row("  floor: reading the log", micros(median(&mut floors)), "");
    row("  floor: hashing it on one thread", micros(median(&mut hashes)), "");
    let remark = match newest {
        None => compared(megabytes(bytes, wall), "MB/s", |it| it >= 200.0, "at least 200"),
        Some(_) => compared(wall.as_secs_f64(), "s", |it| it < 2.0, "under 2 at full scale"),
    };
    row("  opening", micros(wall), &format!("processor {}  {remark}", micros(median(&mut cpus))));
    row("  objects read", format!("{gets}"), "");
    Ok(())
}
