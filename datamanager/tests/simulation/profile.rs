//! What kind of world does a seed make?

use std::time::Duration;

use crate::random::Random;

/// What a seed decides before anything happens.
#[derive(Clone, Debug)]
pub(crate) struct Profile {
    pub(crate) seed: u64,
    pub(crate) base_path: &'static str,
    pub(crate) processes: u64,
    /// Concurrent callers of each process.
    pub(crate) clients: u64,
    /// How many transactions all clients together try.
    pub(crate) operations: u64,
    /// How many different keys there are in a collection.
    pub(crate) keys: u64,
    /// The longest that one half of a storage call usually takes.
    pub(crate) latency_max: Duration,
    /// How many of a thousand storage calls fail.
    pub(crate) faults: u64,
    /// How many of ten thousand storage calls begin an outage, a full disk or a long sleep of the process.
    pub(crate) disasters: u64,
    /// How many of a thousand lives of a process end in a kill; most others end by closing.
    pub(crate) kills: u64,
    pub(crate) commit_timeout: Duration,
    pub(crate) history_transactions_max: usize,
    pub(crate) recent_bytes_max: usize,
    pub(crate) queue_bytes_max: usize,
}

impl Profile {
    pub(crate) fn of(seed: u64) -> Self {
        let random = &mut Random::new(seed, 0);
        Self {
            seed,
            base_path: random.pick(&["", "base", "a/b"]),
            processes: random.between(1..5),
            clients: random.between(1..5),
            operations: random.between(20..90),
            keys: random.pick(&[2, 4, 16]),
            latency_max: Duration::from_millis(random.pick(&[2, 20, 200])),
            faults: random.pick(&[0, 10, 50, 200]),
            disasters: random.pick(&[0, 20, 100]),
            kills: random.pick(&[100, 500, 900]),
            commit_timeout: Duration::from_secs(random.pick(&[1, 5, 30])),
            history_transactions_max: random.pick(&[4, 16, 1_000_000, 1_000_000]),
            recent_bytes_max: random.pick(&[0, 1_000, 16 << 20]),
            queue_bytes_max: random.pick(&[300, 16 << 20, 16 << 20]),
        }
    }
}
