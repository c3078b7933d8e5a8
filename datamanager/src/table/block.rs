//! How are entries laid out in a block?
//!
//! ```text
//! block     entry ...                                            in ascending order of the keys, each key once
//! entry     shared | suffix | lsn | index | 0                    a tombstone
//!           shared | suffix | lsn | index | 1 + length | value
//! ```
//!
//! `shared` is how much of the key before a key begins with; every so many entries or bytes it is 0, which makes places
//! from where a search may begin. Numbers are LEB128. In a file a block is compressed with zstd, or stored as it is where
//! that is not larger; its checksum, and how long it is in both forms, are in the file's index.

use std::cmp::Ordering;

use bytes::Bytes;

use crate::{
    Direction, KeyRange, Position,
    codec::{Damage, Reader, put_bytes, put_length, put_number},
    entry::Entry,
};

/// How many entries share the beginnings of their keys, one with the next, before a key is written whole.
const ENTRIES_PER_START: usize = 16;

/// After how many bytes a key is written whole, however few entries they are: to step over them costs more than the key.
const BYTES_PER_START: usize = 512;

/// A block that is longer is not compressed, so that no reader has to believe in an arbitrary length.
const COMPRESSED_BYTES_MAX: usize = 8 << 20;

/// An upper bound of what an entry takes beside its key and value.
const ENTRY_OVERHEAD_BYTES: usize = 32;

/// The entries of the block that is being filled.
#[derive(Debug, Default)]
pub(super) struct BlockBuilder {
    bytes: Vec<u8>,
    /// Where the last key is that is written whole, and how many entries there are from it on.
    start: usize,
    since_start: usize,
    last: Bytes,
    newest: Position,
}

/// A block as it is stored.
#[derive(Debug)]
pub(super) struct StoredBlock {
    pub(super) bytes: Vec<u8>,
    /// How long it is when it is not compressed.
    pub(super) raw: usize,
    pub(super) last: Bytes,
    pub(super) newest: Position,
}

impl BlockBuilder {
    /// How long the block is, not compressed.
    pub(super) fn len(&self) -> usize {
        self.bytes.len()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }

    /// How long the block may become with one more entry.
    pub(super) fn len_with(&self, entry: &Entry) -> usize {
        self.len() + entry.key.len() + entry.value.as_ref().map_or(0, Bytes::len) + ENTRY_OVERHEAD_BYTES
    }

    /// Adds an entry after all others.
    pub(super) fn push(&mut self, entry: &Entry) {
        debug_assert!(self.is_empty() || self.last < entry.key, "entries come in ascending order");
        let starts =
            self.is_empty() || self.since_start >= ENTRIES_PER_START || self.len() - self.start >= BYTES_PER_START;
        let shared = if starts {
            (self.start, self.since_start) = (self.len(), 0);
            0
        } else {
            self.last.iter().zip(&entry.key).take_while(|(last, key)| last == key).count()
        };
        put_length(&mut self.bytes, shared);
        put_bytes(&mut self.bytes, &entry.key[shared..]);
        put_number(&mut self.bytes, entry.position.lsn);
        put_number(&mut self.bytes, entry.position.index.into());
        match &entry.value {
            None => put_length(&mut self.bytes, 0),
            Some(value) => {
                put_length(&mut self.bytes, 1 + value.len());
                self.bytes.extend_from_slice(value);
            }
        }
        self.since_start += 1;
        self.last = entry.key.clone();
        self.newest = self.newest.max(entry.position);
    }

    /// Takes the block out, compressed if there is a level and it helps; the builder is empty again.
    pub(super) fn take(&mut self, level: Option<i32>) -> StoredBlock {
        let Self { bytes, last, newest, .. } = std::mem::take(self);
        let raw = bytes.len();
        let compressed = level
            .filter(|_| raw <= COMPRESSED_BYTES_MAX)
            .and_then(|level| zstd::bulk::compress(&bytes, level).ok())
            .filter(|compressed| compressed.len() < raw);
        StoredBlock { bytes: compressed.unwrap_or(bytes), raw, last, newest }
    }
}

/// A block that was read and found to be whole.
#[derive(Debug)]
pub(crate) struct Block {
    bytes: Bytes,
    /// Where the entries are whose keys are written whole; the first one is among them.
    starts: Vec<u32>,
}

/// An entry where it lies in a block.
struct Encoded<'a> {
    shared: usize,
    suffix: &'a [u8],
    position: Position,
    value: Option<&'a [u8]>,
}

/// Goes through the entries of a block.
struct Cursor<'a> {
    rest: Reader<'a>,
    /// The key of the entry that it came to.
    key: Vec<u8>,
}

impl Block {
    /// Reads a block that was stored with a length of `raw` bytes before compression.
    ///
    /// Allocates no more than the input, or the 8 MiB that a compressed block is at most.
    pub(crate) fn decode(stored: &[u8], raw: usize) -> Result<Self, Damage> {
        let bytes = match stored.len().cmp(&raw) {
            Ordering::Equal => Bytes::copy_from_slice(stored),
            Ordering::Less if raw <= COMPRESSED_BYTES_MAX => {
                let bytes = zstd::bulk::decompress(stored, raw).map_err(|_| "a block does not decompress")?;
                if bytes.len() != raw {
                    return Err("a block has another length than its index says");
                }
                bytes.into()
            }
            _ => return Err("the lengths of a block cannot be"),
        };
        let starts = check(&bytes)?;
        Ok(Self { bytes, starts })
    }

    /// What it takes in memory.
    pub(super) fn weight(&self) -> usize {
        self.bytes.len() + self.starts.len() * size_of::<u32>() + size_of::<Self>()
    }

    /// The entry with a key.
    pub(super) fn get(&self, key: &[u8]) -> Option<Entry> {
        let mut cursor = self.cursor_before(key);
        while let Some(found) = cursor.next() {
            match cursor.key[..].cmp(key) {
                Ordering::Less => {}
                Ordering::Equal => return Some(self.entry(&cursor.key, &found)),
                Ordering::Greater => return None,
            }
        }
        None
    }

    /// The last key.
    pub(super) fn last(&self) -> Vec<u8> {
        let mut cursor = self.cursor_at(self.starts.len() - 1);
        while cursor.next().is_some() {}
        cursor.key
    }

    /// The entries of a range, in the order of a direction.
    pub(super) fn entries(&self, range: &KeyRange, direction: Direction) -> Vec<Entry> {
        let mut entries = Vec::new();
        self.each(range, |key, found| {
            entries.push(self.entry(key, found));
            true
        });
        if direction == Direction::Descending {
            entries.reverse();
        }
        entries
    }

    /// Whether an entry of a range was written after a position.
    pub(super) fn written_after(&self, range: &KeyRange, position: Position) -> bool {
        let mut written = false;
        self.each(range, |_, found| {
            written = found.position > position;
            !written
        });
        written
    }

    /// Reads every entry in every way, for fuzzers: a block that was accepted is in order and answers for each key.
    #[cfg(any(test, feature = "test-util"))]
    pub(crate) fn check_reads(&self) {
        let entries = self.entries(&KeyRange::all(), Direction::Ascending);
        assert!(entries.is_sorted_by(|a, b| a.key < b.key));
        assert_eq!(entries.last().map(|entry| &entry.key[..]), Some(&self.last()[..]));
        for entry in &entries {
            assert_eq!(self.get(&entry.key).as_ref(), Some(entry));
        }
    }

    /// Hands out the entries of a range until `take` wants no more.
    fn each(&self, range: &KeyRange, mut take: impl FnMut(&[u8], &Encoded<'_>) -> bool) {
        use std::ops::Bound;
        let mut cursor = match &range.start {
            Bound::Unbounded => self.cursor_at(0),
            Bound::Included(start) | Bound::Excluded(start) => self.cursor_before(start),
        };
        let mut inside = false;
        while let Some(found) = cursor.next() {
            // Before the range there may be others; after it, nothing more is in it.
            let was_inside = std::mem::replace(&mut inside, range.contains(&cursor.key));
            if (was_inside && !inside) || (inside && !take(&cursor.key, &found)) {
                return;
            }
        }
    }

    /// A cursor from where going on leads to every entry with at least this key.
    fn cursor_before(&self, key: &[u8]) -> Cursor<'_> {
        let after = self.starts.partition_point(|start| {
            let first = Encoded::read_key(&mut Reader::new(&self.bytes[*start as usize..]));
            first.is_ok_and(|(_, first)| first <= key)
        });
        self.cursor_at(after.saturating_sub(1))
    }

    fn cursor_at(&self, start: usize) -> Cursor<'_> {
        Cursor { rest: Reader::new(&self.bytes[self.starts[start] as usize..]), key: Vec::new() }
    }

    /// An entry that stands for itself.
    fn entry(&self, key: &[u8], found: &Encoded<'_>) -> Entry {
        // A slice keeps the whole block in memory, as long as the caller keeps the value: only where it is much of it.
        let value = found.value.map(|value| match value.len() >= self.bytes.len() / 4 {
            true => self.bytes.slice_ref(value),
            false => Bytes::copy_from_slice(value),
        });
        Entry { key: Bytes::copy_from_slice(key), position: found.position, value }
    }
}

impl<'a> Encoded<'a> {
    fn read_key(reader: &mut Reader<'a>) -> Result<(usize, &'a [u8]), Damage> {
        let shared = usize::try_from(reader.number()?).map_err(|_| "a key shares more than there is")?;
        Ok((shared, reader.bytes()?))
    }

    fn read(reader: &mut Reader<'a>) -> Result<Self, Damage> {
        let (shared, suffix) = Self::read_key(reader)?;
        let lsn = reader.number()?;
        let index = u32::try_from(reader.number()?).map_err(|_| "a position is out of range")?;
        let value = match reader.number()? {
            0 => None,
            length => {
                let length = usize::try_from(length - 1).map_err(|_| "a value goes past the end")?;
                Some(reader.take(length)?)
            }
        };
        Ok(Self { shared, suffix, position: Position { lsn, index }, value })
    }
}

impl<'a> Cursor<'a> {
    /// The next entry; none at the end. The block was checked, so nothing else ends it.
    fn next(&mut self) -> Option<Encoded<'a>> {
        if self.rest.is_empty() {
            return None;
        }
        let found = Encoded::read(&mut self.rest).ok()?;
        self.key.truncate(found.shared);
        self.key.extend_from_slice(found.suffix);
        Some(found)
    }
}

/// Reads a block through; returns where its whole keys are.
fn check(bytes: &[u8]) -> Result<Vec<u32>, Damage> {
    let mut starts = Vec::new();
    let mut rest = Reader::new(bytes);
    let mut last = Vec::new();
    while !rest.is_empty() {
        let at = u32::try_from(bytes.len() - rest.len()).map_err(|_| "a block is too long")?;
        let found = Encoded::read(&mut rest)?;
        if found.shared == 0 {
            starts.push(at);
        }
        let Some(parted) = last.get(found.shared..) else { return Err("a key shares more than there is") };
        if at > 0 && found.suffix <= parted {
            return Err("the keys of a block are not in order");
        }
        last.truncate(found.shared);
        last.extend_from_slice(found.suffix);
    }
    if starts.is_empty() { Err("a block is empty") } else { Ok(starts) }
}
