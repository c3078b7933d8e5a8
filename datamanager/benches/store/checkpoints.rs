//! What do checkpoints of a large store cost, of which a hundredth is changed at random before each?

use std::{
    collections::BTreeSet,
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use rand::{RngExt, SeedableRng, rngs::StdRng};
use runyard_datamanager::{DataManager, Transaction, WalDataManager};

use crate::{
    Outcome,
    measure::{Start, compared, count_memory, live, median, mib, now, peak, percentile, reset_peak, row},
    stores::{Values, builder, directory, fill, key, put, storage},
};

const STORE_BYTES: f64 = (1 << 30) as f64;
const VALUE_BYTES: usize = 1024;
const CHECKPOINTS: f64 = 200.0;
/// With a writer beside them.
const WATCHED: u64 = 15;

pub(crate) async fn bench(scale: f64) -> Outcome {
    count_memory();
    for values in [Values::Random, Values::Json] {
        let directory = directory()?;
        series(directory.path(), values, scale).await?;
    }
    Ok(())
}

/// A store that is changed.
struct Changed {
    data: WalDataManager,
    values: Values,
    entries: u64,
    random: StdRng,
    version: u64,
}

impl Changed {
    /// Changes a hundredth of the entries; returns the bytes of their keys and values.
    async fn change(&mut self) -> Outcome<u64> {
        self.version += 1;
        let mut numbers = BTreeSet::new();
        while (numbers.len() as u64) < self.entries.div_ceil(100) {
            numbers.insert(self.random.random_range(0..self.entries));
        }
        let (values, version) = (self.values, self.version);
        let entries = numbers.into_iter().map(|number| (key(number), values.make(number, version, VALUE_BYTES)));
        fill(&self.data, entries).await
    }
}

async fn series(path: &Path, values: Values, scale: f64) -> Outcome {
    let storage = storage(path).await?;
    let entries = (STORE_BYTES * scale) as u64 / VALUE_BYTES as u64;
    let count = if scale < 1.0 { (CHECKPOINTS * scale).ceil().max(40.0) } else { CHECKPOINTS } as u64;
    let data = builder(&storage).open().await?;
    let mut stored = 0;
    for chunk in 0..entries.div_ceil(50_000) {
        let numbers = chunk * 50_000..entries.min((chunk + 1) * 50_000);
        stored += fill(&data, numbers.map(|number| (key(number), values.make(number, 0, VALUE_BYTES)))).await?;
        data.checkpoint().await?;
    }
    data.close().await;
    drop(data);
    println!(
        "{entries} entries of about {VALUE_BYTES} bytes, {values:?}, {count} checkpoints of 1 % changed at random"
    );

    let random = StdRng::seed_from_u64(4);
    let data = builder(&storage).open().await?;
    let mut changed = Changed { data, values, entries, random, version: 0 };
    let (mut ratios, mut excesses, mut walls, mut cpus) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
    let (mut above_opened, mut above_idle, mut of_reported) = (Vec::new(), Vec::new(), Vec::new());
    // What ended with the first opening is freed by its tasks.
    tokio::time::sleep(Duration::from_secs(1)).await;
    let opened = live();
    for round in 0..count {
        let idle = live();
        reset_peak();
        let bytes = changed.change().await?;
        let before = storage.metrics();
        let start = Start::now();
        let checkpoint = changed.data.checkpoint().await?;
        let cost = start.cost();
        let written = storage.metrics().since(&before).bytes_written;
        ratios.push(written as f64 / bytes as f64);
        excesses.push(written as f64 / (3.0 * bytes as f64 + 0.1 * stored as f64));
        of_reported.push(checkpoint.bytes_written as f64 / written as f64);
        walls.push(cost.wall.as_secs_f64());
        cpus.push(cost.cpu.as_secs_f64());
        above_opened.push(peak() - opened);
        // Until then the recent batches and the cache fill.
        if round >= count / 10 {
            above_idle.push(peak() - idle);
        }
    }
    told(&mut ratios, &mut excesses);
    row("  bytes that it reports beside those counted", format!("{:.4}", median(&mut of_reported)), "");
    let memory = mib(percentile(&mut above_idle, 100));
    let remark = compared(memory, "MiB at most", |it| it < 64.0, "under 64 at full scale");
    row("  memory above idle, with the changes", format!("p50 {:.1} MiB", mib(median(&mut above_idle))), &remark);
    let memory = mib(percentile(&mut above_opened, 100));
    let remark = format!("{memory:.2} MiB at most, recent batches and a full cache among it");
    row("  memory above that of an opened store", format!("p50 {:.1} MiB", mib(median(&mut above_opened))), &remark);
    let (wall, cpu) = (median(&mut walls), median(&mut cpus));
    let longest = percentile(&mut walls, 100);
    row("  a checkpoint", format!("p50 {wall:.3} s"), &format!("longest {longest:.3} s, processor {cpu:.3} s"));
    watched(&mut changed).await?;
    changed.data.close().await;
    Ok(())
}

fn told(ratios: &mut [f64], excesses: &mut [f64]) {
    let mean = ratios.iter().sum::<f64>() / ratios.len() as f64;
    let median = median(ratios);
    row("  written over changed, median", format!("{median:.2}"), &compared(median, "", |it| it <= 3.0, "at most 3"));
    row("  written over changed, mean", format!("{mean:.2}"), &compared(mean, "", |it| it <= 8.0, "at most 8"));
    let excess = percentile(excesses, 100);
    let remark = compared(excess, "of 3 times + 10 % of the store", |it| it <= 1.0, "at most 1");
    row("  written over changed, most", format!("{:.2}", percentile(ratios, 100)), &remark);
}

/// How long commits take beside checkpoints, and when there is none.
async fn watched(changed: &mut Changed) -> Outcome {
    let phase = Arc::new(AtomicU64::new(0));
    const OTHER: u64 = 0;
    const WITHOUT: u64 = 1;
    const DURING: u64 = 2;
    const END: u64 = 3;
    let writer = tokio::spawn({
        let (data, phase) = (changed.data.clone(), phase.clone());
        async move {
            let mut latencies = [const { Vec::new() }; 3];
            for number in 0.. {
                let value = Values::Random.make(number, 0, 100);
                let actions = vec![put("beside", key(number % 1_000), value)];
                let (began_in, start) = (phase.load(Ordering::Relaxed), now());
                data.commit(Transaction { actions, ..Transaction::default() }).await?;
                match phase.load(Ordering::Relaxed) {
                    END => break,
                    // What began in another phase belongs to neither.
                    ended_in if ended_in == began_in => latencies[ended_in as usize].push(start.elapsed()),
                    _ => {}
                }
            }
            Outcome::Ok(latencies)
        }
    });
    let mut took = Duration::from_millis(100);
    for _ in 0..WATCHED {
        changed.change().await?;
        phase.store(WITHOUT, Ordering::Relaxed);
        tokio::time::sleep(took).await;
        phase.store(DURING, Ordering::Relaxed);
        let start = now();
        changed.data.checkpoint().await?;
        took = start.elapsed();
        phase.store(OTHER, Ordering::Relaxed);
    }
    phase.store(END, Ordering::Relaxed);
    let [_, mut without, mut during] = writer.await??;
    let (floor, beside) = (percentile(&mut without, 99), percentile(&mut during, 99));
    let p99s = format!("p99 {:.2} ms", beside.as_secs_f64() * 1e3);
    let ratio = beside.as_secs_f64() / floor.as_secs_f64();
    let remark = compared(ratio, "times without", |it| it <= 2.0, "at most 2");
    row(&format!("  {} commits of 1 writer beside", during.len()), p99s, &remark);
    let medians = format!("p50 {:.2} ms", median(&mut during).as_secs_f64() * 1e3);
    let remark = format!(
        "without p50 {:.2} ms, p99 {:.2} ms",
        median(&mut without).as_secs_f64() * 1e3,
        floor.as_secs_f64() * 1e3
    );
    row("", medians, &remark);
    Ok(())
}
