//! In which forms may a secret be printed? And may an end of the output be the beginning of one?

use std::collections::BTreeSet;

use base64::{
    Engine,
    engine::general_purpose::{STANDARD, STANDARD_NO_PAD, URL_SAFE, URL_SAFE_NO_PAD},
};

use super::MASKED_BYTES_MIN;

/// A value that is longer than this is searched for in parts of this many bytes, each of which is 64 characters of base64,
/// a line of PEM: parts that touch are hidden as one.
const PART: usize = 48;

/// How many bytes are a line of the program `base64`, 76 characters.
const LINE: usize = 57;

/// What is searched for, sorted.
#[derive(Debug)]
pub(super) struct Patterns {
    sorted: Vec<Vec<u8>>,
    /// Whether a pattern of more than one byte begins with this byte.
    begins: [bool; 256],
    longest: usize,
}

impl Patterns {
    /// Every form of the values and of their lines.
    pub(super) fn of(secrets: impl IntoIterator<Item = impl AsRef<str>>) -> Self {
        let mut forms = BTreeSet::new();
        for secret in secrets {
            let value = secret.as_ref().trim_end_matches(['\n', '\r']);
            let lines = value.lines().chain([value]).map(str::as_bytes);
            forms.extend(lines.filter(|line| line.len() >= MASKED_BYTES_MIN).map(<[u8]>::to_vec));
            if value.len() >= MASKED_BYTES_MIN {
                in_base64(value.as_bytes(), &mut forms);
            }
        }
        let sorted: Vec<Vec<u8>> = forms.into_iter().collect();
        let mut begins = [false; 256];
        for pattern in &sorted {
            begins[usize::from(pattern[0])] = true;
        }
        let longest = sorted.iter().map(Vec::len).max().unwrap_or(0);
        Self { sorted, begins, longest }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.sorted.is_empty()
    }

    pub(super) fn bytes(&self) -> usize {
        self.sorted.iter().map(Vec::len).sum()
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &[u8]> {
        self.sorted.iter().map(Vec::as_slice)
    }

    /// How much of `seen` is the same whatever comes after it: all but the longest end that a pattern begins with and
    /// goes on after.
    pub(super) fn decided(&self, seen: &[u8]) -> usize {
        let first = seen.len().saturating_sub(self.longest - 1);
        let may_begin = |at: &usize| self.begins[usize::from(seen[*at])] && self.is_beginning(&seen[*at..]);
        (first..seen.len()).find(may_begin).unwrap_or(seen.len())
    }

    fn is_beginning(&self, end: &[u8]) -> bool {
        // Of the patterns, the first one after `end` begins with it if any longer one does.
        let after = self.sorted.partition_point(|pattern| pattern.as_slice() <= end);
        self.sorted.get(after).is_some_and(|pattern| pattern.starts_with(end))
    }
}

/// What a value looks like in base64: alone, and what is always the same of it behind 0, 1 or 2 bytes of something else.
fn in_base64(value: &[u8], forms: &mut BTreeSet<Vec<u8>>) {
    if value.len() <= PART {
        forms.extend([STANDARD.encode(value), URL_SAFE.encode(value)].map(String::into_bytes));
    }
    for before in 0..3 {
        let padded: Vec<u8> = [&[0; 2][..before], value].concat();
        for (index, part) in padded.chunks(PART).enumerate() {
            insert_inner(part, if index == 0 { before } else { 0 }, forms);
        }
    }
    for line in value.chunks(LINE).filter(|_| value.len() > LINE) {
        insert_inner(line, 0, forms);
    }
}

/// The characters that depend on nothing but `bytes` after its first `before` ones.
fn insert_inner(bytes: &[u8], before: usize, forms: &mut BTreeSet<Vec<u8>>) {
    let (first, end) = ((before * 8).div_ceil(6), bytes.len() * 8 / 6);
    for encoded in [STANDARD_NO_PAD.encode(bytes), URL_SAFE_NO_PAD.encode(bytes)] {
        let inner = encoded.as_bytes().get(first..end).unwrap_or_default();
        if inner.len() >= MASKED_BYTES_MIN {
            forms.insert(inner.to_vec());
        }
    }
}
