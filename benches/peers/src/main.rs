//! How fast is a durable write, beside other stores?
//!
//! Every store writes the same small transactions, each acknowledged only when it is on the disk, first from one writer
//! and then from 64 at once, in the same process and one store after the other. The floors are measured like a store:
//! one persisted object for each write, and one for everything that waits. Rounds are interleaved, figures are medians
//! over them, and a ratio to the floor says more than a figure on a noisy machine.
//!
//! `cargo run --release -- [rounds] [directory]` in `benches/peers`.

mod stores;

use std::{
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use rand::{RngExt, SeedableRng, rngs::StdRng};
use stores::Store;

pub type Outcome<T = ()> = Result<T, Box<dyn std::error::Error + Send + Sync>>;

const WRITERS: [usize; 2] = [1, 64];
const VALUE_BYTES: [usize; 2] = [100, 1024];
const WARM_UP: Duration = Duration::from_millis(200);
const MEASURED: Duration = Duration::from_millis(1500);

/// What one store did in one round.
#[derive(Clone, Copy)]
struct Figures {
    p50: Duration,
    p99: Duration,
    per_second: f64,
}

fn main() -> Outcome {
    let mut arguments = std::env::args().skip(1);
    let rounds: usize = arguments.next().map_or(Ok(5), |rounds| rounds.parse())?;
    let parent = arguments.next().map_or_else(std::env::temp_dir, PathBuf::from);
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    // Removed at the end: ext4 leaves the inodes of deleted files alone for minutes, and looks at all of them whenever it
    // creates a file, so that who comes later would pay for who came before.
    let directory = tempfile::tempdir_in(parent)?;
    runtime.block_on(async {
        for writers in WRITERS {
            for bytes in VALUE_BYTES {
                table(rounds, directory.path(), writers, bytes).await?;
            }
        }
        Ok(())
    })
}

async fn table(rounds: usize, parent: &Path, writers: usize, bytes: usize) -> Outcome {
    let names = stores::names(writers);
    let mut figures = vec![Vec::new(); names.len()];
    for round in 0..rounds {
        for (index, (name, figures)) in names.iter().zip(&mut figures).enumerate() {
            let directory = parent.join(format!("{writers}-{bytes}-{round}-{index}"));
            std::fs::create_dir(&directory)?;
            let store = stores::open(name, &directory).await?;
            figures.push(measure(store.clone(), writers, bytes).await?);
            store.close().await?;
        }
    }
    println!("\n{writers} writer(s), values of {bytes} bytes, durable; medians of {rounds} rounds");
    println!("{:44} {:>10} {:>10} {:>12} {:>12} {:>12}", "", "p50", "p99", "writes/s", "p50/floor", "rate/floor");
    let floor = median(&figures[0]);
    for (name, figures) in names.iter().zip(&figures) {
        let Figures { p50, p99, per_second } = median(figures);
        println!(
            "{name:44} {:>7.3} ms {:>7.3} ms {per_second:>12.0} {:>12.2} {:>12.2}",
            p50.as_secs_f64() * 1e3,
            p99.as_secs_f64() * 1e3,
            p50.as_secs_f64() / floor.p50.as_secs_f64(),
            per_second / floor.per_second,
        );
    }
    Ok(())
}

async fn measure(store: Arc<dyn Store>, writers: usize, bytes: usize) -> Outcome<Figures> {
    let next = Arc::new(AtomicU64::new(0));
    let start = Instant::now();
    let tasks: Vec<_> = (0..writers)
        .map(|writer| tokio::spawn(write(store.clone(), next.clone(), writer as u64, bytes, start)))
        .collect();
    let mut latencies = Vec::new();
    for task in tasks {
        latencies.extend(task.await??);
    }
    let per_second = latencies.len() as f64 / MEASURED.as_secs_f64();
    latencies.sort();
    let at = |percent: usize| latencies[(latencies.len() * percent / 100).min(latencies.len() - 1)];
    Ok(Figures { p50: at(50), p99: at(99), per_second })
}

/// The latencies of the writes of one writer that ended in the measured time.
async fn write(
    store: Arc<dyn Store>,
    next: Arc<AtomicU64>,
    writer: u64,
    bytes: usize,
    start: Instant,
) -> Outcome<Vec<Duration>> {
    let mut random = StdRng::seed_from_u64(writer);
    let mut latencies = Vec::new();
    loop {
        let mut value = vec![0; bytes];
        random.fill(&mut value);
        let key = next.fetch_add(1, Ordering::Relaxed);
        let began = Instant::now();
        store.put(format!("key-{:016x}", key.wrapping_mul(0x9e37_79b9_7f4a_7c15)), value).await?;
        let ended = Instant::now();
        if ended - start > WARM_UP + MEASURED {
            return Ok(latencies);
        }
        if ended - start > WARM_UP {
            latencies.push(ended - began);
        }
    }
}

fn median(figures: &[Figures]) -> Figures {
    let middle = |mut values: Vec<f64>| {
        values.sort_by(f64::total_cmp);
        values[values.len() / 2]
    };
    let time = |of: fn(&Figures) -> Duration| {
        Duration::from_secs_f64(middle(figures.iter().map(|figures| of(figures).as_secs_f64()).collect()))
    };
    Figures {
        p50: time(|figures| figures.p50),
        p99: time(|figures| figures.p99),
        per_second: middle(figures.iter().map(|figures| figures.per_second).collect()),
    }
}
