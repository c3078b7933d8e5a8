//! Whole run engines where everything goes wrong, from a seed: processes, executors, users, etcd and storage.
//!
//! `RUNYARD_SIM_SEED=n` replays one seed and prints what happened; `RUNYARD_SIM_SEEDS=a..b` runs many. A binary of its
//! own, so that it can be run so.
#![expect(clippy::disallowed_methods, reason = "seeds are measured against the clock outside of their world")]

mod check;
mod clock;
mod configs;
mod executor;
mod followers;
mod hints;
mod history;
mod link;
mod observer;
mod output;
mod pods;
mod process;
mod profile;
mod promises;
mod random;
mod rules;
mod simulate;
mod storage;
mod users;
mod variants;
mod world;

use simulate::{simulate, simulate_all};

/// What an ordinary run of the tests tries.
const SEEDS: std::ops::Range<u64> = 0..200;

/// What a simulation must meet often enough to say something about it.
const MET: [&str; 35] = [
    "annotations",
    "approvals",
    "attempts that began",
    "attempts that were given up",
    "attempts that were to be forgotten",
    "attempts that were told to stop",
    "calls that arrived twice",
    "consumers that came back",
    "crashes of executors",
    "ends of etcd",
    "executors that drained",
    "executors that gave up in silence",
    "executors that hung",
    "executors that lost their disk",
    "executors that moved",
    "executors that never came back",
    "executors that were removed",
    "executors that were told to drain",
    "failed storage calls",
    "followers that came back",
    "kills of processes",
    "leaders whose lease was lost",
    "logs that were followed to their end",
    "logs with a gap",
    "looks",
    "lost calls of executors",
    "outages of the storage",
    "processes that fell asleep",
    "processes that were closed",
    "processes that were cut off from etcd",
    "runs that were cancelled",
    "runs that were deleted",
    "runs that were restarted",
    "runs that were stopped",
    "runs whose logs expired",
];

/// Of how many seeds it must be met in one.
const MET_IN: u64 = 50;

fn seeds() -> std::ops::Range<u64> {
    let number = |text: &str| text.trim().parse().expect("a seed is a number");
    if let Ok(seed) = std::env::var("RUNYARD_SIM_SEED") {
        let seed = number(&seed);
        return seed..seed + 1;
    }
    let Ok(range) = std::env::var("RUNYARD_SIM_SEEDS") else { return SEEDS };
    let (start, end) = range.split_once("..").expect("RUNYARD_SIM_SEEDS is a range: 0..5000");
    number(start)..number(end)
}

#[test]
fn whatever_goes_wrong_runs_come_to_their_right_end() {
    let seeds = seeds();
    let began = std::time::Instant::now();
    let counts = simulate_all(seeds.clone(), None).unwrap_or_else(|(seed, failure)| {
        let replayed = simulate(seed, None, true);
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
        let (first, second) = (simulate(seed, None, true), simulate(seed, None, true));
        let differs = first.trace.iter().zip(&second.trace).position(|(first, second)| first != second);
        if let Some(line) = differs {
            let before = first.trace[line.saturating_sub(5)..line].join("\n");
            panic!("seed {seed}:\n{before}\nonce  {}\ntwice {}", first.trace[line], second.trace[line]);
        }
        assert_eq!(first.trace.len(), second.trace.len(), "seed {seed}");
    }
}
