//! How does an export come into a store that has nothing?
//!
//! Its entries are sorted into data files that no manifest names, and one manifest makes all of them count. So whatever
//! happens before it, the store is what it was.

use std::{
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
    Action, DataManager, Error, KeyRange, Position, Result, Transaction,
    checkpoint::{
        cut::Cuts,
        plan::Settings,
        publish::{Published, publish},
        write::{Changes, Writer},
    },
    entry::Entry,
    history::History,
    limits,
    manifest::{FileId, Manifest, Tip, format::encode},
    store::{Frozen, StateHash},
    system::SYSTEM,
    table::FileSettings,
    wal::{WalDataManager, builder::draw_id},
};

const SETTINGS: Settings = Settings { data_file_size_max: 10 << 20, deltas_max: 16 };

/// What was imported.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Imported {
    /// Where in the history of the store it all was written.
    pub position: Position,
    /// How many entries it is.
    pub entries: u64,
}

/// What a store keeps for itself, of what is in memory.
struct Own(Frozen);

impl Changes for Own {
    fn collections(&self) -> std::collections::BTreeSet<String> {
        self.0.collections()
    }

    fn entries(&self, collection: &str, range: KeyRange) -> Box<dyn Iterator<Item = Entry> + Send> {
        Box::new(self.0.entries(collection, range))
    }
}

impl WalDataManager {
    /// Takes in what [`export`](Self::export) has written, in pieces of any length: wholly or not at all. The lines
    /// between the header and the trailer may be in any order.
    ///
    /// The store must be in [maintenance](Self::enter_maintenance), which it stays in, hold no entries, and be open in
    /// no other process. Snapshots and read positions from before are expired by it, and so are followers. Positions go
    /// on after those of the exported store, so that what is appended from now on comes after what was appended there.
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
            return Err(refused("the store was opened read-only: open it without that to import"));
        }
        self.check_importable().await?;
        let frozen = self.handle.store.rotate();
        let mut import = Import::new(self, &frozen)?;
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
        import.finish(self, frozen, splitter.line).await
    }

    async fn check_importable(&self) -> Result<()> {
        self.catch_up().await?;
        if self.status().maintenance.is_none() {
            return Err(refused("an import needs a store in maintenance: enter maintenance first"));
        }
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
        Ok(())
    }
}

/// An import that came to some line.
struct Import {
    sorter: Sorter,
    /// The last position of the exported store; none before the header.
    exported: Option<Position>,
    counts: std::collections::BTreeMap<String, u64>,
    /// With its line.
    trailer: Option<(u64, Trailer)>,
}

impl Import {
    fn new(data: &WalDataManager, frozen: &Frozen) -> Result<Self> {
        let writer = draw_id()?.first_chunk().map_or(0, |bytes| u64::from_be_bytes(*bytes));
        let writer = Writer {
            files: data.handle.source.files.clone(),
            settings: SETTINGS,
            file_settings: FileSettings::default(),
            id: FileId { manifest: frozen.base.manifest().number + 1, writer, number: 0 },
            bytes_written: 0,
            position: frozen.position,
            forgotten: frozen.position,
        };
        Ok(Self { sorter: Sorter::new(writer), exported: None, counts: Default::default(), trailer: None })
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
    async fn finish(mut self, data: &WalDataManager, frozen: Frozen, lines: u64) -> Result<Imported> {
        let ends_early = || Error::Line { line: lines + 1, reason: "the trailer should come here".to_owned() };
        let (line, trailer) = self.trailer.take().ok_or_else(ends_early)?;
        if trailer.counts != self.counts {
            let reason = format!("it counts {:?}, and the lines before it are {:?}", trailer.counts, self.counts);
            return Err(Error::Line { line, reason });
        }
        let exported = self.exported.unwrap_or_default();
        let position = Position { lsn: exported.lsn.max(frozen.tip.lsn + 1), index: 0 };
        let hash = Arc::new(Mutex::new(StateHash::default()));
        let mut collections = std::collections::BTreeMap::new();
        for name in self.sorter.finish().await? {
            let (entries, bytes) = self.sorter.sorted(&name).await?;
            let (of, hash) = (name.clone(), Arc::clone(&hash));
            let entries = entries.map_ok(move |entry| {
                let mut hash = hash.lock().expect("the lock is never poisoned: no panic while held");
                hash.entry(&of, &entry.key, entry.value.as_deref().unwrap_or_default());
                Entry { position, ..entry }
            });
            let cuts = Cuts::balanced(bytes, SETTINGS.data_file_size_max);
            let files = self.sorter.writer.write(&name, entries.boxed(), cuts).await?;
            let base = files.into_iter().map(|file| file.meta).collect();
            collections.insert(name, crate::manifest::CollectionFiles { base, ..Default::default() });
        }
        let hash = hash.lock().expect("the lock is never poisoned: no panic while held").clone();
        if hex(&hash.finish()) != trailer.state_hash {
            let reason = "its state hash is not that of the lines before it".to_owned();
            return Err(Error::Line { line, reason });
        }
        let entries = self.counts.values().sum();
        let (below, tip, history) = (Arc::clone(&frozen.base), frozen.tip, frozen.history.clone());
        let own_before = below.manifest().collections.get(SYSTEM).cloned().unwrap_or_default();
        let own: Arc<dyn Changes> = Arc::new(Own(frozen));
        let writer = &mut self.sorter.writer;
        let own = writer.collection(SYSTEM, &own_before, &own).await?;
        collections.insert(SYSTEM.to_owned(), own);
        let below = below.manifest();
        let manifest = Manifest {
            number: below.number + 1,
            previous: if below.number == 0 { below.previous } else { encode(below).1 },
            tip: Tip { lsn: position.lsn, hash: tip.hash },
            position,
            // Whoever read before must read again; so nothing that was deleted or locked before has to be kept.
            history: History { forgotten: writer.position, ..history },
            collections,
        };
        self.publish(data, &manifest, tip).await?;
        Ok(Imported { position, entries })
    }

    async fn publish(&self, data: &WalDataManager, manifest: &Manifest, tip: Tip) -> Result<()> {
        let files = &self.sorter.writer.files;
        data.catch_up().await?;
        if data.handle.store.tip() != tip {
            return Err(refused(
                "something was committed during the import: import again, and write nothing meanwhile",
            ));
        }
        match publish(&**files.storage(), files.layout(), manifest).await? {
            Published::Foreign => {
                Err(refused("a checkpoint was made during the import: import again, and write nothing meanwhile"))
            }
            Published::Ours => {
                let read_anew = data.handle.queue.reopen()?;
                read_anew.await.unwrap_or(Err(Error::Closed))?;
                data.handle.published.send_replace(manifest.number);
                Ok(())
            }
        }
    }
}

fn refused(reason: &str) -> Error {
    Error::Refused { reason: reason.to_owned() }
}
