//! How does everything that runs in a pod end?
//!
//! Supervisors are asked to end their steps, which they do with a grace period. Then whatever has the pod's mark is
//! killed: processes of earlier steps, and those that left their step's tree.

use std::{fs::File, io, os::fd::OwnedFd, time::Duration};

use runyard_toolbox::{
    StepDir, kill_marked,
    protocol::{ClientFrame, Frame as _},
};
use rustix::{
    fs::inotify,
    process::{Pid, PidfdFlags, pidfd_open},
};
use tokio::{
    io::AsyncWriteExt as _,
    net::{UnixStream, unix::pipe},
};

use super::{MARK, pod::ProcessPod};
use crate::driver::{DriverError, Pod as _, Result};

/// How much longer than the grace period a supervisor may take.
const SUPERVISOR_EXTRA: Duration = Duration::from_millis(500);

pub(super) async fn stop(pod: &ProcessPod, grace: Duration) -> Result<()> {
    let doing = || DriverError::io(format!("stopping pod {}", pod.id()));
    let running = pod.step_dirs().map_err(doing())?.into_iter().filter(|dir| !matches!(dir.exit(), Ok(Some(_))));
    let stopping = running.map(async |dir| {
        // A supervisor that cannot be asked is killed below with what it supervises.
        let _ = tokio::time::timeout(grace + SUPERVISOR_EXTRA, ask_and_wait(&dir, grace)).await;
    });
    futures::future::join_all(stopping).await;
    kill_marks(pod).await.map_err(doing())
}

async fn ask_and_wait(dir: &StepDir, grace: Duration) -> io::Result<()> {
    // The path is valid only as long as this value lives.
    let path = dir.socket_path()?;
    let mut stream = UnixStream::connect(&path).await?;
    let grace_ms = u64::try_from(grace.as_millis()).unwrap_or(u64::MAX);
    stream.write_all(&ClientFrame::Stop { grace_ms }.to_bytes()).await?;
    tokio::select! {
        recorded = exit_recorded(dir) => recorded,
        gone = supervisor_gone(dir) => gone,
    }
}

/// The supervisor stays for its output to be fetched, so the end of a step is seen by its file.
async fn exit_recorded(dir: &StepDir) -> io::Result<()> {
    let watch = inotify::init(inotify::CreateFlags::NONBLOCK | inotify::CreateFlags::CLOEXEC)?;
    inotify::add_watch(&watch, dir.path(), inotify::WatchFlags::MOVED_TO)?;
    let watch = pollable(watch)?;
    let mut events = [0; 4096];
    while dir.exit()?.is_none() {
        watch.readable().await?;
        // What the events say does not matter, only that they are taken.
        while watch.try_read(&mut events).is_ok() {}
    }
    Ok(())
}

async fn supervisor_gone(dir: &StepDir) -> io::Result<()> {
    let supervisor = dir.pids()?.and_then(|pids| Pid::from_raw(pids.supervisor.pid));
    let Some(supervisor) = supervisor else { return Ok(()) };
    let process: OwnedFd = match pidfd_open(supervisor, PidfdFlags::NONBLOCK) {
        Ok(process) => process,
        Err(rustix::io::Errno::SRCH) => return Ok(()),
        Err(error) => return Err(error.into()),
    };
    if dir.is_supervisor_alive()? {
        pollable(process)?.readable().await?;
    }
    Ok(())
}

/// Anything that becomes readable. `AsyncFd` can only be made with unsafe code; a receiver does the same for any file
/// that can be polled, and owns it.
fn pollable(file: OwnedFd) -> io::Result<pipe::Receiver> {
    pipe::Receiver::from_file_unchecked(File::from(file))
}

async fn kill_marks(pod: &ProcessPod) -> io::Result<()> {
    if pod.is_known_empty()? {
        return Ok(());
    }
    let id = pod.id().clone();
    let left =
        tokio::task::spawn_blocking(move || kill_marked(MARK, id.as_str())).await.map_err(io::Error::other)??;
    refuse_left(&left)
}

/// Kills everything of a pod, its supervisors too.
pub(super) async fn kill_all(pod: &ProcessPod) -> io::Result<()> {
    for dir in pod.step_dirs()? {
        let left = tokio::task::spawn_blocking(move || dir.kill_orphans()).await.map_err(io::Error::other)??;
        refuse_left(&left)?;
    }
    kill_marks(pod).await
}

fn refuse_left(left: &[runyard_toolbox::ProcessId]) -> io::Result<()> {
    if left.is_empty() {
        return Ok(());
    }
    let pids: Vec<_> = left.iter().map(|process| process.pid.to_string()).collect();
    Err(io::Error::other(format!("processes {} cannot be killed", pids.join(", "))))
}
