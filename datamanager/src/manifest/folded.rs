//! Which entries of delta files are dead, because they have been folded into base files?
//!
//! For each range of keys, the position of the last checkpoint that folded it. Delta entries in the range that are not
//! newer are dead: the base files have what became of them, and may have dropped it, so nobody may look at them.

use bytes::Bytes;

use crate::Position;

/// Up to which position the deltas of a collection are folded, from each of some keys on.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Folded {
    /// Ascending by key; two neighbours differ in their position. Before the first key, nothing is folded.
    pub(crate) steps: Vec<(Bytes, Position)>,
}

impl Folded {
    /// Up to which position the entries with this key are folded.
    pub(crate) fn at(&self, key: &[u8]) -> Position {
        match self.steps.partition_point(|(start, _)| start[..] <= *key) {
            0 => Position::ZERO,
            after => self.steps[after - 1].1,
        }
    }

    /// Up to which position all entries are folded whose keys are from `start` on, and before `end` if there is one.
    pub(crate) fn least(&self, start: &[u8], end: Option<&[u8]>) -> Position {
        let inside = self.steps.iter().filter(|(key, _)| key[..] > *start && end.is_none_or(|end| key[..] < *end));
        inside.map(|(_, position)| *position).fold(self.at(start), Position::min)
    }

    /// Whether a delta's entry still counts.
    pub(crate) fn is_live(&self, key: &[u8], position: Position) -> bool {
        position > self.at(key)
    }

    /// Marks the keys from `start` on, and before `end` if there is one, as folded up to `position`.
    pub(crate) fn fold(&mut self, start: &Bytes, end: Option<&Bytes>, position: Position) {
        let from = self.steps.partition_point(|(key, _)| key < start);
        let to = end.map_or(self.steps.len(), |end| self.steps.partition_point(|(key, _)| key <= end));
        let after = end.map(|end| (end.clone(), self.at(end)));
        self.steps.splice(from..to, [(start.clone(), position)].into_iter().chain(after));
        let mut before = Position::ZERO;
        self.steps.retain(|(_, position)| std::mem::replace(&mut before, *position) != *position);
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::{any, proptest};

    use super::*;

    proptest! {
        #[test]
        fn each_key_is_folded_up_to_the_last_fold_of_it(folds in proptest::collection::vec(any::<(u8, u8)>(), 0..40)) {
            let mut folded = Folded::default();
            let mut model = BTreeMap::new();
            for (lsn, (start, end)) in (1..).zip(folds) {
                let position = Position { lsn, index: 0 };
                // The highest bound stands for none.
                let end = Some(end).filter(|end| *end < u8::MAX);
                if end.is_some_and(|end| end <= start) {
                    continue;
                }
                let as_key = |byte: u8| if byte == 0 { Bytes::new() } else { Bytes::from(vec![byte]) };
                folded.fold(&as_key(start), end.map(as_key).as_ref(), position);
                model.extend((start..=end.map_or(u8::MAX, |end| end - 1)).map(|byte| (byte, position)));
                assert!(folded.steps.is_sorted_by(|(a, _), (b, _)| a < b));
                assert!(folded.steps.windows(2).all(|pair| pair[0].1 != pair[1].1));
            }
            for byte in 0..=u8::MAX {
                let position = model.get(&byte).copied().unwrap_or_default();
                assert_eq!(folded.at(&[byte]), position, "{byte}");
                assert!(!folded.is_live(&[byte], position));
                assert!(folded.is_live(&[byte], Position { lsn: position.lsn + 1, index: 0 }));
            }
        }
    }
}
