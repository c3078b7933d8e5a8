//! How is a cost measured and told?

use std::{
    fs,
    sync::atomic::{AtomicU64, Ordering},
    time::{Duration, Instant},
};

use bytes::Bytes;
use runyard_objectstorage::{ObjectKey, ObjectStorageExt, PosixStorage, PutMode};

use crate::Outcome;

#[expect(clippy::disallowed_methods, reason = "a bench measures real time")]
pub(crate) fn now() -> Instant {
    Instant::now()
}

/// One persisted object: what no commit can be faster than.
pub(crate) async fn floor(storage: &PosixStorage) -> Outcome<Duration> {
    static NEXT: AtomicU64 = AtomicU64::new(0);
    let key = ObjectKey::parse(&format!("floor/{}", NEXT.fetch_add(1, Ordering::Relaxed)))?;
    let began = now();
    storage.put_bytes(&key, Bytes::from_static(&[7; 1024]), PutMode::Create).await?;
    Ok(began.elapsed())
}

pub(crate) fn percentile(series: &mut [Duration], percent: usize) -> Duration {
    series.sort_unstable();
    series[(series.len() * percent / 100).min(series.len() - 1)]
}

pub(crate) fn millis(time: Duration) -> String {
    format!("{:.2} ms", time.as_secs_f64() * 1e3)
}

/// Resident memory of this process, in MiB.
pub(crate) fn resident() -> Outcome<f64> {
    let status = fs::read_to_string("/proc/self/status")?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).ok_or("no VmRSS")?;
    let kib: f64 = line.trim().trim_end_matches(" kB").parse()?;
    Ok(kib / 1024.0)
}
