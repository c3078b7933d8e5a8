//! Which objects make up a log, and which of them should become one?
//!
//! An append stores one object under the offset where it begins. When many small ones have gathered, they are written
//! again as one under the first one's name, and the others are deleted; a crash in between leaves objects that the
//! longer one covers. Pure: no storage here.

use std::ops::Range;

use super::lines::LineCount;

/// One object of a log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Chunk {
    /// Where it begins in the log, in bytes.
    pub(super) offset: u64,
    /// Its size in bytes.
    pub(super) size: u64,
    /// How many lines end in it; none: nobody has counted them in this process.
    pub(super) count: Option<LineCount>,
}

impl Chunk {
    /// One whose lines are not counted.
    pub(super) fn uncounted(offset: u64, size: u64) -> Self {
        Self { offset, size, count: None }
    }

    pub(super) fn end(self) -> u64 {
        self.offset + self.size
    }
}

/// The objects of a log in their order, and those that another one covers.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Coverage {
    pub(super) chunks: Vec<Chunk>,
    pub(super) covered: Vec<u64>,
}

/// Sorts listed objects, ascending by offset, into those that make up the log and those left over from a merge.
///
/// `Err` is the offset at which the log has a hole, or two contents.
pub(super) fn cover(listed: impl IntoIterator<Item = Chunk>) -> Result<Coverage, u64> {
    let mut coverage = Coverage::default();
    let mut end = 0;
    for chunk in listed {
        if chunk.end() <= end {
            coverage.covered.push(chunk.offset);
        } else if chunk.offset == end {
            end = chunk.end();
            coverage.chunks.push(chunk);
        } else {
            return Err(end);
        }
    }
    Ok(coverage)
}

/// A chunk below this size is merged with its small neighbours soon, so that they can come from memory.
pub(super) const SMALL: u64 = 64 * 1024;
/// A chunk of this size is left alone.
const LARGE: u64 = 1024 * 1024;
/// So many small chunks are merged even if they do not fill [`SMALL`].
const SMALL_COUNT_MAX: usize = 64;

/// The chunks at the end of a log that should become one now, if any.
///
/// In two steps, to [`SMALL`] and to [`LARGE`], so that a byte is written again a few times at most and a log has at
/// most one chunk per mebibyte, and about 80 besides.
pub(super) fn merge(chunks: &[Chunk]) -> Option<Range<usize>> {
    let small = suffix_below(chunks, SMALL);
    if small.len() > 1 && (small.len() >= SMALL_COUNT_MAX || total(&chunks[small.clone()]) >= SMALL) {
        return Some(small);
    }
    let medium = suffix_below(chunks, LARGE);
    (medium.len() > 1 && total(&chunks[medium.clone()]) >= LARGE).then_some(medium)
}

/// The chunks at the end of a log that should become one when nothing more comes.
pub(super) fn merge_at_end(chunks: &[Chunk]) -> Option<Range<usize>> {
    /// Fewer are not worth a write that the end of the step would wait for.
    const WORTHWHILE: usize = 8;
    let small = suffix_below(chunks, SMALL);
    (small.len() >= WORTHWHILE).then_some(small)
}

fn suffix_below(chunks: &[Chunk], size: u64) -> Range<usize> {
    let start = chunks.iter().rposition(|chunk| chunk.size >= size).map_or(0, |last| last + 1);
    start..chunks.len()
}

fn total(chunks: &[Chunk]) -> u64 {
    chunks.iter().map(|chunk| chunk.size).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn chunks(sizes: &[u64]) -> Vec<Chunk> {
        let mut offset = 0;
        sizes
            .iter()
            .map(|size| {
                let chunk = Chunk::uncounted(offset, *size);
                offset += size;
                chunk
            })
            .collect()
    }

    #[test]
    fn what_a_longer_object_covers_is_left_over() {
        let listed = [(0, 30), (10, 10), (20, 10), (30, 5)].map(|(offset, size)| Chunk::uncounted(offset, size));
        let coverage = cover(listed).expect("whole");
        assert_eq!(coverage.chunks, [Chunk::uncounted(0, 30), Chunk::uncounted(30, 5)]);
        assert_eq!(coverage.covered, [10, 20]);
    }

    #[test]
    fn a_hole_and_an_overlap_are_found() {
        assert_eq!(cover([Chunk::uncounted(5, 5)]), Err(0));
        assert_eq!(cover([(0, 10), (11, 5)].map(|(offset, size)| Chunk::uncounted(offset, size))), Err(10));
        assert_eq!(cover([(0, 10), (8, 5)].map(|(offset, size)| Chunk::uncounted(offset, size))), Err(10));
    }

    #[test]
    fn small_chunks_are_merged_when_they_are_many_or_fill_one() {
        assert_eq!(merge(&chunks(&[100; 63])), None);
        assert_eq!(merge(&chunks(&[100; 64])), Some(0..64));
        assert_eq!(merge(&chunks(&[SMALL - 1, 1])), Some(0..2));
        assert_eq!(merge(&chunks(&[LARGE, 10, 10])), None);
        assert_eq!(merge(&chunks(&[LARGE, LARGE / 2, LARGE / 2])), Some(1..3));
    }

    #[test]
    fn a_log_of_tiny_appends_keeps_few_chunks_and_is_rewritten_a_few_times() {
        let mut log: Vec<Chunk> = Vec::new();
        let mut written = 0;
        for index in 0..100_000_u64 {
            log.push(Chunk::uncounted(index * 100, 100));
            written += 100;
            while let Some(range) = merge(&log) {
                let merged = Chunk::uncounted(log[range.start].offset, total(&log[range.clone()]));
                written += merged.size;
                log.splice(range, [merged]);
            }
        }
        let size = 100 * 100_000;
        assert_eq!(log.last().map(|chunk| chunk.end()), Some(size));
        assert!(log.len() <= (size / LARGE) as usize + 80, "{} chunks", log.len());
        assert!(written <= 10 * size, "written {} times over", written / size);
    }
}
