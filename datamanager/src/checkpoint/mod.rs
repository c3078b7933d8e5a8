//! How does what is in memory come into data files?
//!
//! [`plan`] decides what is written, from what [`parts`] says lies where; [`write`] writes it, and ends files where
//! [`cut`] says; [`publish`] makes it count. What a checkpoint replaces stays readable until it is cleaned away.

use std::{
    collections::{BTreeMap, BTreeSet},
    ops::Bound,
    sync::Arc,
};

use bytes::Bytes;

use crate::{
    KeyRange, Position, Result,
    base::Base,
    broken::{self, Broken},
    checkpoint::{
        plan::Settings,
        publish::{Published, publish},
        write::{Changes, Writer},
    },
    history::History,
    manifest::{CollectionFiles, FileId, Manifest, Tip, format::encode},
    system,
    table::{DataFiles, FileSettings},
};

pub(crate) mod cut;
pub(crate) mod parts;
pub(crate) mod plan;
pub(crate) mod publish;
#[cfg(test)]
mod simulation;
#[cfg(test)]
mod tests;
pub(crate) mod when;
pub(crate) mod write;

/// How many deltas a collection may have.
const DELTAS_MAX: usize = 16;

/// What a checkpoint covers.
#[derive(Clone)]
pub(crate) struct Covered {
    pub(crate) tip: Tip,
    pub(crate) position: Position,
    pub(crate) history: History,
    /// Everything that the manifest below does not have.
    pub(crate) changes: Arc<dyn Changes>,
}

/// What became of a checkpoint.
#[derive(Debug)]
pub(crate) enum Outcome {
    /// It is the newest, and cost so many bytes of data files.
    Written { base: Arc<Base>, bytes_written: u64 },
    /// Somebody else's manifest has its number: adopt that one, and start over.
    Foreign,
}

/// Makes checkpoints in one storage.
#[derive(Clone, Debug)]
pub(crate) struct Checkpointer {
    pub(crate) files: DataFiles,
    pub(crate) settings: Settings,
    pub(crate) file_settings: FileSettings,
    /// Of whom the files are; drawn, so that no two writers have the same.
    pub(crate) writer: u64,
    /// How many files it has begun: also those of a checkpoint that failed keep their names.
    pub(crate) number: u32,
}

impl Checkpointer {
    /// Makes checkpoints with files of at most so many bytes, under the name of a writer that nobody else has.
    pub(crate) fn new(files: DataFiles, data_file_size_max: u64, writer: &[u8; 16]) -> Self {
        Self {
            files,
            settings: Settings { data_file_size_max, deltas_max: DELTAS_MAX },
            file_settings: FileSettings::for_files_of(data_file_size_max),
            // As unlikely to be drawn twice as is needed among the writers of one checkpoint.
            writer: writer.iter().take(8).fold(0, |writer, byte| writer << 8 | u64::from(*byte)),
            number: 0,
        }
    }

    /// What writes the files of one checkpoint.
    pub(crate) fn writer(&self, manifest: u64, position: Position, forgotten: Position) -> Writer {
        Writer {
            files: self.files.clone(),
            settings: self.settings,
            file_settings: self.file_settings,
            id: FileId { manifest, writer: self.writer, number: self.number },
            bytes_written: 0,
            position,
            forgotten,
        }
    }

    /// Writes the checkpoint after `below`.
    ///
    /// # Errors
    /// What was written is not named anywhere, unless the manifest was created and could not be read back: the next
    /// attempt meets it then.
    ///
    /// # Cancel safety
    /// As after an error.
    pub(crate) async fn checkpoint(&mut self, below: &Manifest, covered: Covered) -> Result<Outcome> {
        let number = below.number + 1;
        let mut writer = self.writer(number, covered.position, covered.history.forgotten);
        let written = write_collections(&mut writer, below, &covered.names(below), &covered).await;
        self.number = writer.id.number;
        let manifest = Manifest {
            number,
            previous: if below.number == 0 { below.previous } else { encode(below).1 },
            tip: covered.tip,
            position: covered.position,
            maintenance: maintenance(&*covered.changes, below),
            history: if broken::is(Broken::HistoryUnstored) { History::default() } else { covered.history },
            collections: written?,
        };
        match publish(&**self.files.storage(), self.files.layout(), &manifest).await? {
            Published::Foreign if !broken::is(Broken::InstalledBeforePublished) => Ok(Outcome::Foreign),
            _ => Ok(Outcome::Written {
                base: Base::new(Arc::new(manifest), self.files.clone()),
                bytes_written: writer.bytes_written,
            }),
        }
    }
}

impl Covered {
    /// All collections, those that did not change among them: it may be time to drop what was deleted in them.
    fn names(&self, below: &Manifest) -> BTreeSet<String> {
        let mut names = self.changes.collections();
        names.extend(below.collections.keys().cloned());
        names
    }
}

/// Why a store is in maintenance mode, after some changes.
pub(crate) fn maintenance(changes: &dyn Changes, below: &Manifest) -> Option<String> {
    let key = Bytes::from_static(system::MAINTENANCE);
    let range = KeyRange { start: Bound::Included(key.clone()), end: Bound::Included(key) };
    match changes.entries(system::SYSTEM, range).next() {
        Some(entry) => system::maintenance(entry),
        None => below.maintenance.clone(),
    }
}

async fn write_collections(
    writer: &mut Writer,
    below: &Manifest,
    names: &BTreeSet<String>,
    covered: &Covered,
) -> Result<BTreeMap<String, CollectionFiles>> {
    let mut collections = BTreeMap::new();
    let none = CollectionFiles::default();
    for name in names {
        let before = below.collections.get(name).unwrap_or(&none);
        let files = writer.collection(name, before, &covered.changes).await?;
        if !files.base.is_empty() || !files.deltas.is_empty() {
            collections.insert(name.clone(), files);
        }
    }
    Ok(collections)
}
