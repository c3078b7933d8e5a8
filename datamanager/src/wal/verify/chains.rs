//! Do the objects of a store belong together, and is none of them missing?

use std::collections::BTreeMap;

use super::{Report, objects::Checked};
use crate::wal::{clean::decide::MANIFESTS_KEPT, log::LogObjects};

/// How many missing neighbours are named.
const NAMED_MAX: usize = 1000;

/// Checks manifests, floors and the log against each other.
pub(super) fn check_chains(report: &mut Report, log: &LogObjects, checked: &Checked) {
    check_manifests(report, log, checked);
    check_floors(report, log, checked);
    check_log(report, log, checked);
}

fn check_manifests(report: &mut Report, log: &LogObjects, checked: &Checked) {
    let manifests = &checked.manifests;
    let Some(newest) = manifests.keys().last().copied() else { return };
    // Older ones may have been cleaned, or be there because they are pinned.
    for number in newest.saturating_sub(MANIFESTS_KEPT as u64 - 1).max(1)..newest {
        if !manifests.contains_key(&number) {
            report.damaged(log.layout.manifest(number), "it is missing, though later checkpoints are there");
        }
    }
    for (number, link) in whole(manifests) {
        let before = match number {
            1 => checked.genesis,
            _ => manifests.get(&(number - 1)).and_then(Option::as_ref).map(|link| link.hash),
        };
        if before.is_some_and(|before| before != link.previous) {
            report.damaged(log.layout.manifest(number), "it does not follow on the checkpoint before it");
        }
    }
}

fn check_floors(report: &mut Report, log: &LogObjects, checked: &Checked) {
    let floors = &checked.floors;
    let (Some((first, _)), Some((last, _))) = (floors.first_key_value(), floors.last_key_value()) else { return };
    for number in (*first..*last).filter(|number| !floors.contains_key(number)) {
        report.damaged(log.layout.floor(number), "it is missing, though there are floors before and after it");
    }
    let mut above = 0;
    for (number, floor) in whole(floors) {
        if floor.lsn < above {
            report.damaged(log.layout.floor(number), "it is below the one before it");
        }
        above = floor.lsn;
    }
}

fn check_log(report: &mut Report, log: &LogObjects, checked: &Checked) {
    let batches = &checked.log;
    let tips = || whole(&checked.manifests).map(|(_, link)| link.tip);
    for tip in tips() {
        if batches.get(&tip.lsn).and_then(Option::as_ref).is_some_and(|(_, hash)| *hash != tip.hash) {
            report.damaged(log.layout.log(tip.lsn), "it is not the batch that a checkpoint ends with");
        }
    }
    let floor = whole(&checked.floors).map(|(_, floor)| floor.lsn).max().unwrap_or_default().max(1);
    let last = batches.keys().last().copied().unwrap_or_default().max(tips().map(|tip| tip.lsn).max().unwrap_or(0));
    // What is below the floor is being deleted, or will be.
    let first = batches.keys().next().copied().unwrap_or(floor).min(floor);
    let mut before = if first == 1 { checked.genesis } else { None };
    let mut lsn = first;
    while lsn <= last {
        let Some(batch) = batches.get(&lsn) else {
            // An import goes on after the positions of the exported store: no batch was ever in between.
            if let Some(tip) = tips().find(|tip| tip.lsn >= lsn && Some(tip.hash) == before) {
                lsn = tip.lsn + 1;
                continue;
            }
            let end = batches.range(lsn..).next().map_or(last + 1, |(next, _)| *next);
            for missing in (lsn.max(floor)..end).take(NAMED_MAX) {
                report.damaged(log.layout.log(missing), "it is missing, though the log goes on after it");
            }
            before = tips().find(|tip| tip.lsn + 1 == end).map(|tip| tip.hash);
            lsn = end;
            continue;
        };
        if let Some((previous, _)) = batch
            && before.is_some_and(|before| before != *previous)
        {
            report.damaged(log.layout.log(lsn), "it does not follow on the batch before it");
        }
        let covered = tips().find(|tip| tip.lsn == lsn).map(|tip| tip.hash);
        before = batch.map(|(_, hash)| hash).or(covered);
        lsn += 1;
    }
}

/// Those that are not damaged.
fn whole<T>(objects: &BTreeMap<u64, Option<T>>) -> impl Iterator<Item = (u64, &T)> {
    objects.iter().filter_map(|(number, object)| Some((*number, object.as_ref()?)))
}
