//! Does exactly one win of those who create a name?

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;

use super::{History, Outcome, Violation, violation::Entry};
use crate::{Action, Position};

/// How many names were created, if all is well.
pub(super) fn check(history: &History, violations: &mut Vec<Violation>) -> usize {
    let is_unique = |collection: &str| history.created_once.contains(collection);
    let mut created: BTreeMap<(&str, &Bytes), BTreeSet<Position>> = BTreeMap::new();
    for committed in &history.log {
        for change in committed.changes.iter().filter(|change| is_unique(&change.collection)) {
            created.entry((&change.collection, &change.key)).or_default().insert(committed.position);
        }
    }
    // The log may have lost one of two that were told that they have won.
    for operation in &history.operations {
        let Outcome::Acknowledged { position, .. } = operation.outcome else { continue };
        for (collection, key) in operation.writes.iter().filter_map(entry).filter(|(name, _)| is_unique(name)) {
            created.entry((collection, key)).or_default().insert(position);
        }
    }
    for ((collection, key), positions) in &created {
        for (first, second) in positions.iter().zip(positions.iter().skip(1)) {
            let entry = Entry::new(collection, key);
            violations.push(Violation::NotUnique { entry, first: *first, second: *second });
        }
    }
    for (operation, asked) in history.operations.iter().enumerate() {
        let looked_for = asked.reads.iter().filter(|read| is_unique(&read.collection));
        for read in looked_for.filter(|_| asked.outcome == Outcome::Conflict) {
            if !created.contains_key(&(read.collection.as_str(), &read.key)) {
                violations.push(Violation::NobodyWon { operation, entry: Entry::new(&read.collection, &read.key) });
            }
        }
    }
    created.len()
}

fn entry(action: &Action) -> Option<(&str, &Bytes)> {
    match action {
        Action::Put { collection, key, .. } | Action::Delete { collection, key } => Some((collection, key)),
        Action::Append { .. } => None,
    }
}
