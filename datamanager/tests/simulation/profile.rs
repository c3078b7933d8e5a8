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
    /// How many times as long as usual everybody takes over what they do: the slower, the more is cleaned meanwhile.
    pub(crate) pace: u32,
    /// How long values are at most. Large collections have delta files, and many of the small ones come to nothing.
    pub(crate) padding_max: u64,
    /// The longest that one half of a storage call usually takes.
    pub(crate) latency_max: Duration,
    /// How many of a thousand storage calls fail.
    pub(crate) faults: u64,
    /// How many of ten thousand storage calls begin an outage, a full disk or a long sleep of the process.
    pub(crate) disasters: u64,
    /// How many of ten thousand storage calls the first process sleeps in, for as long as the log may be cleaned in; of
    /// those that write the log or a checkpoint, or look for the newest one, twenty times as many.
    pub(crate) naps: u64,
    /// How many of a thousand lives of a process end in a kill; most others end by closing.
    pub(crate) kills: u64,
    pub(crate) upkeep: Upkeep,
    pub(crate) coordination: Coordination,
    pub(crate) commit_timeout: Duration,
    pub(crate) history_transactions_max: usize,
    pub(crate) recent_bytes_max: usize,
    pub(crate) queue_bytes_max: usize,
    pub(crate) data_file_size_max: u64,
    pub(crate) cache_bytes_max: u64,
}

/// How checkpoints come about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Upkeep {
    /// There are none.
    None,
    /// Somebody in each life of a process asks for one now and then, and for maintenance.
    Asked,
    /// Each process makes one after so many batches.
    Automatic { batches: u64 },
}

/// Whose hints processes follow.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Coordination {
    /// Nobody's.
    None,
    /// Those of an etcd that they share.
    Shared,
    /// Each wants the store to itself.
    Alone,
    /// Every other process does, and the rest share an etcd.
    Mixed,
}

impl Coordination {
    /// Whether a process shares the store with others, by an etcd.
    pub(crate) fn shares(self, process: u64) -> bool {
        self == Self::Shared || self == Self::Mixed && process % 2 == 1
    }

    /// Whether a process wants the store to itself.
    pub(crate) fn is_sole(self, process: u64) -> bool {
        self == Self::Alone || self == Self::Mixed && process.is_multiple_of(2)
    }
}

impl Profile {
    pub(crate) fn of(seed: u64) -> Self {
        let random = &mut Random::new(seed, 0);
        let profile = Self::drawn(seed, random);
        let profile = if random.chance(150) { profile.with_a_sleeper(random) } else { profile };
        profile.coordinated(&mut Random::new(seed, 3))
    }

    /// Half of the worlds have coordinators.
    fn coordinated(self, random: &mut Random) -> Self {
        let coordination = match random.below(20) {
            0..10 => Coordination::None,
            10..16 => Coordination::Shared,
            16..19 => Coordination::Alone,
            _ => Coordination::Mixed,
        };
        let is_automatic = coordination == Coordination::Shared && random.chance(400);
        let upkeep = if is_automatic { Upkeep::Automatic { batches: random.between(1..8) } } else { self.upkeep };
        Self { coordination, upkeep, ..self }
    }

    /// Three others write, make checkpoints and clean, while the first process sleeps again and again.
    fn with_a_sleeper(self, random: &mut Random) -> Self {
        Self {
            processes: 4,
            clients: 2,
            operations: random.between(100..200),
            pace: 60,
            latency_max: Duration::from_millis(20),
            faults: random.pick(&[0, 10]),
            disasters: 0,
            naps: 100,
            kills: 100,
            upkeep: Upkeep::Asked,
            commit_timeout: Duration::from_secs(100_000),
            ..self
        }
    }

    fn drawn(seed: u64, random: &mut Random) -> Self {
        let is_large = random.chance(250);
        Self {
            seed,
            base_path: random.pick(&["", "base", "a/b"]),
            processes: random.between(1..5),
            clients: random.between(1..5),
            operations: random.between(20..90),
            keys: if is_large { 16 } else { random.pick(&[2, 4, 16]) },
            padding_max: if is_large { 16_000 } else { 100 },
            pace: random.pick(&[1, 1, 10, 60]),
            latency_max: Duration::from_millis(random.pick(&[2, 20, 200])),
            faults: random.pick(&[0, 10, 50, 200]),
            disasters: random.pick(&[0, 20, 100]),
            naps: random.pick(&[0, 0, 20]),
            kills: random.pick(&[100, 500, 900]),
            upkeep: match random.below(8) {
                0 => Upkeep::None,
                1..3 => Upkeep::Automatic { batches: random.between(1..8) },
                _ => Upkeep::Asked,
            },
            coordination: Coordination::None,
            commit_timeout: Duration::from_secs(random.pick(&[1, 5, 30, 100_000])),
            history_transactions_max: random.pick(&[4, 16, 1_000_000, 1_000_000]),
            recent_bytes_max: random.pick(&[0, 1_000, 16 << 20]),
            queue_bytes_max: random.pick(&[300, 16 << 20, 16 << 20]),
            data_file_size_max: random.pick(if is_large { &[20_000, 10 << 20] } else { &[200, 1_000] }),
            cache_bytes_max: random.pick(&[0, 4_000, 32 << 20]),
        }
    }
}
