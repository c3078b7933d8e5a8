//! How does everything end that the steps of a pod have left?
//!
//! In a container all processes are the pod's: what is not known to be ours is killed. A mark in the environment would not
//! find all of them, since root in a container may not read the environment of another user's process
//! (`CAP_SYS_PTRACE`). Where the pod has no process namespace of its own there is nothing but the mark.

use std::collections::BTreeSet;
use std::fs;
use std::io;

use super::POD_VARIABLE;
use crate::pause::KEEPER;
use crate::supervise::{kill_until_gone, processes};
use crate::{PROGRAM, ProcessId, StepDirs, kill_marked};

/// Ends all but the supervisors: they may still have output that nobody has fetched.
pub(super) fn keep_supervisors(steps: &StepDirs, pod: &str) -> io::Result<()> {
    let mut supervisors = BTreeSet::new();
    for dir in steps.all()? {
        supervisors.extend(dir.pids()?.map(|pids| pids.supervisor));
    }
    empty(&supervisors, pod)
}

/// Ends everything of the steps, their supervisors too.
pub(super) fn kill_all(steps: &StepDirs, pod: &str) -> io::Result<()> {
    refuse_left(&steps.kill_recorded()?)?;
    empty(&BTreeSet::new(), pod)
}

fn empty(spared: &BTreeSet<ProcessId>, pod: &str) -> io::Result<()> {
    if !is_own_namespace() {
        return refuse_left(&kill_marked(POD_VARIABLE, pod)?);
    }
    let left = kill_until_gone(|| {
        let all = processes::all()?;
        Ok(all.into_iter().filter(|process| !spared.contains(&process.id) && !is_ours(process)).collect())
    })?;
    refuse_left(&left)
}

/// Whether the first process that is to be seen is the `pause` of a container.
fn is_own_namespace() -> bool {
    let words = command_line(1);
    words.first().is_some_and(|program| program.ends_with(PROGRAM)) && words.iter().any(|word| word == "pause")
}

/// The first process and the child that keeps it company, and whatever was started from outside: bridges.
fn is_ours(process: &processes::Process) -> bool {
    let is_keeper = || process.parent == 1 && command_line(process.id.pid).last().is_some_and(|word| word == KEEPER);
    process.id.pid == 1 || process.parent == 0 || is_keeper()
}

/// Unlike the environment, everybody may read it.
fn command_line(pid: i32) -> Vec<String> {
    let line = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
    let words = line.strip_suffix(&[0]).unwrap_or(&line).split(|&byte| byte == 0);
    words.map(|word| String::from_utf8_lossy(word).into_owned()).collect()
}

fn refuse_left(left: &[ProcessId]) -> io::Result<()> {
    if left.is_empty() {
        return Ok(());
    }
    let pids: Vec<_> = left.iter().map(|process| process.pid.to_string()).collect();
    Err(io::Error::other(format!("processes {} of the pod cannot be killed", pids.join(", "))))
}
