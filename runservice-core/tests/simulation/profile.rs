//! What kind of world does a seed make?

use std::time::Duration;

use crate::{random::Random, variants::Variant};

/// What a seed decides before anything happens.
#[derive(Clone, Debug)]
pub(crate) struct Profile {
    pub(crate) seed: u64,
    /// Processes of the run service on one store.
    pub(crate) processes: u64,
    /// Whether they share it by an etcd; without one there is one process.
    pub(crate) is_shared: bool,
    pub(crate) executors: u64,
    pub(crate) users: u64,
    /// How many runs all users together create.
    pub(crate) runs: u64,
    /// The most tasks of a run.
    pub(crate) tasks_max: u64,
    /// How many times as long as usual everything takes but calls: the slower, the more leases and silences run out.
    pub(crate) pace: u32,
    /// The longest that one half of a storage call usually takes, in milliseconds.
    pub(crate) latency_max: u64,
    /// How many of a thousand storage calls fail.
    pub(crate) faults: u64,
    /// How many of ten thousand storage calls begin an outage.
    pub(crate) outages: u64,
    /// How many of a thousand lives of a process end in a kill.
    pub(crate) kills: u64,
    /// How many of a thousand calls of executors are lost, on their way there or back; as many arrive twice.
    pub(crate) losses: u64,
    /// How many of a thousand lives of an executor end in a crash.
    pub(crate) crashes: u64,
    /// How many of a thousand crashed executors lose their disk, and everything that runs on them.
    pub(crate) wipes: u64,
    /// How many of a thousand tasks fail.
    pub(crate) failures: u64,
    /// After how long without an answer an executor stops its tasks.
    pub(crate) lost_after: Duration,
    /// How long a commit waits for the storage.
    pub(crate) commit_timeout: Duration,
    /// How long finished runs keep their logs; none: for ever.
    pub(crate) logs_keep_for: Option<Duration>,
}

impl Profile {
    pub(crate) fn of(seed: u64) -> Self {
        let random = &mut Random::new(seed, 0);
        let is_shared = random.chance(600);
        let is_wild = random.chance(850);
        let wild = |drawn: u64| if is_wild { drawn } else { 0 };
        Self {
            seed,
            processes: if is_shared { random.pick(&[1, 2, 2, 3]) } else { 1 },
            is_shared,
            executors: random.pick(&[1, 2, 2, 3, 3, 5]),
            users: random.between(1..4),
            runs: random.pick(&[1, 2, 3, 4, 6]),
            tasks_max: random.pick(&[1, 2, 3, 4, 5, 12]),
            pace: random.pick(&[1, 1, 3, 10]),
            latency_max: random.pick(&[0, 2, 20, 100]),
            faults: wild(random.pick(&[0, 5, 30])),
            outages: wild(random.pick(&[0, 0, 5, 20])),
            kills: wild(random.pick(&[0, 300, 700])),
            losses: wild(random.pick(&[0, 10, 60])),
            crashes: wild(random.pick(&[0, 300, 700])),
            wipes: wild(random.pick(&[0, 0, 200])),
            failures: random.pick(&[0, 100, 300]),
            lost_after: Duration::from_secs(random.pick(&[30, 120, 600])),
            commit_timeout: Duration::from_secs(random.pick(&[5, 30, 30])),
            logs_keep_for: random.pick(&[None, None, Some(30), Some(300)]).map(Duration::from_secs),
        }
    }

    /// The world of something that is broken on purpose.
    pub(crate) fn for_variant(self, variant: Option<Variant>) -> Self {
        match variant {
            Some(Variant::DataChecksNothing) => Self { is_shared: false, processes: 1, ..self },
            // What is taken back from an executor was given to it through a process that has ended.
            Some(Variant::ExecutorIgnoresFence | Variant::ExecutorStartsEarly) => {
                Self { is_shared: true, processes: 2, kills: 700, losses: 60, ..self }
            }
            _ => self,
        }
    }

    /// Something that takes up to so many milliseconds at the usual pace.
    pub(crate) fn pause(&self, random: &mut Random, millis: u64) -> Duration {
        random.millis(1..millis) * self.pace
    }
}
