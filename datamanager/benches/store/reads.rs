//! What does a point read cost, warm and cold?

use std::path::Path;

use rand::{RngExt, SeedableRng, rngs::StdRng};
use runyard_datamanager::{DataManager, WalDataManager};
use runyard_objectstorage::CallKind;

use crate::{
    Outcome,
    measure::{Start, compared, row},
    stores::{ENTRIES, Values, builder, directory, fill, key, storage},
};

const STORED: f64 = 200_000.0;
const VALUE_BYTES: usize = 1024;
const READS: f64 = 1_000_000.0;
const OPENINGS: f64 = 200.0;
/// Checkpoints of some changes each, so that there are files of all kinds.
const CHECKPOINTS: u64 = 12;

pub(crate) async fn bench(scale: f64) -> Outcome {
    let directory = directory()?;
    let stored = (STORED * scale).ceil() as u64;
    let reads = (READS * scale).ceil() as u64;
    let entries = |numbers: std::ops::Range<u64>, version| {
        numbers.map(move |number| (key(number), Values::Random.make(number, version, VALUE_BYTES)))
    };
    let data = builder(&storage(directory.path()).await?).open().await?;
    fill(&data, entries(0..stored, 0)).await?;
    println!("{reads} random reads of {stored} entries of {VALUE_BYTES} bytes, on one thread");
    warm("  from memory", &data, stored, reads).await?;
    data.checkpoint().await?;
    cold("  one checkpoint", directory.path(), stored, scale).await?;
    let mut random = StdRng::seed_from_u64(1);
    for version in 1..=CHECKPOINTS {
        let changed: Vec<_> = (0..stored / 100).map(|_| random.random_range(0..stored)).collect();
        fill(&data, changed.into_iter().flat_map(|number| entries(number..number + 1, version))).await?;
        data.checkpoint().await?;
    }
    data.close().await;
    drop(data);
    cold("  after many checkpoints", directory.path(), stored, scale).await?;
    let large = 2 * stored * VALUE_BYTES as u64 + (64 << 20);
    let data = builder(&storage(directory.path()).await?).cache_bytes_max(large).open().await?;
    read(&data, &mut (0..stored)).await?;
    warm("  from cached blocks", &data, stored, reads).await?;
    data.close().await;
    Ok(())
}

/// Reads entries that exist.
async fn read(data: &WalDataManager, numbers: &mut (dyn Iterator<Item = u64> + Send)) -> Outcome {
    let snapshot = data.snapshot();
    for number in numbers {
        assert!(data.get(&snapshot, ENTRIES, &key(number)).await?.is_some());
    }
    Ok(())
}

async fn warm(name: &str, data: &WalDataManager, stored: u64, reads: u64) -> Outcome {
    let mut random = StdRng::seed_from_u64(2);
    let keys: Vec<_> = (0..reads).map(|_| key(random.random_range(0..stored))).collect();
    for (way, anew) in [("one snapshot", false), ("a snapshot each", true)] {
        let mut snapshot = data.snapshot();
        let start = Start::now();
        for key in &keys {
            if anew {
                snapshot = data.snapshot();
            }
            assert!(data.get(&snapshot, ENTRIES, key).await?.is_some());
        }
        let cost = start.cost();
        let (rate, of_cpu) = (reads as f64 / cost.wall.as_secs_f64(), reads as f64 / cost.cpu.as_secs_f64());
        let speed = compared(rate, "reads/s", |it| it >= 200_000.0, "at least 200000");
        row(&format!("{name}, {way}"), format!("{of_cpu:.0} /s of cpu"), &speed);
    }
    Ok(())
}

/// Counts the range reads of gets, each of a store just opened, and of keys that do not exist.
async fn cold(name: &str, path: &Path, stored: u64, scale: f64) -> Outcome {
    let openings = (OPENINGS * scale).ceil() as u64;
    let (mut gets, mut most) = (0, 0);
    let mut random = StdRng::seed_from_u64(3);
    for _ in 0..openings {
        let storage = storage(path).await?;
        let data = builder(&storage).open().await?;
        let before = storage.metrics();
        read(&data, &mut [random.random_range(0..stored)].into_iter()).await?;
        let calls = storage.metrics().since(&before).calls(CallKind::Get);
        (gets, most) = (gets + calls, most.max(calls));
        data.close().await;
    }
    let average = gets as f64 / openings as f64;
    let remark = compared(average, "on average", |it| it <= 2.05, "at most 2, and false positives");
    row(&format!("{name}, range reads of a cold get"), format!("at most {most}"), &remark);

    let storage = storage(path).await?;
    let data = builder(&storage).open().await?;
    let misses = (100_000.0 * scale).ceil() as u64;
    let snapshot = data.snapshot();
    let mut figures = [0; 2];
    for figure in &mut figures {
        let before = storage.metrics();
        for _ in 0..misses {
            let absent = key(random.random_range(stored..u64::MAX));
            assert_eq!(data.get(&snapshot, ENTRIES, &absent).await?, None);
        }
        *figure = storage.metrics().since(&before).calls(CallKind::Get);
    }
    data.close().await;
    let [cold, warm] = figures.map(|calls| calls as f64 / misses as f64);
    let remark = compared(warm, "after them", |it| it <= 0.02, "at most 0.02");
    row(&format!("{name}, range reads of a miss"), format!("{cold:.4} cold"), &remark);
    Ok(())
}
