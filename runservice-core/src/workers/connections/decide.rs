//! What is to be done about a row, a connection, or a process? No I/O.

use std::collections::{BTreeMap, BTreeSet};

use runyard_executor_core::contract::ExecutorId;

use super::rows::Connections;
use crate::{executors::Standing, process::ProcessId};

/// What a process does about one of its own executors, by the epoch of the registration that it is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Step {
    /// Write into the row that it is connected here.
    Set(u64),
    /// Write into the row that it is not connected.
    Clear(u64),
    /// End the connection: the executor has registered elsewhere.
    Replace(u64),
}

/// What `me` does so that rows and connections say the same.
///
/// It sets no row while nobody would notice its end: whoever believes that it is gone would clear it again at once.
pub(super) fn own(
    rows: &Connections,
    standing: &BTreeMap<ExecutorId, Standing>,
    me: &ProcessId,
    vouched: bool,
) -> Vec<(ExecutorId, Step)> {
    let step = |id: &ExecutorId| {
        let row = &rows[id];
        match standing.get(id) {
            Some(Standing::Registering) => None,
            Some(Standing::Connected(epoch)) if *epoch < row.epoch => Some(Step::Replace(row.epoch)),
            Some(Standing::Connected(epoch)) if *epoch == row.epoch && row.process.is_none() => {
                vouched.then_some(Step::Set(row.epoch))
            }
            // Also one whose row is still on its way.
            Some(Standing::Connected(_)) => None,
            None => (row.process.as_ref() == Some(me)).then_some(Step::Clear(row.epoch)),
        }
    };
    rows.keys().filter_map(|id| Some((id.clone(), step(id)?))).collect()
}

/// Whose end the leader waits for: every other process that a row names.
pub(super) fn to_watch(rows: &Connections, me: &ProcessId) -> BTreeSet<ProcessId> {
    rows.values().filter_map(|row| row.process.clone()).filter(|process| process != me).collect()
}

#[cfg(test)]
mod tests {
    use super::{super::rows::Connection, *};

    fn process(id: &str) -> ProcessId {
        ProcessId::new(id)
    }

    fn executor() -> ExecutorId {
        ExecutorId::parse("e").expect("valid")
    }

    fn rows(epoch: u64, process: Option<&str>) -> Connections {
        [(executor(), Connection { epoch, process: process.map(ProcessId::new) })].into()
    }

    #[test]
    fn rows_and_connections_come_to_say_the_same() {
        use Standing::{Connected, Registering};
        for (epoch, named, standing, expected) in [
            // Nothing to do.
            (3, Some("me"), Some(Connected(3)), None),
            (3, None, None, None),
            (3, Some("other"), None, None),
            // The connection ended.
            (3, Some("me"), None, Some(Step::Clear(3))),
            // Somebody thought that this process was gone.
            (3, None, Some(Connected(3)), Some(Step::Set(3))),
            // It registered elsewhere.
            (4, Some("other"), Some(Connected(3)), Some(Step::Replace(4))),
            (4, None, Some(Connected(3)), Some(Step::Replace(4))),
            // Its row is still on its way.
            (2, Some("me"), Some(Connected(3)), None),
            (2, None, Some(Connected(3)), None),
            (3, Some("me"), Some(Registering), None),
            (3, None, Some(Registering), None),
        ] {
            let rows = rows(epoch, named);
            let standing = standing.map(|standing| (executor(), standing)).into_iter().collect();
            let steps = own(&rows, &standing, &process("me"), true);
            let expected: Vec<_> = expected.map(|step| (executor(), step)).into_iter().collect();
            assert_eq!(steps, expected, "{rows:?} {standing:?}");
        }
    }

    #[test]
    fn a_process_whose_end_nobody_would_notice_sets_no_row_and_clears_its_own() {
        let connected = [(executor(), Standing::Connected(3))].into();
        assert_eq!(own(&rows(3, None), &connected, &process("me"), false), []);
        let clear = vec![(executor(), Step::Clear(3))];
        assert_eq!(own(&rows(3, Some("me")), &BTreeMap::new(), &process("me"), false), clear);
    }

    #[test]
    fn the_end_of_every_other_process_that_a_row_names_is_waited_for() {
        let mut all = Connections::new();
        for (id, named) in [("a", Some("me")), ("b", Some("p")), ("c", Some("p")), ("d", Some("q")), ("e", None)] {
            let row = Connection { epoch: 1, process: named.map(ProcessId::new) };
            all.insert(ExecutorId::parse(id).expect("valid"), row);
        }
        assert_eq!(to_watch(&all, &process("me")), [process("p"), process("q")].into());
    }
}
