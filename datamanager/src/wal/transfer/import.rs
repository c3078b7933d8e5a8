//! How does an export come into a store that has nothing?
//!
//! Its entries are sorted into data files that no manifest names, and one manifest makes all of them count. So whatever
//! happens before it, the store is what it was.
//!
//! Between the log and that manifest is a gap: positions go on after those of the exported store. Nobody may fall into
//! it, by writing where the log ended before. So when everything is written, the import takes the next slot of the log
//! and says which manifest will be the one; from there on every process refuses to commit until that manifest exists.
//! Whoever does not want to wait makes it, as a checkpoint like any other, and then the import comes too late.

use std::{
    collections::BTreeMap,
    fmt::Display,
    sync::{Arc, Mutex},
};

use bytes::Bytes;
use futures::{Stream, StreamExt, TryStreamExt};

use super::{
    export::hex,
    lines::{Line, Splitter, Trailer, decode, decode_header},
    sort::Sorter,
};
use crate::{
    Action, DataManager, Error, Position, ReadSet, Result, Transaction,
    base::Base,
    checkpoint::{
        Checkpointer,
        cut::Cuts,
        publish::{Published, publish},
    },
    entry::Entry,
    history::History,
    limits,
    manifest::{CollectionFiles, Manifest, Tip, format::encode, newest},
    store::StateHash,
    system::{IMPORT, MAINTENANCE, SYSTEM},
    table::missing,
    wal::{WalDataManager, builder::draw_id, opened_read_only},
};

/// What was imported.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Imported {
    /// Where in the history of the store it all was written.
    pub position: Position,
    /// How many entries it is.
    pub entries: u64,
}

impl WalDataManager {
    /// Takes in what [`export`](Self::export) has written, in pieces of any length: wholly or not at all. The lines
    /// between the header and the trailer may be in any order.
    ///
    /// The store must be in [maintenance](Self::enter_maintenance), which it stays in, and hold no entries. Read
    /// positions from before are expired by it, and so are followers. Positions go on after those of the exported store,
    /// so that what is appended from now on comes after what was appended there. What is held in memory does not depend
    /// on how much is imported.
    ///
    /// # Errors
    /// [`Error::Line`] names a line that is damaged, missing, there twice, or does not agree with the others;
    /// [`Error::Refused`] says what to do about the store. The store is what it was then, but for files that are
    /// removed after the next checkpoint. After [`Error::Storage`] it may also be imported, wholly.
    ///
    /// # Cancel safety
    /// As after [`Error::Storage`].
    pub async fn import<E: Display>(&self, lines: impl Stream<Item = Result<Bytes, E>> + Send) -> Result<Imported> {
        if self.handle.read_only {
            return Err(opened_read_only());
        }
        let base = self.check_importable().await?;
        // Under a name of its own, apart from the checkpoints that this process makes.
        let files = self.handle.source.files.clone();
        let checkpointer = Checkpointer::new(files, self.handle.data_file_size_max, &draw_id()?);
        let mut import = Import::new(&checkpointer, base);
        let mut lines = std::pin::pin!(lines);
        let mut splitter = Splitter::default();
        while let Some(piece) = lines.next().await {
            let unreadable =
                |error: E| Error::Line { line: splitter.line + 1, reason: format!("it cannot be read: {error}") };
            splitter.push(&piece.map_err(unreadable)?);
            while let Some(line) = splitter.next()? {
                import.line(splitter.line, &line).await?;
            }
        }
        if let Some(line) = splitter.last() {
            import.line(splitter.line, &line).await?;
        }
        import.finish(self, splitter.line).await
    }

    /// Makes a checkpoint of a store that can be imported into, over which the import will be.
    async fn check_importable(&self) -> Result<Arc<Base>> {
        self.catch_up().await?;
        if self.status().maintenance.is_none() {
            return Err(refused("an import needs a store in maintenance: enter maintenance first"));
        }
        // So that none becomes due while lines are read, and that an import that died is over.
        self.checkpoint().await?;
        let (store, at) = (&self.handle.store, self.snapshot());
        for collection in store.collections(&at)? {
            if store.next(&at, &mut store.cursor(&at, &collection)?).await?.is_some() {
                let reason = format!(
                    "an import needs a store without entries, and collection `{collection}` has some: import into a \
                     new store, at another base path or in another storage"
                );
                return Err(Error::Refused { reason });
            }
        }
        Ok(store.base())
    }
}

/// An import that came to some line.
struct Import {
    /// What is imported over.
    base: Arc<Base>,
    sorter: Sorter,
    /// The last position of the exported store; none before the header.
    exported: Option<Position>,
    counts: BTreeMap<String, u64>,
    /// With its line.
    trailer: Option<(u64, Trailer)>,
}

impl Import {
    fn new(checkpointer: &Checkpointer, base: Arc<Base>) -> Self {
        let writer = checkpointer.writer(base.manifest().number + 1, base.position(), base.position());
        Self { base, sorter: Sorter::new(writer), exported: None, counts: BTreeMap::new(), trailer: None }
    }

    async fn line(&mut self, line: u64, bytes: &[u8]) -> Result<()> {
        let wrong = |reason: String| Error::Line { line, reason };
        if let Some((trailer, _)) = self.trailer {
            return Err(wrong(format!("it comes after the trailer in line {trailer}")));
        }
        if self.exported.is_none() {
            let position = decode_header(bytes).map_err(wrong)?.position;
            if position.lsn > u64::MAX / 2 {
                return Err(wrong(format!("position {position} is none that a store comes to")));
            }
            self.exported = Some(position);
            return Ok(());
        }
        match decode(bytes).map_err(wrong)? {
            Line::Trailer(trailer) => self.trailer = Some((line, trailer)),
            Line::Entry { collection, key, value } => {
                let put = Action::Put { collection: collection.clone(), key: key.clone(), value: value.clone() };
                let as_transaction = Transaction { actions: vec![put], ..Transaction::default() };
                limits::check(&as_transaction).map_err(|error| wrong(error.to_string()))?;
                *self.counts.entry(collection.clone()).or_default() += 1;
                self.sorter.push(line, collection, key, value).await?;
            }
        }
        Ok(())
    }

    /// Checks the whole, and makes it count.
    async fn finish(mut self, data: &WalDataManager, lines: u64) -> Result<Imported> {
        let ends_early = || Error::Line {
            line: lines + 1,
            reason: "the export is not all there: its last line is missing".to_owned(),
        };
        let (line, trailer) = self.trailer.take().ok_or_else(ends_early)?;
        if trailer.counts != self.counts {
            let reason = format!("it counts {:?}, and the lines before it are {:?}", trailer.counts, self.counts);
            return Err(Error::Line { line, reason });
        }
        // After everything that there was in either store; the import itself takes a slot of the log.
        let slot = self.base.manifest().tip.lsn + 1;
        let position = Position { lsn: self.exported.unwrap_or_default().lsn.max(slot + 1), index: 0 };
        let written = self.write(position).await;
        // Of files that nothing names, a cleaner takes those that belong to a checkpoint which somebody else has made.
        let (mut collections, state_hash) =
            written.map_err(|error| missing(&error).map(|_| disturbed()).unwrap_or(error))?;
        if state_hash != trailer.state_hash {
            let reason = "its state hash is not that of the lines before it".to_owned();
            return Err(Error::Line { line, reason });
        }
        let below = self.base.manifest();
        collections.extend(below.collections.get_key_value(SYSTEM).map(|(name, files)| (name.clone(), files.clone())));
        let hash = self.take_slot(data, slot).await?;
        let manifest = Manifest {
            number: below.number + 1,
            previous: encode(below).1,
            tip: Tip { lsn: position.lsn, hash },
            position,
            // Whoever read before must read again; so nothing that was deleted or locked before has to be kept.
            history: History { forgotten: position, ..below.history.clone() },
            maintenance: below.maintenance.clone(),
            collections,
        };
        self.publish(data, &manifest).await?;
        Ok(Imported { position, entries: self.counts.values().sum() })
    }

    /// Writes the files that will count; returns them with the state hash of what is in them.
    async fn write(&mut self, position: Position) -> Result<(BTreeMap<String, CollectionFiles>, String)> {
        let hash = Arc::new(Mutex::new(StateHash::default()));
        let mut collections = BTreeMap::new();
        for name in self.sorter.finish().await? {
            let (entries, bytes) = self.sorter.sorted(&name).await?;
            let (of, hash) = (name.clone(), Arc::clone(&hash));
            let entries = entries.map_ok(move |entry| {
                let mut hash = hash.lock().expect("the lock is never poisoned: no panic while held");
                hash.entry(&of, &entry.key, entry.value.as_deref().unwrap_or_default());
                Entry { position, ..entry }
            });
            let cuts = Cuts::balanced(bytes, self.sorter.writer.settings.data_file_size_max);
            let files = self.sorter.writer.write(&name, entries.boxed(), cuts).await?;
            let base = files.into_iter().map(|file| file.meta).collect();
            collections.insert(name, CollectionFiles { base, ..CollectionFiles::default() });
        }
        let hash = hash.lock().expect("the lock is never poisoned: no panic while held").clone();
        Ok((collections, hex(&hash.finish())))
    }

    /// Says in the log which manifest will be the one; returns the hash of the log up to there.
    async fn take_slot(&self, data: &WalDataManager, slot: u64) -> Result<crate::record::Hash> {
        let key = |key| (SYSTEM.to_owned(), Bytes::from_static(key));
        let reads = ReadSet {
            position: self.base.position(),
            // Outside of maintenance anything may have been committed, and a second import takes a slot too.
            keys: vec![key(MAINTENANCE), key(IMPORT)],
            ..ReadSet::default()
        };
        let (collection, key) = key(IMPORT);
        let value = (self.base.manifest().number + 1).to_string().into();
        let transaction = Transaction { reads, actions: vec![Action::Put { collection, key, value }] };
        match data.commit_unchecked(transaction).await {
            Ok(_) => {}
            Err(error) if error.is_conflict() || matches!(error, Error::Maintenance { .. }) => return Err(disturbed()),
            Err(error) => return Err(error),
        }
        // Later only if a checkpoint was made, which has the number of the manifest.
        let tip = data.handle.store.tip();
        if tip.lsn == slot { Ok(tip.hash) } else { Err(disturbed()) }
    }

    async fn publish(&self, data: &WalDataManager, manifest: &Manifest) -> Result<()> {
        let files = &self.sorter.writer.files;
        if publish(&**files.storage(), files.layout(), manifest).await? == Published::Foreign {
            return Err(disturbed());
        }
        // One that took so long that checkpoints were made meanwhile, and cleaned, may have created what was deleted.
        if newest::numbers(&data.handle.source.log).await?.last() != Some(&manifest.number) {
            return Err(disturbed());
        }
        data.catch_up().await?;
        data.handle.current.published.send_replace(manifest.number);
        Ok(())
    }
}

fn disturbed() -> Error {
    refused("maintenance was ended during the import, or somebody made a checkpoint or imported: import again")
}

fn refused(reason: &str) -> Error {
    Error::Refused { reason: reason.to_owned() }
}
