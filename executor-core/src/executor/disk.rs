//! Is there room on the disk for another task?

use std::path::Path;

use rustix::fs::statvfs;

/// Why no new task should be taken, if none should: `was_low` is what was said the last time. Unknown room is room.
pub(super) fn not_ready(dir: &Path, free_min: u64, was_low: bool) -> Option<String> {
    let room = statvfs(dir).ok()?;
    judge(room.f_bavail.saturating_mul(room.f_frsize), free_min, was_low)
}

/// Room comes back in drops, as tasks end: an eighth more than the least is wanted before tasks are taken again.
fn judge(free: u64, free_min: u64, was_low: bool) -> Option<String> {
    let wanted = if was_low { free_min.saturating_add(free_min / 8) } else { free_min };
    (free < wanted).then(|| format!("its disk has {} of the {} MiB free that it keeps", free >> 20, free_min >> 20))
}

#[cfg(test)]
mod tests {
    use super::*;

    const MIB: u64 = 1 << 20;

    #[test]
    fn a_disk_that_was_low_has_to_have_some_more() {
        let said = |free| Some(format!("its disk has {free} of the 512 MiB free that it keeps"));
        for (free, was_low, expected) in [
            (512, false, None),
            (511, false, said(511)),
            (512, true, said(512)),
            (575, true, said(575)),
            (576, true, None),
        ] {
            assert_eq!(judge(free * MIB, 512 * MIB, was_low), expected, "{free} {was_low}");
        }
        assert_eq!(judge(0, 0, true), None, "nothing is kept free");
    }
}
