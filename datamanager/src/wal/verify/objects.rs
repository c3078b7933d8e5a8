//! Is each object what its name says?

use std::collections::{BTreeMap, BTreeSet};

use futures::TryStreamExt;
use runyard_objectstorage::ObjectKey;

use super::Report;
use crate::{
    Direction, Error, KeyRange, Position, Result,
    manifest::{FileMeta, Manifest, Tip, newest},
    record::Hash,
    table::{Caching, DataFiles},
    wal::{floor::Floor, format, log::LogObjects},
};

/// The names that were found.
#[derive(Debug, Default)]
pub(super) struct Found {
    has_format: bool,
    manifests: BTreeSet<u64>,
    log: BTreeSet<u64>,
    floors: BTreeSet<u64>,
    /// With their sizes.
    data: BTreeMap<ObjectKey, u64>,
}

/// What is needed of the objects to see whether they belong together.
#[derive(Debug, Default)]
pub(super) struct Checked {
    /// None where the format object is damaged.
    pub(super) genesis: Option<Hash>,
    /// By number; none is one that is there and damaged.
    pub(super) manifests: BTreeMap<u64, Option<Link>>,
    pub(super) floors: BTreeMap<u64, Option<Floor>>,
    /// The hash of the batch before, and its own.
    pub(super) log: BTreeMap<u64, Option<(Hash, Hash)>>,
}

/// What a manifest is chained to.
#[derive(Debug)]
pub(super) struct Link {
    pub(super) previous: Hash,
    pub(super) hash: Hash,
    pub(super) tip: Tip,
}

impl Found {
    pub(super) fn take_in(&mut self, report: &mut Report, log: &LogObjects, key: &ObjectKey, size: u64) {
        let layout = &log.layout;
        if *key == layout.format() {
            self.has_format = true;
        } else if let Some(lsn) = layout.lsn_of(key) {
            self.log.insert(lsn);
        } else if let Some(number) = layout.manifest_number_of(key) {
            self.manifests.insert(number);
        } else if let Some(number) = layout.floor_number_of(key) {
            self.floors.insert(number);
        } else if layout.file_id_of(key).is_some() {
            self.data.insert(key.clone(), size);
        } else {
            report.foreign.push(key.to_string());
            return;
        }
        report.objects += 1;
        report.bytes += size;
    }
}

/// Reads every object.
pub(super) async fn check(report: &mut Report, log: &LogObjects, files: &DataFiles, found: &Found) -> Checked {
    let mut checked = Checked::default();
    (report.manifests, report.batches) = (found.manifests.len() as u64, found.log.len() as u64);
    match format::read(&log.storage, &log.layout).await {
        Ok(Some(bytes)) => checked.genesis = Some(format::genesis(&bytes)),
        Ok(None) => report.damaged(log.layout.format(), "it is missing"),
        Err(error) => report.failed(log.layout.format(), &error),
    }
    let mut orphans: BTreeSet<&ObjectKey> = found.data.keys().collect();
    let mut named = BTreeSet::new();
    for number in &found.manifests {
        let link = match newest::read(log, *number).await {
            Ok(Some(verified)) => {
                let manifest = &verified.manifest;
                for (collection, file) in files_of(manifest) {
                    let key = log.layout.data(collection, file.id);
                    // The same file is in many manifests; what they say of it has to be the same.
                    if named.insert((key.clone(), file.tail_hash, file.size)) {
                        check_file(report, files, collection, file, found.data.get(&key).copied()).await;
                    }
                    orphans.remove(&key);
                }
                Some(Link { previous: manifest.previous, hash: verified.hash, tip: manifest.tip })
            }
            Ok(None) => {
                report.damaged(log.layout.manifest(*number), "it is missing, though it was listed");
                None
            }
            Err(error) => {
                report.failed(log.layout.manifest(*number), &error);
                None
            }
        };
        checked.manifests.insert(*number, link);
    }
    report.orphans = orphans.into_iter().map(ToString::to_string).collect();
    for number in &found.floors {
        let floor = log.read_floor(*number).await;
        let floor = taken_in(report, log.layout.floor(*number), floor);
        checked.floors.insert(*number, floor);
    }
    for lsn in &found.log {
        let batch = log.read(*lsn).await;
        let batch = taken_in(report, log.layout.log(*lsn), batch);
        checked.log.insert(*lsn, batch.map(|batch| (batch.previous, batch.hash)));
    }
    checked
}

fn taken_in<T>(report: &mut Report, key: ObjectKey, read: Result<Option<T>>) -> Option<T> {
    match read {
        Ok(None) => report.damaged(key, "it is missing, though it was listed"),
        Err(error) => report.failed(key, &error),
        Ok(Some(found)) => return Some(found),
    }
    None
}

fn files_of(manifest: &Manifest) -> impl Iterator<Item = (&str, &FileMeta)> {
    manifest.collections.iter().flat_map(|(name, files)| {
        files.base.iter().chain(files.deltas.iter().map(|delta| &delta.file)).map(move |file| (&**name, file))
    })
}

/// Reads a data file block by block, and compares it with what the manifest says of it.
async fn check_file(report: &mut Report, files: &DataFiles, collection: &str, file: &FileMeta, size: Option<u64>) {
    let key = files.layout().data(collection, file.id);
    let Some(size) = size else { return report.damaged(key, "it is missing, though a checkpoint names it") };
    if size != file.size {
        return report.damaged(key, format!("it has {size} bytes, and {} in the manifest", file.size));
    }
    if let Err(error) = read_file(files, collection, file).await {
        report.failed(key, &error);
    }
}

async fn read_file(files: &DataFiles, collection: &str, file: &FileMeta) -> Result<()> {
    let mut entries = files.entries(collection, file.clone(), KeyRange::all(), Direction::Ascending, Caching::Bypass);
    let (mut count, mut tombstones, mut newest) = (0, 0, Position::ZERO);
    let (mut first, mut last) = (None, None);
    let corrupt = |reason: &str| Error::Corrupt {
        object: files.layout().data(collection, file.id).to_string(),
        reason: reason.to_owned(),
    };
    while let Some(entry) = entries.try_next().await? {
        if last.as_ref().is_some_and(|last| *last >= entry.key) {
            return Err(corrupt("its entries are not in order"));
        }
        count += 1;
        tombstones += u64::from(entry.value.is_none());
        newest = newest.max(entry.position);
        first.get_or_insert_with(|| entry.key.clone());
        last = Some(entry.key);
    }
    let is_as_said = (count, tombstones, newest) == (file.entries, file.tombstones, file.newest)
        && first.as_ref() == Some(&file.first)
        && last.as_ref() == Some(&file.last);
    if is_as_said { Ok(()) } else { Err(corrupt("its entries are not those that the manifest says it has")) }
}
