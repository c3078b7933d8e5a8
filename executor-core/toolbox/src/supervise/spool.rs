//! Where is the output until it is acknowledged?
//!
//! In files named by the offset of their first byte, each of one segment size; a segment is deleted once all of it is
//! acknowledged. The supervisor writes, and pushes from here to its client; afterwards anybody can read.

use std::collections::VecDeque;
use std::fs::{self, DirBuilder, File};
use std::io;
use std::os::unix::fs::{DirBuilderExt as _, FileExt as _};
use std::path::{Path, PathBuf};

use super::files;
use super::spec::SPOOL_DIR;

const SEGMENT_MIN: u64 = 1 << 20;
const SEGMENT_MAX: u64 = 4 << 20;

/// The spool as its supervisor holds it.
pub(crate) struct Spool {
    dir: PathBuf,
    segment_size: u64,
    unacknowledged_max: u64,
    /// Where each segment starts that is still there; the last one is `tail`.
    starts: VecDeque<u64>,
    tail: Option<File>,
    /// The segment that was read last, if it is not the tail.
    reading: Option<(u64, File)>,
    acknowledged: u64,
    end: u64,
}

impl Spool {
    /// An empty spool in the step directory `dir`, for at most `unacknowledged_max` bytes.
    pub(crate) fn create(dir: &Path, unacknowledged_max: u64) -> io::Result<Self> {
        let dir = dir.join(SPOOL_DIR);
        DirBuilder::new().recursive(true).mode(0o700).create(&dir)?;
        Ok(Self {
            dir,
            segment_size: (unacknowledged_max / 64).clamp(SEGMENT_MIN, SEGMENT_MAX),
            unacknowledged_max,
            starts: VecDeque::new(),
            tail: None,
            reading: None,
            acknowledged: 0,
            end: 0,
        })
    }

    pub(crate) fn end(&self) -> u64 {
        self.end
    }

    pub(crate) fn acknowledged(&self) -> u64 {
        self.acknowledged
    }

    /// How many bytes may be added before something must be acknowledged.
    pub(crate) fn room(&self) -> u64 {
        self.unacknowledged_max.saturating_sub(self.end - self.acknowledged)
    }

    /// Adds output. On an error the part that was kept ends at [`end`](Self::end), on the disk too.
    pub(crate) fn append(&mut self, mut bytes: &[u8]) -> io::Result<()> {
        while !bytes.is_empty() {
            let filled = self.starts.back().map_or(self.segment_size, |start| self.end - start);
            let (tail, start) = match (&self.tail, self.starts.back()) {
                (Some(tail), Some(&start)) if filled < self.segment_size => (tail, start),
                _ => {
                    let created = files::create(&self.dir.join(segment_name(self.end)))?;
                    self.starts.push_back(self.end);
                    (&*self.tail.insert(created), self.end)
                }
            };
            let room = usize::try_from(self.segment_size - (self.end - start)).unwrap_or(usize::MAX);
            let (now, later) = bytes.split_at(bytes.len().min(room));
            if let Err(error) = tail.write_all_at(now, self.end - start) {
                // Whether or not this works, the reader stops at the end that the exit status tells.
                let _ = tail.set_len(self.end - start);
                return Err(error);
            }
            self.end += now.len() as u64;
            bytes = later;
        }
        Ok(())
    }

    /// Reads into `buffer` what there is at `offset`, at most to the end of a segment. 0 only at the end.
    pub(crate) fn read(&mut self, offset: u64, buffer: &mut [u8]) -> io::Result<usize> {
        let Some(&start) = self.starts.iter().rev().find(|&&start| start <= offset) else { return Ok(0) };
        if let (Some(tail), Some(&tail_start)) = (&self.tail, self.starts.back())
            && tail_start == start
        {
            return tail.read_at(buffer, offset - start);
        }
        if self.reading.as_ref().is_none_or(|(open, _)| *open != start) {
            self.reading = Some((start, File::open(self.dir.join(segment_name(start)))?));
        }
        let (_, segment) = self.reading.as_ref().expect("it was opened above");
        segment.read_at(buffer, offset - start)
    }

    /// Forgets everything below `offset`, which is not beyond the end.
    pub(crate) fn acknowledge(&mut self, offset: u64) -> io::Result<()> {
        debug_assert!(offset <= self.end, "only what exists is acknowledged");
        self.acknowledged = self.acknowledged.max(offset);
        while let Some(&start) = self.starts.front()
            && self.acknowledged >= self.starts.get(1).copied().unwrap_or(start + self.segment_size)
        {
            fs::remove_file(self.dir.join(segment_name(start)))?;
            self.starts.pop_front();
        }
        if self.starts.is_empty() {
            self.tail = None;
        }
        Ok(())
    }
}

fn segment_name(start: u64) -> String {
    format!("{start:020}")
}

/// The segments in `dir`, by their first offset.
fn segments(dir: &Path) -> io::Result<Vec<(u64, PathBuf)>> {
    let mut segments = Vec::new();
    let entries = match fs::read_dir(dir) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(segments),
        entries => entries?,
    };
    for entry in entries {
        let entry = entry?;
        if let Some(start) = entry.file_name().to_str().and_then(|name| name.parse().ok()) {
            segments.push((start, entry.path()));
        }
    }
    segments.sort_unstable();
    Ok(segments)
}

/// A piece of the output of a step.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SpoolChunk {
    /// Where in the output the first byte is.
    pub offset: u64,
    /// The bytes; never empty.
    pub bytes: Vec<u8>,
}

/// The output of a step from an offset on, in chunks of bounded size. See [`StepDir::read_spool`](crate::StepDir).
#[derive(Debug)]
pub struct SpoolChunks {
    segments: VecDeque<(u64, PathBuf)>,
    open: Option<(u64, File)>,
    offset: u64,
}

impl SpoolChunks {
    const CHUNK: usize = 256 << 10;

    pub(crate) fn open(dir: &Path, offset: u64) -> io::Result<Self> {
        let mut segments = VecDeque::from(segments(&dir.join(SPOOL_DIR))?);
        if let Some((first, _)) = segments.front()
            && *first > offset
        {
            let message = format!("output below {first} was acknowledged and is gone, {offset} was asked for");
            return Err(io::Error::new(io::ErrorKind::InvalidInput, message));
        }
        while segments.get(1).is_some_and(|(next, _)| *next <= offset) {
            segments.pop_front();
        }
        Ok(Self { segments, open: None, offset })
    }

    fn read(&mut self) -> io::Result<Option<SpoolChunk>> {
        loop {
            if self.open.is_none() {
                let Some((start, path)) = self.segments.pop_front() else { return Ok(None) };
                self.open = Some((start, File::open(path)?));
            }
            let (start, segment) = self.open.as_ref().expect("it was opened above");
            let Some(skip) = self.offset.checked_sub(*start) else {
                let message = format!("output from {} to {start} is missing", self.offset);
                return Err(io::Error::new(io::ErrorKind::InvalidData, message));
            };
            let mut bytes = vec![0; Self::CHUNK];
            let count = segment.read_at(&mut bytes, skip)?;
            if count == 0 {
                self.open = None;
                continue;
            }
            bytes.truncate(count);
            let offset = self.offset;
            self.offset += count as u64;
            return Ok(Some(SpoolChunk { offset, bytes }));
        }
    }
}

impl Iterator for SpoolChunks {
    type Item = io::Result<SpoolChunk>;

    fn next(&mut self) -> Option<Self::Item> {
        let next = self.read().transpose();
        if matches!(next, Some(Err(_))) {
            self.segments.clear();
            self.open = None;
        }
        next
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pattern(length: usize) -> Vec<u8> {
        (0..length).map(|index| (index / 7 % 251) as u8).collect()
    }

    fn read_from(spool: &mut Spool, mut offset: u64) -> Vec<u8> {
        let (mut bytes, mut buffer) = (Vec::new(), [0; 10_000]);
        loop {
            let count = spool.read(offset, &mut buffer).unwrap();
            if count == 0 {
                return bytes;
            }
            bytes.extend_from_slice(&buffer[..count]);
            offset += count as u64;
        }
    }

    #[test]
    fn output_is_read_back_from_any_offset_across_segments() {
        let dir = tempfile::tempdir().unwrap();
        let mut spool = Spool::create(dir.path(), 64 << 20).unwrap();
        let output = pattern(3_500_000);
        output.chunks(100_001).for_each(|piece| spool.append(piece).unwrap());
        for offset in [0, 1, (1 << 20) - 1, 1 << 20, 3_499_999, 3_500_000] {
            assert_eq!(read_from(&mut spool, offset as u64), output[offset..], "by the supervisor, from {offset}");
            let read: Vec<u8> =
                SpoolChunks::open(dir.path(), offset as u64).unwrap().flat_map(|chunk| chunk.unwrap().bytes).collect();
            assert_eq!(read, output[offset..], "by another process, from {offset}");
        }
    }

    #[test]
    fn acknowledged_segments_are_deleted_and_make_room() {
        let dir = tempfile::tempdir().unwrap();
        let mut spool = Spool::create(dir.path(), 2 << 20).unwrap();
        spool.append(&pattern(2 << 20)).unwrap();
        assert_eq!(spool.room(), 0);
        spool.acknowledge((1 << 20) - 1).unwrap();
        assert_eq!((spool.room(), segments(&spool.dir).unwrap().len()), ((1 << 20) - 1, 2));
        spool.acknowledge(1 << 20).unwrap();
        assert_eq!((spool.room(), segments(&spool.dir).unwrap().len()), (1 << 20, 1));
        spool.acknowledge(2 << 20).unwrap();
        assert_eq!((spool.room(), segments(&spool.dir).unwrap().len()), (2 << 20, 0));
        spool.append(b"more").unwrap();
        assert_eq!(read_from(&mut spool, 2 << 20), b"more");
        assert!(SpoolChunks::open(dir.path(), 7).is_err(), "what is acknowledged is gone");
    }
}
