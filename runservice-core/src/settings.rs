//! Which numbers does a run service go by?

use std::time::Duration;

use serde::{Deserialize, Serialize};

const DAY: Duration = Duration::from_secs(24 * 60 * 60);

/// The numbers of a run service. All processes that share a store are given the same.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Settings {
    /// After how long without a heartbeat an executor gets no new tasks. Default: 20 s.
    pub silent_after: Duration,
    /// After how long without an acknowledged heartbeat an executor stops its tasks by itself: its own setting of the same
    /// name, at most this. A minute after that the run service gives the tasks up as lost. Default: 10 min.
    pub lost_after: Duration,
    /// How long the run service keeps finished runs. Default: for ever.
    pub runs_keep_for: Option<Duration>,
    /// How long finished runs keep their logs. Default: 30 days.
    pub logs_keep_for: Option<Duration>,
    /// The most bytes of logs; the oldest finished runs lose theirs first. Default: no limit.
    pub logs_bytes_max: Option<u64>,
    /// How long finished runs keep their workspace archives. Default: 7 days.
    pub workspaces_keep_for: Option<Duration>,
    /// How long a cache entry stays after its last use. Default: 7 days.
    pub caches_keep_for: Option<Duration>,
    /// The most bytes of cache entries; what was used longest ago goes first. Default: no limit.
    pub caches_bytes_max: Option<u64>,
    /// The most bytes of one cache entry or workspace archive. Default: 16 GiB.
    pub archive_bytes_max: u64,
    /// How long events can be replayed. Default: 30 days.
    pub events_keep_for: Option<Duration>,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            silent_after: Duration::from_secs(20),
            lost_after: Duration::from_secs(600),
            runs_keep_for: None,
            logs_keep_for: Some(30 * DAY),
            logs_bytes_max: None,
            workspaces_keep_for: Some(7 * DAY),
            caches_keep_for: Some(7 * DAY),
            caches_bytes_max: None,
            archive_bytes_max: 16 << 30,
            events_keep_for: Some(30 * DAY),
        }
    }
}
