//! Which processes are there, who is whose child, and how is each told from a later one with the same pid?
//!
//! `/proc` is read only where something must be found or killed, never while a step just runs.

use std::collections::BTreeSet;
use std::{fs, io, str};

use super::ProcessId;

/// What `/proc/<pid>/stat` says about one process.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Process {
    pub(crate) id: ProcessId,
    pub(crate) parent: i32,
    pub(crate) group: i32,
    pub(crate) session: i32,
    /// It has ended, and waits for its parent to notice.
    pub(crate) zombie: bool,
}

/// The process with this pid, if there is one.
pub(crate) fn find(pid: i32) -> Option<Process> {
    parse_stat(pid, &fs::read(format!("/proc/{pid}/stat")).ok()?)
}

/// All processes of the pid namespace, in no order. A process that ends meanwhile may or may not be among them.
pub(crate) fn all() -> io::Result<Vec<Process>> {
    let mut processes = Vec::new();
    for entry in fs::read_dir("/proc")? {
        let pid = entry?.file_name().to_str().and_then(|name| name.parse().ok());
        processes.extend(pid.and_then(find));
    }
    Ok(processes)
}

/// The processes below `roots`, without the roots.
pub(crate) fn descendants(all: &[Process], roots: &BTreeSet<i32>) -> Vec<Process> {
    let mut below = roots.clone();
    let mut found = Vec::new();
    loop {
        let known = below.len();
        for process in all {
            if below.contains(&process.parent) && below.insert(process.id.pid) {
                found.push(*process);
            }
        }
        if below.len() == known {
            return found;
        }
    }
}

/// Identifies the boot that start times count from.
pub(crate) fn boot_id() -> String {
    fs::read_to_string("/proc/sys/kernel/random/boot_id").map(|id| id.trim_end().to_owned()).unwrap_or_default()
}

// The name of the program is in parentheses, and may hold blanks and parentheses itself.
fn parse_stat(pid: i32, stat: &[u8]) -> Option<Process> {
    let name_end = stat.iter().rposition(|&byte| byte == b')')?;
    let fields: Vec<&str> = str::from_utf8(&stat[name_end + 1..]).ok()?.split_ascii_whitespace().collect();
    Some(Process {
        id: ProcessId { pid, start_time: fields.get(19)?.parse().ok()? },
        parent: fields.get(1)?.parse().ok()?,
        group: fields.get(2)?.parse().ok()?,
        session: fields.get(3)?.parse().ok()?,
        zombie: matches!(*fields.first()?, "Z" | "X"),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn process(pid: i32, parent: i32) -> Process {
        Process { id: ProcessId { pid, start_time: 0 }, parent, group: 0, session: 0, zombie: false }
    }

    #[test]
    fn a_program_name_with_parentheses_and_blanks_is_no_obstacle() {
        let stat = b"7 (a) b (c) Z 3 5 6 0 -1 4194560 1 2 3 4 5 6 7 8 20 0 1 0 4711 1 2";
        let expected =
            Process { id: ProcessId { pid: 7, start_time: 4711 }, parent: 3, group: 5, session: 6, zombie: true };
        assert_eq!(parse_stat(7, stat), Some(expected));
        assert_eq!(parse_stat(7, b"7 (a) Z 3"), None);
    }

    #[test]
    fn descendants_are_found_in_whatever_order_they_are_listed() {
        let all = [process(9, 8), process(8, 2), process(3, 1), process(2, 1), process(7, 3)];
        let mut pids: Vec<i32> = descendants(&all, &BTreeSet::from([2])).iter().map(|found| found.id.pid).collect();
        pids.sort_unstable();
        assert_eq!(pids, [8, 9]);
    }

    #[test]
    fn a_process_finds_itself() {
        let own = i32::try_from(std::process::id()).unwrap();
        assert!(all().unwrap().iter().any(|process| Some(*process) == find(own)));
    }
}
