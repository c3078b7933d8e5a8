//! Is the order of the log the one in which things happened?
//!
//! Who was answered before another one began comes before it. For one that only reads in a process that nobody told
//! anything yet, that is promised of what was acknowledged in the same process alone.

use std::{collections::HashMap, time::Duration};

use super::{History, Operation, Outcome, Violation};
use crate::Position;

/// The furthest position that was acknowledged until now, and to which operation.
type Furthest = (Position, usize);

pub(super) fn check(history: &History, places: &[Option<Position>], violations: &mut Vec<Violation>) {
    let mut ends: Vec<_> = history.operations.iter().enumerate().filter_map(end).collect();
    ends.sort_unstable();
    let mut ends = ends.into_iter().peekable();
    let mut begins: Vec<_> = (0..places.len()).filter(|operation| places[*operation].is_some()).collect();
    begins.sort_unstable_by_key(|operation| history.operations[*operation].invoked);
    let (mut anywhere, mut by_process) = (None, HashMap::new());
    for operation in begins {
        let asked = &history.operations[operation];
        while let Some((_, position, earlier)) = ends.next_if(|(returned, ..)| *returned < asked.invoked) {
            advance(&mut anywhere, (position, earlier));
            advance(by_process.entry(history.operations[earlier].process).or_default(), (position, earlier));
        }
        let Some(position) = places[operation] else { continue };
        let is_certain = asked.caught_up || !asked.writes.is_empty();
        let before = if is_certain { anywhere } else { by_process.get(&asked.process).copied().flatten() };
        violations.extend(before.and_then(|before| wrong(asked, operation, position, before)));
    }
}

fn end((operation, asked): (usize, &Operation)) -> Option<(Duration, Position, usize)> {
    match asked.outcome {
        Outcome::Acknowledged { position, returned } => Some((returned, position, operation)),
        Outcome::Conflict | Outcome::Failed | Outcome::Unknown => None,
    }
}

fn advance(furthest: &mut Option<Furthest>, next: Furthest) {
    *furthest = (*furthest).max(Some(next));
}

fn wrong(asked: &Operation, operation: usize, position: Position, (before, earlier): Furthest) -> Option<Violation> {
    if asked.writes.is_empty() {
        return (position < before).then_some(Violation::Overlooked { earlier, reader: operation });
    }
    // What the earlier one has read at was in the log before it was answered.
    (position <= before).then_some(Violation::Inversion { earlier, later: operation })
}
