//! What of a store is no longer needed, and in which order may it go?
//!
//! Pure. The order is that of the fields of [`Deletions`], and each list is in order: a process that dies in between
//! leaves only objects that the next cleaning finds. No manifest that is left lacks a file, and what is left of the log
//! has no gap.

use std::{collections::BTreeSet, time::Duration};

use runyard_objectstorage::ObjectKey;

use crate::{
    broken::{self, Broken},
    manifest::{FileId, Manifest},
    wal::floor::{Floor, gate::CLEANER_WAIT},
};

/// How many of the newest checkpoints stay whole.
pub(crate) const MANIFESTS_KEPT: usize = 3;

/// A floor in the storage, and since when this process knows that it is there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct KnownFloor {
    pub(crate) floor: Floor,
    pub(crate) since: Duration,
}

/// What a cleaner may delete, in the order in which it must.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Deletions {
    pub(crate) manifests: Vec<u64>,
    pub(crate) data: Vec<ObjectKey>,
    /// Everything of the log below.
    pub(crate) log_below: u64,
    pub(crate) floors: Vec<u64>,
}

/// Which of the manifests stay: the newest ones, and those with a pin. `listed` is ascending.
pub(crate) fn kept(listed: &[u64], pinned: &BTreeSet<u64>) -> Vec<u64> {
    let count = if broken::is(Broken::OnlyNewestKept) { 1 } else { MANIFESTS_KEPT };
    let newest = listed.len().saturating_sub(count);
    let is_kept = |(index, number): &(usize, &u64)| *index >= newest || pinned.contains(number);
    listed.iter().enumerate().filter(is_kept).map(|(_, number)| *number).collect()
}

/// Where the log must begin so that every kept checkpoint can be gone on from. The empty state before the first one
/// counts as a checkpoint, so with fewer than enough all of the log stays.
pub(crate) fn floor_wanted(kept: &[Manifest]) -> u64 {
    let oldest = kept.iter().map(|manifest| manifest.tip.lsn + 1).min();
    oldest.filter(|_| kept.len() >= MANIFESTS_KEPT).unwrap_or_default()
}

/// The floor to publish; none if the newest one will do. `floors` are ascending.
pub(crate) fn floor_to_publish(kept: &[Manifest], floors: &[KnownFloor]) -> Option<Floor> {
    let newest = floors.last().map_or_else(Floor::default, |known| known.floor);
    let lsn = floor_wanted(kept);
    // The first log number is 1: a floor there allows nothing.
    (lsn > newest.lsn.max(1)).then_some(Floor { number: newest.number + 1, lsn })
}

/// When the cleaner has waited for the newest floor; none if there is none.
pub(crate) fn waits_until(floors: &[KnownFloor]) -> Option<Duration> {
    floors.last().map(|known| known.since + CLEANER_WAIT)
}

/// What may be deleted, of the manifests and data files that are listed, where `kept` stay.
pub(crate) fn deletions(
    manifests: &[u64],
    kept: &[Manifest],
    data: Vec<(ObjectKey, FileId)>,
    floors: &[KnownFloor],
    now: Duration,
) -> Deletions {
    let kept_numbers: BTreeSet<u64> = kept.iter().map(|manifest| manifest.number).collect();
    let files: BTreeSet<FileId> = kept.iter().flat_map(files_of).collect();
    let newest = manifests.last().copied().unwrap_or_default();
    let wait = if broken::is(Broken::CleanerImpatient) { Duration::ZERO } else { CLEANER_WAIT };
    let waited = floors.iter().rposition(|known| known.since + wait <= now);
    // What has a higher number is being written for a manifest to come.
    let is_ready = |file: &FileId| file.manifest <= newest || broken::is(Broken::OrphanRuleIgnored);
    Deletions {
        manifests: manifests.iter().copied().filter(|number| !kept_numbers.contains(number)).collect(),
        data: data
            .into_iter()
            .filter(|(_, file)| is_ready(file) && !files.contains(file))
            .map(|(key, _)| key)
            .collect(),
        // A floor that came back after it was deleted, from a cleaner that slept, is above a newer one that counts.
        log_below: waited.map_or(0, |waited| {
            let counting = floors[waited..].iter().map(|known| known.floor.lsn).min();
            counting.unwrap_or_default().min(floor_wanted(kept))
        }),
        floors: floors[..waited.unwrap_or_default()].iter().map(|known| known.floor.number).collect(),
    }
}

fn files_of(manifest: &Manifest) -> impl Iterator<Item = FileId> {
    let files = |files: &crate::manifest::CollectionFiles| {
        let deltas = files.deltas.iter().map(|delta| delta.file.id);
        files.base.iter().map(|file| file.id).chain(deltas).collect::<Vec<_>>()
    };
    manifest.collections.values().flat_map(files)
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;
    use crate::{
        Position,
        manifest::{CollectionFiles, DeltaMeta, FileMeta, Tip},
    };

    fn id(manifest: u64, number: u32) -> FileId {
        FileId { manifest, writer: 7, number }
    }

    fn file(id: FileId) -> FileMeta {
        FileMeta {
            id,
            size: 1,
            tail: 1,
            tail_hash: [0; 32],
            entries: 1,
            tombstones: 0,
            first: Bytes::new(),
            last: Bytes::new(),
            newest: Position::ZERO,
        }
    }

    /// Manifest `number` covers the log up to ten times its number.
    fn manifest(number: u64, base: &[FileId], deltas: &[FileId]) -> Manifest {
        let delta = |id: &FileId| DeltaMeta { file: file(*id), filter: Bytes::new() };
        let files = CollectionFiles {
            base: base.iter().copied().map(file).collect(),
            deltas: deltas.iter().map(delta).collect(),
            ..CollectionFiles::default()
        };
        Manifest {
            number,
            tip: Tip { lsn: 10 * number, hash: [0; 32] },
            collections: [("c".to_owned(), files)].into(),
            ..Manifest::empty([0; 32])
        }
    }

    fn known(number: u64, lsn: u64, since: u64) -> KnownFloor {
        KnownFloor { floor: Floor { number, lsn }, since: Duration::from_secs(since) }
    }

    fn key(id: FileId) -> (ObjectKey, FileId) {
        let name = format!("data/c/{}-{}", id.manifest, id.number);
        (ObjectKey::parse(&name).expect("a good key"), id)
    }

    #[test]
    fn the_newest_three_manifests_and_the_pinned_ones_are_kept() {
        for (listed, pinned, expected) in [
            (&[][..], &[][..], &[][..]),
            (&[1], &[], &[1]),
            (&[1, 2, 3], &[], &[1, 2, 3]),
            (&[1, 2, 3, 4], &[], &[2, 3, 4]),
            (&[1, 2, 3, 4, 5, 6], &[2, 5], &[2, 4, 5, 6]),
            (&[4, 5, 6, 7], &[1], &[5, 6, 7]),
        ] {
            assert_eq!(kept(listed, &pinned.iter().copied().collect()), expected, "{listed:?} {pinned:?}");
        }
    }

    #[test]
    fn a_floor_is_published_where_the_oldest_kept_checkpoint_ends_and_only_if_it_is_higher() {
        let kept = [manifest(3, &[], &[]), manifest(4, &[], &[]), manifest(5, &[], &[])];
        assert_eq!(floor_to_publish(&kept, &[]), Some(Floor { number: 1, lsn: 31 }));
        assert_eq!(floor_to_publish(&kept, &[known(4, 21, 0)]), Some(Floor { number: 5, lsn: 31 }));
        assert_eq!(floor_to_publish(&kept, &[known(4, 31, 0)]), None);
        assert_eq!(floor_to_publish(&kept, &[known(4, 41, 0)]), None, "a floor never goes down");
        assert_eq!(floor_to_publish(&kept[1..], &[]), None, "the store can still go back to before the first one");
        assert_eq!(floor_to_publish(&[], &[]), None);
    }

    #[test]
    fn manifests_go_that_are_not_kept_and_files_that_no_kept_one_names() {
        let kept = [manifest(3, &[id(1, 1)], &[id(3, 1)]), manifest(5, &[id(1, 1)], &[id(5, 1)])];
        let orphans = [id(2, 1), id(4, 9), id(5, 2)];
        let others = [id(1, 1), id(3, 1), id(5, 1), id(6, 1), id(7, 1)];
        let data = orphans.iter().chain(&others).map(|id| key(*id)).collect();
        let deletions = deletions(&[2, 3, 4, 5], &kept, data, &[], Duration::ZERO);
        assert_eq!(deletions.manifests, [2, 4]);
        let expected: Vec<_> = orphans.iter().map(|id| key(*id).0).collect();
        assert_eq!(deletions.data, expected, "what is written for manifest 6 and 7 is not an orphan yet");
        assert_eq!((deletions.log_below, deletions.floors), (0, vec![]));
    }

    #[test]
    fn the_log_goes_only_below_a_floor_that_was_waited_for() {
        let kept = [manifest(5, &[], &[]), manifest(6, &[], &[]), manifest(7, &[], &[])];
        let wait = CLEANER_WAIT.as_secs();
        for (floors, now, log_below, old) in [
            (vec![], 10 * wait, 0, vec![]),
            (vec![known(1, 40, 100)], 100, 0, vec![]),
            (vec![known(1, 40, 100)], 99 + wait, 0, vec![]),
            (vec![known(1, 40, 100)], 100 + wait, 40, vec![]),
            (vec![known(1, 40, 100), known(2, 50, 200)], 100 + wait, 40, vec![]),
            (vec![known(1, 40, 100), known(2, 50, 200)], 200 + wait, 50, vec![1]),
            (vec![known(1, 10, 0), known(2, 40, 0), known(3, 50, 0)], wait, 50, vec![1, 2]),
            // What a kept checkpoint needs stays, whatever a floor says.
            (vec![known(1, 60, 0)], wait, 51, vec![]),
            // A floor that came back counts no more than the newer ones do.
            (vec![known(1, 45, 0), known(2, 30, 10)], wait, 30, vec![]),
        ] {
            let deletions = deletions(&[5, 6, 7], &kept, vec![], &floors, Duration::from_secs(now));
            assert_eq!((deletions.log_below, deletions.floors), (log_below, old), "{floors:?} at {now}");
        }
    }

    #[test]
    fn without_a_kept_manifest_no_log_goes() {
        let deletions = deletions(&[], &[], vec![key(id(1, 1))], &[known(1, 9, 0)], CLEANER_WAIT);
        assert_eq!(deletions, Deletions::default());
    }
}
