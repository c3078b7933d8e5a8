//! Several processes on one storage where everything goes wrong, from a seed.
//!
//! `RUNYARD_SIM_SEED=n` replays one seed and prints what happened; `RUNYARD_SIM_SEEDS=a..b` runs many, best in release
//! mode. A binary of its own, so that it can be run so.
#![expect(clippy::disallowed_methods, reason = "seeds are measured against the clock outside of their world")]

mod batch;
mod check;
mod client;
mod clock;
mod damage;
mod disk;
mod hints;
mod keeper;
mod machine;
mod model;
mod observer;
mod power;
mod process;
mod profile;
mod random;
mod simulate;
mod variants;
mod world;

use simulate::{simulate, simulate_all};

/// What an ordinary run of the tests tries.
const SEEDS: std::ops::Range<u64> = 0..200;

/// What a simulation must meet often enough to say something about it.
const MET: [&str; 46] = [
    "checkpoints",
    "checkpoints that were gone back from",
    "checkpoints that were there already",
    "cleaned batches",
    "cleaned checkpoints",
    "cleaned data files",
    "cleaned floors",
    "commits",
    "commits of others that became visible",
    "commits that were refused after a take-over",
    "commits that were never tried",
    "commits that were refused by maintenance",
    "compacted watches",
    "conflicts",
    "damaged checkpoints that were told",
    "damaged data files that were told",
    "damaged floors that were told",
    "damaged logs that were told",
    "effects after death",
    "effects that came too late",
    "ends in good order",
    "ends of etcd",
    "ends without a word",
    "etcds that were rolled back",
    "expired reads",
    "followers that came too late",
    "followers that went on",
    "full disks",
    "kills",
    "kills while opening",
    "late effects",
    "leaders",
    "leaders that were deposed",
    "leaders whose candidacy was lost",
    "leases that were lost while holding",
    "maintenances",
    "naps",
    "outages",
    "processes that were cut off from etcd",
    "reads of what was cleaned",
    "sleeps",
    "slots that were cleaned and filled again",
    "take-overs by a sole holder",
    "unknown outcomes",
    "wiped etcds",
    "writers that slept through a cleaning",
];

/// Of how many seeds it must be met in one.
const MET_IN: u64 = 100;

fn seeds() -> std::ops::Range<u64> {
    let number = |text: &str| text.trim().parse().expect("a seed is a number");
    if let Ok(seed) = std::env::var("RUNYARD_SIM_SEED") {
        let seed = number(&seed);
        return seed..seed + 1;
    }
    let Ok(range) = std::env::var("RUNYARD_SIM_SEEDS") else { return SEEDS };
    let (start, end) = range.split_once("..").expect("RUNYARD_SIM_SEEDS is a range: 0..10000");
    number(start)..number(end)
}

#[test]
fn whatever_goes_wrong_the_store_keeps_its_promises() {
    let seeds = seeds();
    let began = std::time::Instant::now();
    let counts = simulate_all(seeds.clone(), None).unwrap_or_else(|(seed, failure)| {
        let replayed = simulate(seed, true);
        panic!("{}\n\nRUNYARD_SIM_SEED={seed}: {failure}", replayed.trace.join("\n"));
    });
    let count = seeds.end - seeds.start;
    println!("{count} seeds in {:.1?}, {:.2?} each", began.elapsed(), began.elapsed() / count as u32);
    println!("{counts:#?}");
    if count >= SEEDS.end {
        for what in MET {
            let often = counts.get(what).copied().unwrap_or_default();
            assert!(often >= count / MET_IN, "hardly any {what}: {often}");
        }
    }
}

#[test]
fn a_seed_happens_the_same_way_twice() {
    for seed in 0..20 {
        let (first, second) = (simulate(seed, true), simulate(seed, true));
        let differs = first.trace.iter().zip(&second.trace).position(|(first, second)| first != second);
        if let Some(line) = differs {
            let before = first.trace[line.saturating_sub(5)..line].join("\n");
            panic!("seed {seed}:\n{before}\nonce  {}\ntwice {}", first.trace[line], second.trace[line]);
        }
        assert_eq!(first.trace.len(), second.trace.len(), "seed {seed}");
    }
}
