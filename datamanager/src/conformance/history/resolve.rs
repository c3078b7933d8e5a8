//! Where in the log is each operation?

use std::collections::{BTreeMap, HashMap};

use bytes::Bytes;

use super::{History, Operation, Outcome, Violation};
use crate::{Action, Committed, Position};

/// What a transaction left behind: the last value of each entry.
type Effect<'a> = BTreeMap<(&'a str, Bytes), Option<&'a Bytes>>;

/// The position of each operation that wrote something or has read; none if it had no effect.
pub(super) fn places(history: &History, violations: &mut Vec<Violation>) -> Vec<Option<Position>> {
    let mut unclaimed = in_order(&history.log, violations);
    let mut places: Vec<_> = history.operations.iter().map(told).collect();
    let mut claimed: HashMap<Position, usize> = HashMap::new();
    for (operation, (asked, place)) in history.operations.iter().zip(&places).enumerate() {
        let Some(position) = place.filter(|_| !asked.writes.is_empty()) else { continue };
        if let Some(other) = claimed.insert(position, operation) {
            violations.push(Violation::SharedPosition { operation, other, position });
            continue;
        }
        match unclaimed.remove(&position) {
            Some(changes) if changes == written(asked, position) => {}
            _ => violations.push(Violation::Lost { operation, position }),
        }
    }
    let mut find = |operation: usize| {
        if unclaimed.is_empty() {
            return None;
        }
        let asked = &history.operations[operation];
        let found = unclaimed.iter().find(|(position, changes)| **changes == written(asked, **position));
        let position = *found?.0;
        if asked.outcome == Outcome::Unknown {
            unclaimed.remove(&position);
        }
        Some(position)
    };
    // Few are left by now, so each may be compared with each.
    let unanswered = |outcome: &Outcome| *outcome == Outcome::Unknown;
    for operation in writers(history, unanswered) {
        places[operation] = find(operation);
    }
    // If all is well, none are.
    let refused = |outcome: &Outcome| matches!(outcome, Outcome::Conflict | Outcome::Failed);
    for operation in writers(history, refused) {
        violations.extend(find(operation).map(|position| Violation::RefusedAndCommitted { operation, position }));
    }
    violations.extend(unclaimed.into_keys().map(|position| Violation::Foreign { position }));
    places
}

fn writers(history: &History, which: impl Fn(&Outcome) -> bool) -> impl Iterator<Item = usize> {
    let operations = history.operations.iter().enumerate();
    operations
        .filter(move |(_, asked)| which(&asked.outcome) && !asked.writes.is_empty())
        .map(|(operation, _)| operation)
}

fn told(operation: &Operation) -> Option<Position> {
    match operation.outcome {
        Outcome::Acknowledged { position, .. } => Some(position),
        Outcome::Conflict | Outcome::Failed | Outcome::Unknown => None,
    }
}

/// What the log says that was changed, where it changed anything.
fn in_order<'a>(log: &'a [Committed], violations: &mut Vec<Violation>) -> BTreeMap<Position, Effect<'a>> {
    for pair in log.windows(2) {
        let (previous, position) = (pair[0].position, pair[1].position);
        if position <= previous {
            violations.push(Violation::LogDisorder { previous, position });
        }
    }
    let changed = log.iter().filter(|committed| !committed.changes.is_empty());
    let effect = |committed: &'a Committed| {
        let changes = committed.changes.iter();
        changes.map(|change| ((change.collection.as_str(), change.key.clone()), change.value.as_ref())).collect()
    };
    changed.map(|committed| (committed.position, effect(committed))).collect()
}

/// What an operation changed, if it was committed at a position.
fn written(operation: &Operation, position: Position) -> Effect<'_> {
    let mut effect = Effect::new();
    let mut appends = 0;
    for action in &operation.writes {
        let (collection, key, value) = match action {
            Action::Put { collection, key, value } => (collection, key.clone(), Some(value)),
            Action::Delete { collection, key } => (collection, key.clone(), None),
            Action::Append { collection, value } => {
                let key = Bytes::copy_from_slice(&position.append_key(appends));
                appends += 1;
                (collection, key, Some(value))
            }
        };
        effect.insert((collection, key), value);
    }
    effect
}
