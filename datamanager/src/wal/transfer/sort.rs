//! How are entries sorted of which there are more than fit in memory?
//!
//! As many as fit are sorted and written out, again and again; then these runs are merged. A run is data files of the
//! collection that no manifest names, so a cleaner removes them. The position of an entry in a run is the number of its
//! line, so that of two entries with one key both lines can be named.

use std::collections::{BTreeMap, btree_map};

use bytes::Bytes;
use futures::{StreamExt, TryStreamExt, stream};

use crate::{
    Direction, Error, KeyRange, Position, Result,
    checkpoint::{cut::Cuts, write::Writer},
    entry::Entry,
    manifest::FileMeta,
    merge::EntryStream,
    table::Caching,
};

/// How many bytes are sorted in memory; few in tests, so that there are runs to merge.
const RUN_BYTES: usize = if cfg!(test) { 256 } else { 32 << 20 };

/// How many runs are merged at once.
const FAN_IN: usize = if cfg!(test) { 3 } else { 64 };

/// What an entry takes in memory beside its key and value, about.
const ENTRY_BYTES: usize = 128;

/// Files of one collection that are in order.
type Run = Vec<FileMeta>;

pub(super) struct Sorter {
    pub(super) writer: Writer,
    unsorted: BTreeMap<String, BTreeMap<Bytes, Entry>>,
    unsorted_bytes: usize,
    runs: BTreeMap<String, Vec<Run>>,
}

impl Sorter {
    pub(super) fn new(writer: Writer) -> Self {
        Self { writer, unsorted: BTreeMap::new(), unsorted_bytes: 0, runs: BTreeMap::new() }
    }

    pub(super) async fn push(&mut self, line: u64, collection: String, key: Bytes, value: Bytes) -> Result<()> {
        self.unsorted_bytes += key.len() + value.len() + ENTRY_BYTES;
        let of_collection = self.unsorted.entry(collection).or_default();
        let entry = Entry { key: key.clone(), position: Position { lsn: line, index: 0 }, value: Some(value) };
        match of_collection.entry(key) {
            btree_map::Entry::Occupied(other) => return Err(duplicate(other.get(), &entry)),
            btree_map::Entry::Vacant(place) => drop(place.insert(entry)),
        }
        if self.unsorted_bytes >= RUN_BYTES {
            self.write_runs().await?;
        }
        Ok(())
    }

    /// Writes what is left; returns the names of all collections.
    pub(super) async fn finish(&mut self) -> Result<Vec<String>> {
        self.write_runs().await?;
        Ok(self.runs.keys().cloned().collect())
    }

    /// All entries of a collection in order, each with its line, and how many bytes they take about.
    ///
    /// # Errors
    /// The stream ends with [`Error::Line`] at a key that there is twice.
    pub(super) async fn sorted(&mut self, collection: &str) -> Result<(EntryStream, u64)> {
        let mut runs = self.runs.remove(collection).unwrap_or_default();
        while runs.len() > FAN_IN {
            let together: Vec<Run> = runs.drain(..FAN_IN).collect();
            let entries = self.merged(collection, &together);
            runs.push(self.write(collection, entries).await?);
        }
        let bytes = runs.iter().flatten().map(|file| file.size).sum();
        Ok((self.merged(collection, &runs), bytes))
    }

    async fn write_runs(&mut self) -> Result<()> {
        self.unsorted_bytes = 0;
        for (collection, entries) in std::mem::take(&mut self.unsorted) {
            let run = self.write(&collection, stream::iter(entries.into_values().map(Ok)).boxed()).await?;
            self.runs.entry(collection).or_default().push(run);
        }
        Ok(())
    }

    async fn write(&mut self, collection: &str, entries: EntryStream) -> Result<Run> {
        let cuts = Cuts::full(self.writer.settings.data_file_size_max);
        let files = self.writer.write(collection, entries, cuts).await?;
        Ok(files.into_iter().map(|file| file.meta).collect())
    }

    fn merged(&self, collection: &str, runs: &[Run]) -> EntryStream {
        let entries = |file: &FileMeta| {
            let (file, all) = (file.clone(), KeyRange::all());
            self.writer.files.entries(collection, file, all, Direction::Ascending, Caching::Bypass)
        };
        let of_run = |run: &Run| stream::iter(run.iter().map(entries).collect::<Vec<_>>()).flatten().boxed();
        merge_distinct(runs.iter().map(of_run).collect())
    }
}

/// Merges streams in which no key may be twice.
fn merge_distinct(streams: Vec<EntryStream>) -> EntryStream {
    let begin: Vec<(Option<Entry>, EntryStream)> = Vec::with_capacity(streams.len());
    let merging = stream::try_unfold((begin, streams), |(mut heads, streams)| async move {
        for mut stream in streams {
            heads.push((stream.try_next().await?, stream));
        }
        let mut first: Option<(&Entry, usize)> = None;
        for (index, (head, _)) in heads.iter().enumerate() {
            let Some(head) = head else { continue };
            match first {
                Some((other, _)) if other.key == head.key => return Err(duplicate(other, head)),
                Some((other, _)) if other.key < head.key => {}
                _ => first = Some((head, index)),
            }
        }
        let Some((_, index)) = first else { return Ok(None) };
        let (head, rest) = &mut heads[index];
        let entry = std::mem::replace(head, rest.try_next().await?);
        Ok(entry.map(|entry| (entry, (heads, Vec::new()))))
    });
    merging.boxed()
}

fn duplicate(one: &Entry, other: &Entry) -> Error {
    let (first, line) = (one.position.lsn.min(other.position.lsn), one.position.lsn.max(other.position.lsn));
    Error::Line { line, reason: format!("line {first} has the same collection and key") }
}
