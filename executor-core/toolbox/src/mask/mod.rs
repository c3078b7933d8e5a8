//! What of an output must nobody read? Secrets, in the forms in which commands print them.
//!
//! The one stage between reading and the spool: spool, log and every offset are those of the masked output, and no secret
//! reaches a disk. Output is held back only while its end could be the beginning of a secret.

mod patterns;
#[cfg(test)]
mod tests;

use std::borrow::Cow;

use aho_corasick::{AhoCorasick, AhoCorasickKind, MatchKind};

use patterns::Patterns;

/// Values and lines of values that are shorter than this are not masked: too much of ordinary output would vanish.
pub const MASKED_BYTES_MIN: usize = 4;

/// What is printed in place of a secret, however long that is.
pub const MASK: &[u8] = b"***";

/// A table of transitions per byte is the fastest to search with; beyond this many bytes of patterns it grows too large.
const TABLE_BYTES_MAX: usize = 8 << 10;

/// Sees the output of one step, in order, and hides secrets in it.
///
/// Hidden are the values, each line of a value, and what a value looks like in base64, alone or as a part of something
/// longer, in one line or in lines of 64 or 76 characters; also where the output comes in pieces. What touches or overlaps
/// is hidden as one.
///
/// ```
/// use runyard_toolbox::Masker;
///
/// let mut masker = Masker::new(["hunter2"]);
/// let mut shown = masker.pass(b"password: hunt").into_owned();
/// assert_eq!(shown, b"password: ");
/// shown.extend_from_slice(&masker.pass(b"er2!"));
/// shown.extend(masker.finish());
/// assert_eq!(shown, b"password: ***!");
/// ```
#[derive(Debug, Default)]
pub struct Masker {
    /// None: nothing is secret.
    search: Option<Search>,
    /// What could be the beginning of a secret.
    held: Vec<u8>,
    /// How many of the held bytes are hidden, whatever comes.
    hidden: usize,
    /// Whether the last byte that was passed was hidden.
    in_mask: bool,
}

#[derive(Debug)]
struct Search {
    patterns: Patterns,
    automaton: AhoCorasick,
}

impl Masker {
    /// A masker for these values. Those under [`MASKED_BYTES_MIN`] bytes are not hidden.
    pub fn new(secrets: impl IntoIterator<Item = impl AsRef<str>>) -> Self {
        let patterns = Patterns::of(secrets);
        if patterns.is_empty() {
            return Self::default();
        }
        let table = (patterns.bytes() <= TABLE_BYTES_MAX).then_some(AhoCorasickKind::DFA);
        // Every match, also of those that overlap: of two secrets that share a part, neither is to be seen.
        let automaton = AhoCorasick::builder().match_kind(MatchKind::Standard).kind(table).build(patterns.iter());
        let automaton = automaton.expect("the patterns are far fewer and shorter than an automaton can have");
        Self { search: Some(Search { patterns, automaton }), ..Self::default() }
    }

    /// What to show after `bytes` were read.
    pub fn pass<'a>(&mut self, bytes: &'a [u8]) -> Cow<'a, [u8]> {
        let Some(search) = &self.search else { return Cow::Borrowed(bytes) };
        let seen: Cow<'a, [u8]> = if self.held.is_empty() {
            Cow::Borrowed(bytes)
        } else {
            self.held.extend_from_slice(bytes);
            Cow::Owned(std::mem::take(&mut self.held))
        };
        let decided = search.patterns.decided(&seen);
        let secret = search.secret_ranges(&seen, self.hidden);
        self.held = seen[decided..].to_vec();
        let was_hidden = self.hidden > 0;
        let across = secret.iter().find(|range| {
            let begins_before = range.start < decided || (was_hidden && range.start == 0);
            begins_before && range.end > decided
        });
        self.hidden = across.map_or(0, |range| range.end - decided);
        if secret.first().is_none_or(|first| first.start >= decided) && decided == seen.len() {
            self.in_mask &= decided == 0;
            return seen;
        }
        Cow::Owned(self.show(&seen[..decided], &secret))
    }

    /// What was held back, once there is no more output.
    pub fn finish(&mut self) -> Vec<u8> {
        let held = std::mem::take(&mut self.held);
        let hidden = std::mem::take(&mut self.hidden);
        let Some(search) = &self.search else { return held };
        let secret = search.secret_ranges(&held, hidden);
        self.show(&held, &secret)
    }

    /// Masks a text that is whole.
    pub fn mask(&self, text: &str) -> String {
        let Some(search) = &self.search else { return text.to_owned() };
        let secret = search.secret_ranges(text.as_bytes(), 0);
        let shown = Self::default().show(text.as_bytes(), &secret);
        String::from_utf8_lossy(&shown).into_owned()
    }

    fn show(&mut self, decided: &[u8], secret: &[std::ops::Range<usize>]) -> Vec<u8> {
        let mut shown = Vec::with_capacity(decided.len() + MASK.len());
        let mut at = 0;
        for range in secret.iter().filter(|range| range.start < decided.len()) {
            if range.start > at {
                shown.extend_from_slice(&decided[at..range.start]);
                self.in_mask = false;
            }
            if !self.in_mask {
                shown.extend_from_slice(MASK);
            }
            self.in_mask = true;
            at = range.end.min(decided.len());
        }
        if at < decided.len() {
            shown.extend_from_slice(&decided[at..]);
            self.in_mask = false;
        }
        shown
    }
}

impl Search {
    /// The parts of `seen` that are hidden, apart from each other and in order; its first `hidden` bytes are anyway.
    fn secret_ranges(&self, seen: &[u8], hidden: usize) -> Vec<std::ops::Range<usize>> {
        let mut ranges: Vec<std::ops::Range<usize>> = Vec::new();
        if hidden > 0 {
            ranges.push(0..hidden.min(seen.len()));
        }
        // They come in the order of their ends.
        for found in self.automaton.find_overlapping_iter(seen) {
            let mut range = found.range();
            while let Some(last) = ranges.last().filter(|last| last.end >= range.start) {
                range = last.start.min(range.start)..last.end.max(range.end);
                ranges.pop();
            }
            ranges.push(range);
        }
        ranges
    }
}
