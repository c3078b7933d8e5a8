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
    /// Write into the row whether nothing is heard of it.
    SetSilent(u64, bool),
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
            Some(Standing::Connected(epoch) | Standing::Silent(epoch)) if *epoch < row.epoch => {
                Some(Step::Replace(row.epoch))
            }
            // Its row is still on its way.
            Some(Standing::Connected(epoch) | Standing::Silent(epoch)) if *epoch > row.epoch => None,
            Some(Standing::Connected(epoch)) if row.process.is_none() => vouched.then_some(Step::Set(*epoch)),
            Some(Standing::Connected(epoch)) => row.silent.then_some(Step::SetSilent(*epoch, false)),
            Some(Standing::Silent(epoch)) if row.process.is_some() && !row.silent => {
                Some(Step::SetSilent(*epoch, true))
            }
            Some(Standing::Silent(_)) => None,
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

    fn connection(epoch: u64, process: Option<&str>) -> Connection {
        let process = process.map(ProcessId::new);
        Connection { epoch, process, silent: false, group: "g".into(), siblings: Vec::new(), dynamic: false }
    }

    fn rows(epoch: u64, process: Option<&str>) -> Connections {
        [(executor(), connection(epoch, process))].into()
    }

    #[test]
    fn silence_is_written_when_it_begins_and_when_it_ends() {
        use Standing::{Connected, Silent};
        for (silent, standing, expected) in [
            (false, Silent(3), Some(Step::SetSilent(3, true))),
            (true, Silent(3), None),
            (true, Connected(3), Some(Step::SetSilent(3, false))),
            (true, Silent(2), Some(Step::Replace(3))),
            (false, Silent(4), None),
        ] {
            let rows = [(executor(), Connection { silent, ..connection(3, Some("me")) })].into();
            let steps = own(&rows, &[(executor(), standing)].into(), &process("me"), true);
            let expected: Vec<_> = expected.map(|step| (executor(), step)).into_iter().collect();
            assert_eq!(steps, expected, "{silent} {standing:?}");
        }
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
            all.insert(ExecutorId::parse(id).expect("valid"), connection(1, named));
        }
        assert_eq!(to_watch(&all, &process("me")), [process("p"), process("q")].into());
    }
}
