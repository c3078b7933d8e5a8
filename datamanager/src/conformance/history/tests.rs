//! Histories made by hand: those that are right pass, and each kind of wrong one is found.

use super::*;
use crate::Change;

fn at(lsn: u64) -> Position {
    Position { lsn, index: 0 }
}

fn entry(key: &str) -> violation::Entry {
    violation::Entry { collection: "c".to_owned(), key: Bytes::copy_from_slice(key.as_bytes()) }
}

fn value(value: &str) -> violation::Value {
    violation::Value((!value.is_empty()).then(|| Bytes::copy_from_slice(value.as_bytes())))
}

/// One of process 0 that began and was answered at these milliseconds, at a place in the log.
fn told(invoked: u64, returned: u64, lsn: u64) -> Operation {
    let outcome = Outcome::Acknowledged { position: at(lsn), returned: Duration::from_millis(returned) };
    Operation::new(0, Duration::from_millis(invoked), outcome)
}

fn untold(invoked: u64, outcome: Outcome) -> Operation {
    Operation::new(0, Duration::from_millis(invoked), outcome)
}

impl Operation {
    fn by(self, process: u64) -> Self {
        Self { process, ..self }
    }

    fn caught_up(self) -> Self {
        Self { caught_up: true, ..self }
    }

    /// Reads; nothing if the value is empty.
    fn read(mut self, key: &'static str, read: &'static str) -> Self {
        self.reads.push(Read { collection: "c".to_owned(), key: key.into(), value: value(read).0 });
        self
    }

    /// Puts; deletes if the value is empty.
    fn write(mut self, key: &'static str, written: &'static str) -> Self {
        let collection = "c".to_owned();
        self.writes.push(match value(written).0 {
            Some(value) => Action::Put { collection, key: key.into(), value },
            None => Action::Delete { collection, key: key.into() },
        });
        self
    }
}

/// What was done, with the log and the content that it should have left: of what was acknowledged, and at these places
/// of what was not.
fn history(operations: Vec<Operation>, found: &[(usize, u64)]) -> History {
    let mut log = BTreeMap::new();
    for (n, operation) in operations.iter().enumerate().filter(|(_, operation)| !operation.writes.is_empty()) {
        let place = match operation.outcome {
            Outcome::Acknowledged { position, .. } => Some(position),
            _ => found.iter().find(|(operation, _)| *operation == n).map(|(_, lsn)| at(*lsn)),
        };
        let change = |(n, action): (u32, &Action)| match action.clone() {
            Action::Put { collection, key, value } => Change { collection, key, value: Some(value) },
            Action::Delete { collection, key } => Change { collection, key, value: None },
            Action::Append { collection, value } => {
                let key = Bytes::copy_from_slice(&place.expect("it is committed").append_key(n));
                Change { collection, key, value: Some(value) }
            }
        };
        if let Some(position) = place {
            log.insert(position, (0..).zip(&operation.writes).map(change).collect::<Vec<_>>());
        }
    }
    let mut content = BTreeMap::new();
    for change in log.values().flatten() {
        let entry = (change.collection.clone(), change.key.clone());
        match &change.value {
            Some(value) => drop(content.insert(entry, value.clone())),
            None => drop(content.remove(&entry)),
        }
    }
    let log = log.into_iter().map(|(position, changes)| Committed { position, changes }).collect();
    History { operations, log, content, ..History::default() }
}

fn created_once(history: History) -> History {
    History { created_once: ["c".to_owned()].into(), ..history }
}

fn put(key: &'static str, value: &'static str) -> Change {
    Change { collection: "c".to_owned(), key: key.into(), value: Some(value.into()) }
}

#[track_caller]
fn found(history: &History) -> Vec<Violation> {
    history.check().expect_err("something is wrong with it")
}

#[test]
fn what_concurrent_processes_may_be_told_is_right() {
    let operations = vec![
        told(0, 5, 1).write("a", "1").write("b", "1"),
        // Overlapping, and acknowledged in the other order than that of the log.
        told(10, 30, 2).by(1).read("a", "1").write("a", "2"),
        told(11, 20, 3).by(2).read("a", "2").write("a", "3"),
        untold(11, Outcome::Conflict).by(3).read("a", "1").write("a", "4"),
        told(40, 50, 4).read("a", "3").read("b", "1").write("b", ""),
        // Late in a process that was not told, and not late in one that looked.
        told(60, 61, 3).by(1).read("b", "1"),
        told(60, 62, 4).by(2).caught_up().read("b", "").read("a", "3"),
        untold(60, Outcome::Failed).write("a", "5"),
    ];
    let checked = history(operations, &[]).check();
    let expected = Checked { committed: 4, only_read: 2, refused: 2, keys: 2, ..Checked::default() };
    assert_eq!(checked, Ok(expected));
}

#[test]
fn who_reads_at_a_position_sees_what_was_written_there_and_its_writer_does_not() {
    let [first, reader] = [told(0, 1, 1).write("a", "1"), told(2, 5, 2).read("a", "2")];
    let writer = told(1, 2, 2).read("a", "1").write("a", "2");
    for operations in [[first.clone(), reader.clone(), writer.clone()], [first, writer, reader]] {
        let checked = history(operations.to_vec(), &[]).check();
        assert!(checked.is_ok(), "{checked:?}");
    }
}

#[test]
fn appends_are_found_where_they_are() {
    let append = |value: &'static str| Action::Append { collection: "c".into(), value: value.into() };
    let appender = Operation { writes: vec![append("x"), append("y")], ..told(0, 1, 3) };
    let right = history(vec![appender], &[]);
    assert!(right.check().is_ok(), "{:?}", right.check());
    let mut wrong = right;
    wrong.log[0].changes.swap(0, 1);
    wrong.log[0].changes[0].key = Bytes::copy_from_slice(&at(3).append_key(0));
    assert!(found(&wrong).contains(&Violation::Lost { operation: 0, position: at(3) }));
}

#[test]
fn of_what_is_unknown_some_is_there_and_counts() {
    let operations = vec![
        told(0, 1, 1).write("a", "1"),
        untold(2, Outcome::Unknown).read("a", "1").write("a", "2"),
        untold(2, Outcome::Unknown).write("a", "3"),
        told(5, 6, 3).read("a", "2").write("b", "1"),
    ];
    let checked = history(operations.clone(), &[(1, 2)]).check();
    let expected = Checked { committed: 2, found: 1, not_found: 1, keys: 2, ..Checked::default() };
    assert_eq!(checked, Ok(expected));
    // It is not there, and was read.
    let misread =
        Violation::Misread { operation: 3, position: at(3), entry: entry("a"), read: value("2"), was: value("1") };
    assert!(found(&history(operations, &[])).contains(&misread));
    // It is there, and has read what was there no longer.
    let operations = vec![told(0, 1, 1).write("a", "1"), untold(0, Outcome::Unknown).read("a", "").write("a", "2")];
    assert!(
        found(&history(operations, &[(1, 2)])).iter().any(|violation| matches!(violation, Violation::Misread { .. }))
    );
    // It is there since before it was asked for.
    let operations = vec![told(0, 1, 2).write("a", "1"), untold(2, Outcome::Unknown).write("a", "2")];
    assert_eq!(found(&history(operations, &[(1, 1)])), [Violation::Inversion { earlier: 0, later: 1 }]);
}

#[test]
fn a_lost_update_is_found() {
    let operations = vec![
        told(0, 1, 1).write("n", "0"),
        told(2, 5, 2).by(1).read("n", "0").write("n", "1 of p1"),
        told(2, 6, 3).by(2).read("n", "0").write("n", "1 of p2"),
    ];
    let violations = found(&history(operations, &[]));
    let (read, was) = (value("0"), value("1 of p1"));
    let misread = Violation::Misread { operation: 2, position: at(3), entry: entry("n"), read, was };
    assert_eq!(violations[0], misread);
    assert!(matches!(violations[1], Violation::NotLinearizable { .. }), "{violations:?}");
}

#[test]
fn a_stale_read_is_found() {
    let reader = |reader: Operation| {
        history(vec![told(0, 1, 1).write("a", "1"), told(2, 3, 2).write("a", "2"), reader.read("a", "1")], &[])
    };
    // Of the same process, or of one that looked.
    for stale in [told(4, 5, 1), told(4, 5, 1).by(1).caught_up()] {
        let violations = found(&reader(stale));
        assert!(violations.contains(&Violation::Overlooked { earlier: 1, reader: 2 }), "{violations:?}");
    }
    // It says that it is current, and is not.
    assert!(matches!(found(&reader(told(4, 5, 2)))[..], [Violation::Misread { operation: 2, .. }]));
    assert!(reader(told(4, 5, 1).by(1)).check().is_ok(), "another process may be late");
    assert!(reader(told(3, 5, 1)).check().is_ok(), "they overlap");
}

#[test]
fn write_skew_is_found_though_every_key_is_linearizable() {
    let operations = vec![
        told(0, 1, 1).write("a", "on").write("b", "on"),
        told(2, 5, 2).by(1).read("a", "on").read("b", "on").write("a", "off"),
        told(2, 5, 3).by(2).read("a", "on").read("b", "on").write("b", "off"),
    ];
    let violations = found(&history(operations, &[]));
    assert!(matches!(&violations[..], [Violation::Misread { operation: 2, entry, .. }] if *entry == self::entry("a")));
}

#[test]
fn a_read_of_two_states_at_once_is_found() {
    let operations = vec![
        told(0, 1, 1).write("a", "1").write("b", "1"),
        told(2, 9, 2).write("a", "2").write("b", "2"),
        told(2, 8, 2).by(1).read("a", "2").read("b", "1"),
    ];
    assert!(matches!(found(&history(operations, &[]))[..], [Violation::Misread { operation: 2, .. }]));
}

#[test]
fn a_resurrected_delete_is_found() {
    let operations = vec![told(0, 1, 1).write("a", "1"), told(2, 3, 2).write("a", "")];
    let mut read = operations.clone();
    read.push(told(4, 5, 2).caught_up().read("a", "1"));
    let violations = found(&history(read, &[]));
    assert!(matches!(violations[..], [Violation::Misread { operation: 2, .. }, Violation::NotLinearizable { .. }]));
    let mut there_again = history(operations, &[]);
    there_again.content.insert(("c".into(), "a".into()), "1".into());
    let content = Violation::Content { entry: entry("a"), logged: value(""), found: value("1") };
    assert_eq!(found(&there_again), [content]);
}

#[test]
fn a_lost_write_is_found() {
    let right = history(vec![told(0, 1, 1).write("a", "1"), told(2, 3, 2).write("b", "1")], &[]);
    let mut not_there = right.clone();
    not_there.content.remove(&("c".to_owned(), "b".into()));
    let content = Violation::Content { entry: entry("b"), logged: value("1"), found: value("") };
    assert_eq!(found(&not_there), [content]);
    let mut not_logged = not_there;
    not_logged.log.pop();
    assert_eq!(found(&not_logged), [Violation::Lost { operation: 1, position: at(2) }]);
    let mut torn = right;
    torn.log[0].changes[0].value = Some("2".into());
    assert!(found(&torn).contains(&Violation::Lost { operation: 0, position: at(1) }));
}

#[test]
fn what_is_in_the_log_without_having_been_committed_is_found() {
    let right = history(vec![told(0, 1, 1).write("a", "1")], &[]);
    let mut twice = right.clone();
    twice.log.push(Committed { position: at(2), changes: vec![put("a", "1")] });
    assert_eq!(found(&twice), [Violation::Foreign { position: at(2) }]);
    let mut empty = right.clone();
    empty.log.push(Committed { position: at(2), changes: Vec::new() });
    assert!(empty.check().is_ok(), "the store commits for itself");
    for outcome in [Outcome::Failed, Outcome::Conflict] {
        let refused = history(vec![told(0, 1, 1).write("a", "1"), untold(2, outcome).write("a", "2")], &[(1, 2)]);
        assert!(found(&refused).contains(&Violation::RefusedAndCommitted { operation: 1, position: at(2) }));
    }
}

#[test]
fn positions_that_two_were_told_or_that_do_not_ascend_are_found() {
    let shared = history(vec![told(0, 2, 1).write("a", "1"), told(1, 2, 1).write("a", "1")], &[]);
    assert_eq!(found(&shared), [Violation::SharedPosition { operation: 1, other: 0, position: at(1) }]);
    let mut disorder = history(vec![told(0, 2, 1).write("a", "1"), told(1, 2, 2).write("b", "1")], &[]);
    disorder.log.swap(0, 1);
    assert_eq!(found(&disorder), [Violation::LogDisorder { previous: at(2), position: at(1) }]);
}

#[test]
fn a_name_that_two_create_or_that_nobody_does_is_found() {
    let claim = |invoked, returned, lsn| told(invoked, returned, lsn).read("name", "");
    let lost = untold(0, Outcome::Conflict).by(2).read("name", "").write("name", "c");
    let right = created_once(history(vec![claim(0, 5, 1).write("name", "a"), lost.clone()], &[]));
    assert_eq!(right.check().map(|checked| checked.names), Ok(1));

    let both = vec![claim(0, 5, 1).write("name", "a"), claim(0, 5, 2).by(1).write("name", "b")];
    let twice = Violation::NotUnique { entry: entry("name"), first: at(1), second: at(2) };
    assert!(found(&created_once(history(both.clone(), &[]))).contains(&twice));
    let mut one_logged = created_once(history(both, &[]));
    one_logged.log.pop();
    one_logged.content.insert(("c".to_owned(), "name".into()), "a".into());
    assert!(found(&one_logged).contains(&twice));

    let nobody = created_once(history(vec![lost], &[]));
    assert_eq!(found(&nobody), [Violation::NobodyWon { operation: 0, entry: entry("name") }]);
}

#[test]
fn an_order_against_that_of_time_is_found() {
    let inverted = vec![told(0, 5, 2).write("a", "1"), told(6, 9, 1).by(1).write("b", "1")];
    assert_eq!(found(&history(inverted, &[])), [Violation::Inversion { earlier: 0, later: 1 }]);
    let overlapping = vec![told(0, 6, 2).write("a", "1"), told(6, 9, 1).by(1).write("b", "1")];
    assert!(history(overlapping, &[]).check().is_ok());
}

#[test]
fn positions_that_agree_with_each_other_and_with_no_order_in_time_are_found_by_the_search() {
    // Replayed by position everything is right; but the second value was read before anybody began to write it.
    let operations = vec![
        told(0, 1, 1).write("a", "1"),
        told(2, 3, 3).by(1).caught_up().read("a", "2"),
        told(4, 5, 2).write("a", "2"),
    ];
    let violations = found(&history(operations, &[]));
    let not_linearizable = |violation: &Violation| matches!(violation, Violation::NotLinearizable { operation: 1, .. });
    assert!(violations.iter().any(not_linearizable), "{violations:?}");
}

#[test]
fn the_search_finds_an_order_wherever_there_is_one() {
    let mut violations = Vec::new();
    // Ten that overlap, each of which has read what the one before has written; they began the other way round.
    const VALUES: [&str; 11] = ["", "1", "2", "3", "4", "5", "6", "7", "8", "9", "10"];
    let chain = |n: usize| told(20 - n as u64, 100, 1).read("a", VALUES[n]).write("a", VALUES[n + 1]);
    let mut operations: Vec<_> = (0..10).map(chain).collect();
    // One that was never answered, and one that comes long after.
    operations.push(untold(0, Outcome::Unknown).read("a", "10").write("a", "11"));
    operations.push(told(1_000, 1_001, 1).caught_up().read("a", "11"));
    linearize::check(&operations, &mut violations);
    assert_eq!(violations, []);
    // Without the last of the chain, nobody can have read that.
    operations.remove(9);
    linearize::check(&operations, &mut violations);
    assert!(matches!(violations[..], [Violation::NotLinearizable { operation: 10, .. }]), "{violations:?}");
}

#[test]
fn the_search_does_not_get_lost_in_what_is_never_read() {
    let values: Vec<Bytes> = (0..2_000).map(|n| n.to_string().into()).collect();
    let write = |n: usize| {
        let put = Action::Put { collection: "c".into(), key: "a".into(), value: values[n].clone() };
        let outcome = if n.is_multiple_of(100) { Outcome::Unknown } else { told(0, n as u64 + 50, n as u64).outcome };
        Operation { writes: vec![put], ..untold(n as u64, outcome) }
    };
    let mut operations: Vec<_> = (0..values.len()).map(write).collect();
    operations.push(told(3_000, 3_001, 2_000).caught_up());
    operations[2_000].reads.push(Read { collection: "c".into(), key: "a".into(), value: Some(values[100].clone()) });
    let mut violations = Vec::new();
    assert_eq!(linearize::check(&operations, &mut violations), 1);
    assert_eq!(violations, []);
}
