//! Is everything there that a store needs, and is it whole?
//!
//! Reads every object under the base path, and goes on after the first damage: [`objects`] checks what each one is, and
//! [`chains`] whether they belong together. It changes nothing, and needs no store that can be opened.

use std::sync::Arc;

use futures::TryStreamExt;
use runyard_objectstorage::{ListEntry, ObjectKey, ObjectStorage};

use self::{chains::check_chains, objects::Found};
use super::{floor::FloorWatch, log::LogObjects, recovery, recovery::Source, uptime::SystemUptime};
use crate::{
    Error, Position, Result, history::TRANSACTIONS_KEPT, layout::Layout, manifest::newest, record::Hash,
    store::StateHash, table::DataFiles,
};

mod chains;
mod objects;

/// How often it starts over because objects that it was reading were cleaned away.
const ATTEMPTS_MAX: usize = 8;

/// An object that is not what it should be.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[non_exhaustive]
pub struct Damaged {
    /// Its name in the storage.
    pub object: String,
    /// What is wrong with it.
    pub reason: String,
    /// What to do about it.
    pub advice: &'static str,
}

/// What a store was found to consist of.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Report {
    /// What is damaged or missing, by name. None: the store is sound.
    pub damaged: Vec<Damaged>,
    /// Data files that no checkpoint names: they are being written, or a cleaner will remove them.
    pub orphans: Vec<String>,
    /// Objects whose names are none of a store. Nothing reads or removes them.
    pub foreign: Vec<String>,
    /// How many objects the store has, without foreign ones, and how many bytes they are.
    pub objects: u64,
    /// See `objects`.
    pub bytes: u64,
    /// How many checkpoints there are.
    pub manifests: u64,
    /// How many batches of the log there are.
    pub batches: u64,
    /// How many entries are visible; none where the store is damaged.
    pub entries: Option<u64>,
    /// The last visible transaction; none where the store is damaged.
    pub position: Option<Position>,
    /// Why the store is in maintenance; none: it is not, or it is damaged.
    pub maintenance: Option<String>,
    /// The hash over all entries; none where the store is damaged.
    pub state_hash: Option<[u8; 32]>,
}

impl Report {
    /// Whether nothing is damaged or missing.
    pub fn is_sound(&self) -> bool {
        self.damaged.is_empty()
    }

    fn damaged(&mut self, object: impl ToString, reason: impl Into<String>) {
        self.damaged.push(Damaged { object: object.to_string(), reason: reason.into(), advice: "" });
    }

    /// Takes in what an error says of an object.
    fn failed(&mut self, object: impl ToString, error: &Error) {
        match error {
            Error::Corrupt { object, reason } => {
                let reason = reason.trim_end_matches(newest::ADVICE).trim_end_matches(": ");
                self.damaged(object, reason);
            }
            Error::Storage { source, .. } if source.is_not_found() => self.damaged(object, "it is missing"),
            Error::Storage { source, .. } => self.damaged(object, format!("it cannot be read: {source}")),
            error => self.damaged(object, error.to_string()),
        }
    }
}

/// Reads everything of the store at a base path, and says what is damaged or missing. Nothing is written; other
/// processes may have the store open.
///
/// What a crash could have left is no damage: the end of the log and the newest checkpoint are what they are found to
/// be, as they are for whoever opens the store.
///
/// # Errors
/// Only if the objects cannot be listed, or if there is no store.
pub async fn verify(storage: Arc<dyn ObjectStorage>, base_path: &str) -> Result<Report> {
    let log = LogObjects { storage, layout: Layout::new(base_path)? };
    let files = DataFiles::new(Arc::clone(&log.storage), log.layout.clone(), 0);
    for attempt in 1.. {
        let newest = newest::numbers(&log).await?.last().copied();
        let report = attempt_to_verify(&log, &files).await?;
        // What was missing or unreadable may have been cleaned since it was listed.
        if report.is_sound() || attempt == ATTEMPTS_MAX || newest::numbers(&log).await?.last().copied() == newest {
            return Ok(report);
        }
    }
    unreachable!("the last attempt returns")
}

async fn attempt_to_verify(log: &LogObjects, files: &DataFiles) -> Result<Report> {
    let mut report = Report::default();
    let mut found = Found::default();
    let mut all = log.storage.list(log.layout.everything());
    while let Some(entry) = all.try_next().await.map_err(Error::storage("listing the store"))? {
        let ListEntry::Object(meta) = entry else { continue };
        found.take_in(&mut report, log, &meta.key, meta.size);
    }
    if report.objects == 0 {
        let reason = format!("there is no store at the base path `{}`", log.layout.base_path());
        return Err(Error::Refused { reason });
    }
    let checked = objects::check(&mut report, log, files, &found).await;
    check_chains(&mut report, log, &checked);
    if let (true, Some(genesis)) = (report.is_sound(), checked.genesis)
        && let Err(error) = check_state(&mut report, log, files, genesis).await
    {
        report.failed(log.layout.format(), &error);
    }
    for damaged in &mut report.damaged {
        damaged.advice = advice(&log.layout, &damaged.object);
    }
    report.damaged.sort();
    report.damaged.dedup();
    Ok(report)
}

/// What can be done about a damaged object, by what it is.
fn advice(layout: &Layout, object: &str) -> &'static str {
    let Ok(key) = ObjectKey::parse(object) else { return "" };
    if layout.lsn_of(&key).is_some() {
        "bring it back from a backup; the store opens without it only if a checkpoint contains it"
    } else if layout.manifest_number_of(&key).is_some() {
        newest::ADVICE
    } else if layout.floor_number_of(&key).is_some() {
        "bring it back from a backup; it may be deleted if there is a floor with a higher number"
    } else if layout.file_id_of(&key).is_some() {
        "bring it back from a backup; the entries in it are nowhere else"
    } else {
        "bring it back from a backup; it never changes"
    }
}

/// What whoever opens the store sees.
async fn check_state(report: &mut Report, log: &LogObjects, files: &DataFiles, genesis: Hash) -> Result<()> {
    let source = Source {
        log: log.clone(),
        floor: FloorWatch::new(log.clone(), Arc::new(SystemUptime)),
        files: files.clone(),
        history_transactions_max: TRANSACTIONS_KEPT,
        recent_bytes_max: 0,
    };
    let recovery::Recovered { store, maintenance, .. } = recovery::recover(&source, genesis).await?;
    report.maintenance = maintenance;
    let at = store.snapshot();
    let (mut hash, mut entries) = (StateHash::default(), 0);
    for collection in store.collections(&at)? {
        let mut cursor = store.cursor(&at, &collection)?;
        while let Some((key, value)) = store.next(&at, &mut cursor).await? {
            hash.entry(&collection, &key, &value);
            entries += 1;
        }
    }
    (report.entries, report.position, report.state_hash) = (Some(entries), Some(at.position()), Some(hash.finish()));
    Ok(())
}
