//! Which signal goes to which process of the step? The tree is all that descends from this process.

use std::collections::BTreeSet;
use std::io;

use rustix::io::Errno;
use rustix::process::{Pid, Signal, kill_process_group};

use super::kill;
use super::processes::{self, Process};

/// The processes of the step that have not ended.
pub(crate) fn tree() -> io::Result<Vec<Process>> {
    let own = std::process::id().cast_signed();
    let mut tree = processes::descendants(&processes::all()?, &BTreeSet::from([own]));
    tree.retain(|process| !process.zombie);
    Ok(tree)
}

/// SIGTERM to the process group of `command`, its leader.
pub(crate) fn terminate_group(command: i32) {
    if let Some(group) = Pid::from_raw(command) {
        // It fails if the group has ended, or belongs to another user: the kill after the grace period tells.
        let _ = kill_process_group(group, Signal::TERM);
    }
}

/// SIGTERM to what has left the process group of `command`.
pub(crate) fn terminate_outside(command: i32) -> io::Result<()> {
    for process in tree()?.iter().filter(|process| process.group != command) {
        let _ = kill::kill(process.id, Signal::TERM);
    }
    Ok(())
}

/// SIGKILL to the whole tree as it is now. `false` if all that is left belongs to other users and cannot be killed;
/// else the end of something is still to be noticed, and it is time to look again then.
pub(crate) fn kill_tree() -> io::Result<bool> {
    let own = std::process::id().cast_signed();
    let tree = processes::descendants(&processes::all()?, &BTreeSet::from([own]));
    let (mut refused, mut ending) = (false, false);
    for process in &tree {
        if process.zombie {
            ending |= process.parent == own;
            continue;
        }
        match kill::kill(process.id, Signal::KILL) {
            Err(Errno::PERM) => refused = true,
            // Gone already: its end, or its parent's, is what is to be noticed.
            Ok(_) => ending = true,
            Err(error) => return Err(error.into()),
        }
    }
    Ok(ending || !refused)
}
