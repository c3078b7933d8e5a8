//! How does everything that runs in a pod end?
//!
//! Supervisors are asked to end their steps, which they do with a grace period. Then whatever has the pod's mark is
//! killed: processes of earlier steps, and those that left their step's tree.

use std::{io, time::Duration};

use runyard_toolbox::{ProcessId, kill_marked};

use super::{MARK, pod::ProcessPod};
use crate::driver::{DriverError, Pod as _, Result};

pub(super) async fn stop(pod: &ProcessPod, grace: Duration) -> Result<()> {
    let stopping = pod.clone();
    let stopped = blocking(move || {
        stopping.steps().stop(grace)?;
        kill_marks(&stopping)
    });
    stopped.await.map_err(DriverError::io(format!("stopping pod {}", pod.id())))
}

/// Kills everything of a pod, its supervisors too.
pub(super) async fn kill_all(pod: &ProcessPod) -> io::Result<()> {
    let pod = pod.clone();
    blocking(move || {
        refuse_left(&pod.steps().kill_recorded()?)?;
        kill_marks(&pod)
    })
    .await
}

async fn blocking(work: impl FnOnce() -> io::Result<()> + Send + 'static) -> io::Result<()> {
    tokio::task::spawn_blocking(work).await.map_err(io::Error::other)?
}

fn kill_marks(pod: &ProcessPod) -> io::Result<()> {
    if pod.is_known_empty()? {
        return Ok(());
    }
    refuse_left(&kill_marked(MARK, pod.id().as_str())?)
}

fn refuse_left(left: &[ProcessId]) -> io::Result<()> {
    if left.is_empty() {
        return Ok(());
    }
    let pids: Vec<_> = left.iter().map(|process| process.pid.to_string()).collect();
    Err(io::Error::other(format!("processes {} cannot be killed", pids.join(", "))))
}
