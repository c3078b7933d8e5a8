//! Where is a line of a log, and what of it is shown?
//!
//! A line ends with a line feed; what comes after the last one is a line too, unless it is empty. The index of a log is
//! how many lines end in each of its objects, of which there is about one per mebibyte: so a page is found by reading
//! one or two of them. Pure: no storage here.

use bytes::{Bytes, BytesMut};
use serde::{Deserialize, Serialize};

/// What of one line is shown at most, in bytes.
pub(super) const LINE_BYTES_MAX: usize = 64 * 1024;
/// A page ends after the line with which it has so many bytes.
const PAGE_BYTES_MAX: usize = 4 * 1024 * 1024;

/// How many lines end in some bytes, which are not none.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct LineCount {
    /// Line feeds.
    pub(crate) ends: u64,
    /// Whether something comes after the last one.
    pub(crate) open: bool,
}

/// A line of a log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogLine {
    /// What it says, without its end; of a very long line, the first 64 KiB.
    pub text: Bytes,
    /// How many bytes of it are not shown.
    pub cut: u64,
}

/// Which lines to show.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogPlace {
    /// From this line on, counted from 0.
    From(u64),
    /// The last ones that there are.
    Last,
}

/// Takes lines out of bytes that come in order.
#[derive(Debug)]
pub(super) struct Cutter {
    first: u64,
    limit: usize,
    /// The line that the next byte belongs to, and its place in the log.
    line: u64,
    offset: u64,
    /// Where the first line that is shown begins.
    began: Option<u64>,
    lines: Vec<LogLine>,
    /// What came of the line that is shown next.
    text: BytesMut,
    cut: u64,
    bytes: usize,
}

impl LineCount {
    pub(super) fn of(bytes: &[u8]) -> Self {
        let ends = bytes.iter().filter(|byte| **byte == b'\n').count() as u64;
        Self { ends, open: bytes.last().is_some_and(|byte| *byte != b'\n') }
    }
}

/// How many lines there are.
pub(super) fn total(counts: impl IntoIterator<Item = LineCount>) -> u64 {
    let (ends, open) = counts.into_iter().fold((0, false), |(ends, _), count| (ends + count.ends, count.open));
    ends + u64::from(open)
}

impl Cutter {
    /// For at most `limit` lines from `first` on.
    pub(super) fn new(first: u64, limit: usize) -> Self {
        Self {
            first,
            limit,
            line: 0,
            offset: 0,
            began: None,
            lines: Vec::new(),
            text: BytesMut::new(),
            cut: 0,
            bytes: 0,
        }
    }

    /// Whether nothing more is shown.
    pub(super) fn is_done(&self) -> bool {
        self.lines.len() >= self.limit || self.bytes >= PAGE_BYTES_MAX
    }

    /// Passes over bytes of which nothing is shown; false if something is.
    pub(super) fn skip(&mut self, size: u64, count: LineCount) -> bool {
        let is_before = self.line + count.ends < self.first;
        let is_cut = count.ends == 0 && self.text.len() == LINE_BYTES_MAX;
        if is_before {
            self.line += count.ends;
        } else if is_cut {
            self.cut += size;
        } else {
            return false;
        }
        self.offset += size;
        true
    }

    /// Takes in what comes next.
    pub(super) fn push(&mut self, mut bytes: &[u8]) {
        while !bytes.is_empty() && !self.is_done() {
            let end = bytes.iter().position(|byte| *byte == b'\n');
            let (line, rest) = bytes.split_at(end.map_or(bytes.len(), |end| end + 1));
            if self.line >= self.first {
                self.began.get_or_insert(self.offset);
                self.show(end.map_or(line, |end| &line[..end]));
                if end.is_some() {
                    self.end_line();
                }
            }
            self.line += u64::from(end.is_some());
            self.offset += line.len() as u64;
            bytes = rest;
        }
    }

    fn show(&mut self, part: &[u8]) {
        let shown = part.len().min(LINE_BYTES_MAX - self.text.len());
        self.text.extend_from_slice(&part[..shown]);
        self.cut += (part.len() - shown) as u64;
    }

    fn end_line(&mut self) {
        let text = self.text.split().freeze();
        self.bytes += text.len() + 1;
        self.lines.push(LogLine { text, cut: std::mem::take(&mut self.cut) });
    }

    /// The lines, and where in the log the first of them begins. Nothing more comes now, so what is there of a line is
    /// one.
    pub(super) fn finish(mut self) -> (Vec<LogLine>, u64) {
        if !self.is_done() && !self.text.is_empty() {
            self.end_line();
        }
        (self.lines, self.began.unwrap_or(self.offset))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// What a page of a log is, said in the simplest way.
    fn expected(log: &[u8], first: usize, limit: usize) -> Vec<Vec<u8>> {
        let mut lines: Vec<_> = log.split(|byte| *byte == b'\n').map(<[u8]>::to_vec).collect();
        if lines.last().is_some_and(Vec::is_empty) {
            lines.pop();
        }
        lines.into_iter().skip(first).take(limit).collect()
    }

    proptest! {
        #[test]
        fn a_page_is_the_same_however_the_log_is_stored(
            pieces in proptest::collection::vec(proptest::collection::vec(prop_oneof![Just(b'\n'), Just(b'a')], 1..6), 0..12),
            first in 0_usize..12,
            limit in 1_usize..6,
        ) {
            let log = pieces.concat();
            let counts: Vec<_> = pieces.iter().map(|piece| LineCount::of(piece)).collect();
            prop_assert_eq!(total(counts.clone()) as usize, expected(&log, 0, usize::MAX).len());
            let mut cutter = Cutter::new(first as u64, limit);
            for (piece, count) in pieces.iter().zip(counts) {
                if !cutter.skip(piece.len() as u64, count) {
                    cutter.push(piece);
                }
            }
            let (lines, offset) = cutter.finish();
            let texts: Vec<_> = lines.iter().map(|line| line.text.to_vec()).collect();
            let expected = expected(&log, first, limit);
            let passed: usize = log.split_inclusive(|byte| *byte == b'\n').take(first).map(<[u8]>::len).sum();
            prop_assert_eq!(offset as usize, passed);
            prop_assert_eq!(texts, expected);
        }
    }

    #[test]
    fn of_a_very_long_line_its_beginning_is_shown_and_what_holds_nothing_else_is_not_read() {
        let mut cutter = Cutter::new(1, 2);
        cutter.push(b"first\n");
        cutter.push(&vec![b'x'; LINE_BYTES_MAX + 10]);
        assert!(cutter.skip(1_000, LineCount { ends: 0, open: true }));
        assert!(!cutter.skip(4, LineCount { ends: 1, open: true }));
        cutter.push(b"x\nend");
        let (lines, offset) = cutter.finish();
        assert_eq!(offset, 6);
        assert_eq!((lines[0].text.len(), lines[0].cut), (LINE_BYTES_MAX, 1_011));
        assert_eq!(lines[1], LogLine { text: Bytes::from("end"), cut: 0 });
    }

    #[test]
    fn a_page_of_long_lines_ends_early() {
        let mut cutter = Cutter::new(0, 1_000);
        let line = [&[b'x'; LINE_BYTES_MAX][..], b"\n"].concat();
        for _ in 0..100 {
            cutter.push(&line);
        }
        assert_eq!(cutter.finish().0.len(), PAGE_BYTES_MAX.div_ceil(LINE_BYTES_MAX + 1));
    }
}
