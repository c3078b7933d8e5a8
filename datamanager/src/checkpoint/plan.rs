//! What does a checkpoint write for a collection?
//!
//! Decided from sizes alone, so that it can be simulated. Changes of a large collection go into delta files, which cost
//! what they hold. They may only be so many, so from time to time some parts of the keys are *folded*: their base files
//! are written anew, with everything that deltas and changes have there. Which ones: where a rewritten byte of a base
//! file takes in the most. How many at once: enough that most checkpoints fold nothing, and few enough that none of them
//! takes long.

use std::ops::Range;

use crate::manifest::CollectionFiles;

/// How large files may be, and how many there may be.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Settings {
    pub(crate) data_file_size_max: u64,
    /// How many delta files a collection may have.
    pub(crate) deltas_max: usize,
}

/// What lies in a part of the keys, in bytes.
#[derive(Clone, Debug, Default)]
pub(crate) struct Part {
    /// Its base file; 0 for the open end, which has none.
    pub(crate) base: u64,
    /// What has changed since the last checkpoint.
    pub(crate) changed: u64,
    /// What is live in each delta file.
    pub(crate) deltas: Vec<u64>,
    /// How many entries the base file has.
    pub(crate) entries: u64,
    /// How many tombstones there are in changes and deltas, about.
    pub(crate) deletes: u64,
    /// Whether much of the base file are tombstones that nobody needs any more.
    pub(crate) is_stale: bool,
}

/// What to write.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Plan {
    /// Runs of parts whose base files are written anew, with everything that deltas and changes have there.
    pub(crate) folds: Vec<Range<usize>>,
    /// Deltas whose live rest is written into new deltas, with the rest of the changes.
    pub(crate) merged: Vec<usize>,
    /// Deltas of which nothing is left.
    pub(crate) dropped: Vec<usize>,
}

/// Decides what to write; `entry_max` is the size of the largest entry, as far as it is known.
pub(crate) fn plan(parts: &[Part], entry_max: u64, settings: &Settings) -> Plan {
    let folded = choose_folds(parts, entry_max, settings);
    let rest = || parts.iter().zip(&folded).filter(|(_, folded)| !**folded).map(|(part, _)| part);
    let changed = rest().map(|part| part.changed).sum();
    let deltas = parts.first().map_or(0, |part| part.deltas.len());
    let live: Vec<u64> = (0..deltas).map(|delta| rest().map(|part| part.deltas[delta]).sum()).collect();
    Plan {
        folds: runs(&folded),
        merged: choose_merged(&live, changed, capacity(entry_max, settings), settings.deltas_max),
        dropped: (0..deltas).filter(|delta| live[*delta] == 0).collect(),
    }
}

/// Whether estimates were so wrong that files, as they came out, are too many: plan again, without changes.
pub(crate) fn needs_repair(files: &CollectionFiles, settings: &Settings) -> bool {
    files.deltas.len() > settings.deltas_max
        || files.base.windows(2).any(|pair| are_small(pair[0].size, pair[1].size, settings))
}

/// Whether two neighbours are so small that they must become one.
fn are_small(left: u64, right: u64, settings: &Settings) -> bool {
    left + right <= settings.data_file_size_max / 2
}

fn choose_folds(parts: &[Part], entry_max: u64, settings: &Settings) -> Vec<bool> {
    let size_max = settings.data_file_size_max;
    let base: u64 = parts.iter().map(|part| part.base).sum();
    let live = parts.iter().map(Part::live).sum::<u64>();
    if live > 0 && base + live <= SMALL {
        return vec![true; parts.len()];
    }
    let mut folded: Vec<_> = parts.iter().map(|part| part.is_worth_a_fold(size_max)).collect();
    let mut rest: u64 = parts.iter().zip(&folded).filter(|(_, folded)| !**folded).map(|(part, _)| part.live()).sum();
    let limit = (capacity(entry_max, settings) * settings.deltas_max as u64 * LIVE_PERCENT / 100).min(base / 4);
    if rest > limit {
        let mut by_density: Vec<_> =
            (0..parts.len()).filter(|part| !folded[*part] && parts[*part].live() > 0).collect();
        by_density.sort_by(|a, b| parts[*b].density().total_cmp(&parts[*a].density()));
        let mut spent = 0;
        for part in by_density {
            if rest <= limit && spent + parts[part].base > base * QUANTUM_PERCENT / 100 {
                break;
            }
            folded[part] = true;
            spent += parts[part].base;
            rest -= parts[part].live();
        }
    }
    // A file and the next one are together larger than half of the largest.
    for right in 1..parts.len() {
        let size = |part: usize| parts[part].base + if folded[part] { parts[part].live() } else { 0 };
        if parts[right].base > 0 && are_small(size(right - 1), size(right), settings) {
            folded[right - 1] = true;
            folded[right] = true;
        }
    }
    folded
}

/// A collection that is not larger is written anew as a whole: a request costs more than that.
const SMALL: u64 = 16 << 10;

/// How many percent of what the delta files could hold may be live in them.
const LIVE_PERCENT: u64 = 82;

/// How many percent of the base files are written anew at once.
const QUANTUM_PERCENT: u64 = 9;

/// How many times the changes a delta may be, to be merged with them without a second thought.
const DEAR: u64 = 4;

impl Part {
    /// What a fold takes in.
    pub(crate) fn live(&self) -> u64 {
        self.changed + self.deltas.iter().sum::<u64>()
    }

    /// How much a fold takes in for each byte that it writes anew.
    fn density(&self) -> f64 {
        self.live() as f64 / (self.base.max(1)) as f64
    }

    /// Whether waiting would not make it cheaper.
    fn is_worth_a_fold(&self, size_max: u64) -> bool {
        let base = if self.base == 0 { size_max / 2 } else { self.base };
        let is_mostly_deleted = self.deletes > 0 && 2 * self.deletes >= self.entries && self.entries > 0;
        self.is_stale || is_mostly_deleted || 2 * self.changed >= base || self.live() >= base
    }
}

/// How many bytes a full file has at least: it ends where the next entry has no room, and two neighbours are together
/// larger than one may be.
fn capacity(entry_max: u64, settings: &Settings) -> u64 {
    (settings.data_file_size_max - entry_max.min(settings.data_file_size_max / 2)).max(1)
}

/// Chooses the deltas to merge with the changes, so that there are not too many.
fn choose_merged(live: &[u64], changed: u64, capacity: u64, deltas_max: usize) -> Vec<usize> {
    let mut smallest: Vec<_> = (0..live.len()).filter(|delta| live[*delta] > 0).collect();
    smallest.sort_by_key(|delta| live[*delta]);
    let mut merged = 0;
    let mut bytes = changed;
    let files = |bytes: u64| if bytes == 0 { 0 } else { (bytes / capacity + 1) as usize };
    let fits = |merged: usize, bytes| smallest.len() - merged + files(bytes) <= deltas_max;
    if fits(0, bytes) {
        return Vec::new();
    }
    // Small ones that fit in one file go together, each time about as many bytes as there were: a byte is then written
    // a number of times that grows with the logarithm of what accumulates.
    let is_cheap = |next: u64, bytes| next <= bytes && next + bytes <= capacity;
    while merged < smallest.len() && (!fits(merged, bytes) || is_cheap(live[smallest[merged]], bytes)) {
        bytes += live[smallest[merged]];
        merged += 1;
    }
    // A large one was written anew for small changes: make room, so that the next ones need not do that again.
    let was_dear = merged > 0 && live[smallest[merged - 1]] > DEAR * changed;
    while was_dear && merged < smallest.len() && smallest.len() - merged + files(bytes) > deltas_max * 3 / 4 {
        bytes += live[smallest[merged]];
        merged += 1;
    }
    smallest.truncate(merged);
    smallest
}

fn runs(chosen: &[bool]) -> Vec<Range<usize>> {
    let mut runs: Vec<Range<usize>> = Vec::new();
    for part in (0..chosen.len()).filter(|part| chosen[*part]) {
        match runs.last_mut() {
            Some(run) if run.end == part => run.end += 1,
            _ => runs.push(part..part + 1),
        }
    }
    runs
}
