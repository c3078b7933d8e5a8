//! Did the kernel kill something of this container for lack of memory?

use std::fs;

/// The controller's file of the first version of control groups, and of the second (kernel documentation,
/// `admin-guide/cgroup-v1/memory` and `admin-guide/cgroup-v2`). In a container with a namespace of its own the group is at
/// the root of the mount.
const FILES: [(&str, &str); 2] = [("/sys/fs/cgroup/memory", "memory.oom_control"), ("/sys/fs/cgroup", "memory.events")];

/// How many processes of our control group the kernel has killed so far; none: nobody tells.
pub(super) fn kills() -> Option<u64> {
    let groups = fs::read_to_string("/proc/self/cgroup").unwrap_or_default();
    let own = groups.lines().filter_map(|line| line.splitn(3, ':').nth(2));
    let files = FILES.iter().flat_map(|(mount, file)| {
        let in_group = own.clone().map(move |group| format!("{mount}{group}/{file}"));
        in_group.chain([format!("{mount}/{file}")])
    });
    files.filter_map(|file| fs::read_to_string(file).ok()).find_map(|text| parse(&text))
}

fn parse(text: &str) -> Option<u64> {
    text.lines().find_map(|line| line.strip_prefix("oom_kill ")?.trim().parse().ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_versions_of_control_groups_are_understood() {
        assert_eq!(parse("oom_kill_disable 0\nunder_oom 0\noom_kill 3\n"), Some(3));
        assert_eq!(parse("low 0\nhigh 0\nmax 12\noom 4\noom_kill 2\noom_group_kill 0\n"), Some(2));
        assert_eq!(parse("oom_kill_disable 0\nunder_oom 0\n"), None, "a kernel before 4.13");
    }
}
