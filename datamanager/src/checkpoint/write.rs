//! How do the files of a plan come into being?
//!
//! Streamed: entries are merged from changes, deltas and base files, and the blocks of a new file go into its put as
//! they are finished, so memory is bounded by blocks. A failure leaves files that no manifest names.

use std::{cmp::Reverse, collections::BTreeSet, ops::Bound, sync::Arc};

use bytes::Bytes;
use futures::{SinkExt, StreamExt, TryStreamExt, channel::mpsc, stream};
use runyard_objectstorage::{Body, BodyError, PutOptions};

use crate::{
    Direction, Error, KeyRange, Position, Result,
    base::{live, overlaps},
    broken::{self, Broken},
    checkpoint::{
        cut::Cuts,
        parts::Parts,
        plan::{Plan, Settings, needs_repair, plan},
    },
    entry::Entry,
    manifest::{CollectionFiles, DeltaMeta, FileId, FileMeta},
    merge::{EntryStream, merge},
    table::{Caching, DataFiles, FileBuilder, FileSettings, FinishedFile},
};

/// What is in memory, and not in data files yet.
pub(crate) trait Changes: Send + Sync + 'static {
    /// The names of the collections that were changed.
    fn collections(&self) -> BTreeSet<String>;

    /// The newest version of each changed entry of a range, tombstones among them, ascending.
    fn entries(&self, collection: &str, range: KeyRange) -> Box<dyn Iterator<Item = Entry> + Send>;
}

/// Writes the data files of one checkpoint.
pub(crate) struct Writer {
    pub(crate) files: DataFiles,
    pub(crate) settings: Settings,
    pub(crate) file_settings: FileSettings,
    /// The id of the file that was written last.
    pub(crate) id: FileId,
    pub(crate) bytes_written: u64,
    /// The last transaction that the checkpoint covers.
    pub(crate) position: Position,
    /// Up to which position nobody needs tombstones.
    pub(crate) forgotten: Position,
}

/// How many blocks of a file wait for its put.
const BLOCKS_WAITING: usize = 2;

/// How often the files of a collection are put in order in one checkpoint. Sizes are only known when a file is written,
/// so files may come out too small again and again, if their entries compress much better than expected.
const REPAIRS_MAX: usize = 8;

/// What an entry takes in a file beside its key and value, rounded up.
const ENTRY_BYTES: usize = 24;

fn size(entry: &Entry) -> u64 {
    (entry.key.len() + entry.value.as_ref().map_or(0, Bytes::len) + ENTRY_BYTES) as u64
}

impl Writer {
    /// Brings the files of a collection up to the position.
    pub(crate) async fn collection(
        &mut self,
        name: &str,
        before: &CollectionFiles,
        changes: &Arc<dyn Changes>,
    ) -> Result<CollectionFiles> {
        let mut files = self.pass(name, before, Some(changes)).await?;
        // Each time there are fewer files, or one that has become too small grows; what is left is for the next time.
        for _ in 0..REPAIRS_MAX {
            if !needs_repair(&files, &self.settings) {
                break;
            }
            files = self.pass(name, &files, None).await?;
        }
        Ok(files)
    }

    async fn pass(
        &mut self,
        name: &str,
        before: &CollectionFiles,
        changes: Option<&Arc<dyn Changes>>,
    ) -> Result<CollectionFiles> {
        let (parts, entry_max) = self.survey(name, before, changes).await?;
        let plan = plan(&parts.parts, entry_max, &self.settings);
        let mut after = before.clone();
        let mut base: Vec<Option<FileMeta>> = after.base.drain(..).map(Some).collect();
        let mut folds = Vec::new();
        for run in &plan.folds {
            let (start, end) = parts.range(run.clone());
            let range = key_range(start, end);
            let replaced: Vec<_> = run.clone().filter_map(|part| base.get_mut(part)?.take()).collect();
            let deltas = before.deltas.iter().map(|delta| &delta.file);
            let mut layers = self.layers(name, before, changes, deltas, &range);
            let base = replaced.into_iter().map(|file| self.entries(name, &file, &range)).collect::<Vec<_>>();
            layers.push(stream::iter(base).flatten().boxed());
            let forgotten = self.forgotten;
            let forgotten = if broken::is(Broken::TombstonesForgotten) { self.position } else { forgotten };
            let is_needed = move |entry: &Entry| entry.value.is_some() || entry.position > forgotten;
            let entries = merge(layers, Direction::Ascending);
            let entries = entries.try_filter(move |entry| std::future::ready(is_needed(entry))).boxed();
            let estimate = parts.parts[run.clone()].iter().map(|part| part.base + part.live()).sum();
            let made = self.write(name, entries, Cuts::balanced(estimate, self.settings.data_file_size_max)).await?;
            after.base.extend(made.into_iter().map(|file| file.meta));
            after.folded.fold(start, end, self.position);
            folds.push(range);
        }
        after.base.extend(base.into_iter().flatten());
        after.base.sort_by(|one, other| one.first.cmp(&other.first));
        self.write_deltas(name, before, changes, &plan, folds, &mut after).await?;
        Ok(after)
    }

    /// How much lies where, and how large the largest entry is, as far as is known.
    async fn survey(
        &self,
        name: &str,
        files: &CollectionFiles,
        changes: Option<&Arc<dyn Changes>>,
    ) -> Result<(Parts, u64)> {
        let mut parts = Parts::new(files, &self.settings, self.forgotten);
        let mut entry_max = 0;
        for entry in changes.into_iter().flat_map(|changes| changes.entries(name, KeyRange::all())) {
            parts.add_change(&entry.key, size(&entry), entry.value.is_none());
            entry_max = entry_max.max(size(&entry));
            tokio::task::coop::consume_budget().await;
        }
        for (number, delta) in files.deltas.iter().enumerate() {
            let blocks = self.files.loads(name, &delta.file).await?;
            entry_max = blocks.iter().map(|block| block.bytes).fold(entry_max, u64::max);
            parts.add_delta(files, number, blocks);
        }
        Ok((parts, entry_max))
    }

    /// Writes the changes that were not folded, and what is left of the deltas to merge, into new deltas.
    async fn write_deltas(
        &mut self,
        name: &str,
        before: &CollectionFiles,
        changes: Option<&Arc<dyn Changes>>,
        plan: &Plan,
        folds: Vec<KeyRange>,
        after: &mut CollectionFiles,
    ) -> Result<()> {
        let merged = plan.merged.iter().map(|delta| &before.deltas[*delta].file);
        let layers = self.layers(name, before, changes, merged, &KeyRange::all());
        let is_folded = move |key: &[u8]| {
            let fold = folds.partition_point(|fold| match &fold.start {
                Bound::Included(start) => start[..] <= *key,
                _ => true,
            });
            fold > 0 && folds[fold - 1].contains(key)
        };
        let entries = merge(layers, Direction::Ascending);
        let is_dropped = |entry: &Entry| entry.value.is_none() && broken::is(Broken::TombstonesDropped);
        let is_left = move |entry: &Entry| !is_folded(&entry.key) && !is_dropped(entry);
        let entries = entries.try_filter(move |entry| std::future::ready(is_left(entry))).boxed();
        let made = self.write(name, entries, Cuts::full(self.settings.data_file_size_max)).await?;
        let mut number = 0;
        after.deltas.retain(|_| {
            number += 1;
            !plan.merged.contains(&(number - 1)) && !plan.dropped.contains(&(number - 1))
        });
        after.deltas.extend(made.into_iter().map(|file| DeltaMeta { filter: file.delta_filter(), file: file.meta }));
        after.deltas.sort_by_key(|delta| Reverse(delta.file.newest));
        if after.deltas.is_empty() {
            after.folded.steps.clear();
        }
        Ok(())
    }

    /// The changes of a range, and what is live there in some deltas.
    fn layers<'a>(
        &self,
        name: &str,
        files: &CollectionFiles,
        changes: Option<&Arc<dyn Changes>>,
        deltas: impl Iterator<Item = &'a FileMeta>,
        range: &KeyRange,
    ) -> Vec<EntryStream> {
        let changes = changes.map(|changes| stream::iter(changes.entries(name, range.clone()).map(Ok)).boxed());
        let folded = Arc::new(files.folded.clone());
        let deltas = deltas.filter(|file| overlaps(file, range));
        let deltas = deltas.map(|file| live(self.entries(name, file, range), folded.clone()));
        changes.into_iter().chain(deltas).collect()
    }

    fn entries(&self, name: &str, file: &FileMeta, range: &KeyRange) -> EntryStream {
        self.files.entries(name, file.clone(), range.clone(), Direction::Ascending, Caching::Bypass)
    }

    /// Writes entries that are in order into files.
    pub(crate) async fn write(
        &mut self,
        name: &str,
        mut entries: EntryStream,
        cuts: Cuts,
    ) -> Result<Vec<FinishedFile>> {
        let mut made = Vec::new();
        let mut next = entries.try_next().await?;
        while let Some(first) = next.take() {
            let (file, after) = self.write_file(name, first, &mut entries, cuts).await?;
            self.bytes_written += file.meta.size;
            made.push(file);
            next = after;
        }
        Ok(made)
    }

    /// Writes one file; returns it with the first entry after it.
    async fn write_file(
        &mut self,
        name: &str,
        first: Entry,
        entries: &mut EntryStream,
        cuts: Cuts,
    ) -> Result<(FinishedFile, Option<Entry>)> {
        self.id.number += 1;
        let id = self.id;
        let (mut blocks, body) = mpsc::channel::<Result<Bytes, BodyError>>(BLOCKS_WAITING);
        let mut builder = FileBuilder::new(self.file_settings);
        let fill = async move {
            builder.push(&first);
            let next = loop {
                if let Some(block) = builder.take_finished() {
                    // If the put has ended already, it says why.
                    let _ = blocks.send(Ok(block)).await;
                    tokio::task::coop::consume_budget().await;
                }
                let next = entries.try_next().await?;
                match next {
                    Some(entry) if !cuts.ends_before(builder.bytes_so_far(), size(&entry)) => builder.push(&entry),
                    next => break next,
                }
            };
            let mut file = builder.finish(id);
            let _ = blocks.send(Ok(std::mem::take(&mut file.rest))).await;
            Ok((file, next))
        };
        let key = self.files.layout().data(name, id);
        // The default: synced, of unknown size. Nobody else writes under this name.
        let put = self.files.storage().put(&key, Body::stream(body), PutOptions::default());
        let put = async { put.await.map_err(Error::storage("writing a data file")) };
        let ((), written) = futures::try_join!(put, fill)?;
        Ok(written)
    }
}

fn key_range(start: &Bytes, end: Option<&Bytes>) -> KeyRange {
    KeyRange {
        start: Bound::Included(start.clone()),
        end: end.map_or(Bound::Unbounded, |end| Bound::Excluded(end.clone())),
    }
}
