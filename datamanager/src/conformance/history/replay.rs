//! In the order of the log, has every transaction read what was there, and is that there in the end?

use std::collections::BTreeMap;

use bytes::Bytes;

use super::{
    History, Operation, Violation,
    violation::{Entry, Value},
};
use crate::{Committed, Position};

type State<'a> = BTreeMap<(&'a str, &'a Bytes), &'a Bytes>;

pub(super) fn check(history: &History, places: &[Option<Position>], violations: &mut Vec<Violation>) {
    // Who writes at a position has read what was before it; who only reads there sees it.
    let mut readers: Vec<_> = (0..places.len())
        .filter(|operation| !history.operations[*operation].reads.is_empty())
        .filter_map(|operation| Some((places[operation]?, history.operations[operation].writes.is_empty(), operation)))
        .collect();
    readers.sort_unstable();
    let mut readers = readers.into_iter().peekable();
    let mut state = State::new();
    for committed in &history.log {
        while let Some((position, _, operation)) = readers.next_if(|(position, only_reads, _)| {
            *position < committed.position || *position == committed.position && !only_reads
        }) {
            compare(operation, &history.operations[operation], position, &state, violations);
        }
        apply(&mut state, committed);
    }
    for (position, _, operation) in readers {
        compare(operation, &history.operations[operation], position, &state, violations);
    }
    compare_content(history, &state, violations);
}

fn apply<'a>(state: &mut State<'a>, committed: &'a Committed) {
    for change in &committed.changes {
        let entry = (change.collection.as_str(), &change.key);
        match &change.value {
            Some(value) => drop(state.insert(entry, value)),
            None => drop(state.remove(&entry)),
        }
    }
}

fn compare(
    operation: usize,
    asked: &Operation,
    position: Position,
    state: &State<'_>,
    violations: &mut Vec<Violation>,
) {
    for read in &asked.reads {
        let was = state.get(&(read.collection.as_str(), &read.key)).copied();
        if was != read.value.as_ref() {
            violations.push(Violation::Misread {
                operation,
                position,
                entry: Entry::new(&read.collection, &read.key),
                read: Value::new(read.value.as_ref()),
                was: Value::new(was),
            });
        }
    }
}

fn compare_content(history: &History, state: &State<'_>, violations: &mut Vec<Violation>) {
    let found: State<'_> =
        history.content.iter().map(|((collection, key), value)| ((collection.as_str(), key), value)).collect();
    let in_either: BTreeMap<_, _> = state.iter().chain(&found).collect();
    for (entry, _) in in_either {
        let (logged, found) = (state.get(entry).copied(), found.get(entry).copied());
        if logged != found {
            let (logged, found) = (Value::new(logged), Value::new(found));
            violations.push(Violation::Content { entry: Entry::new(entry.0, entry.1), logged, found });
        }
    }
}
