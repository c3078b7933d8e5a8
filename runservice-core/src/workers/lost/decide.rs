//! For how long is an executor away, and what follows? No I/O.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use runyard_executor_core::contract::ExecutorId;
use tokio::time::Instant;

use crate::workers::connections::rows::{Connection, Connections};

/// An executor stops its tasks by itself when it has not been heard for `lost_after`; so much later they are given up: what
/// it does not measure well, and what stopping takes.
const MARGIN: Duration = Duration::from_secs(60);

/// After how long what is done.
#[derive(Clone, Copy, Debug)]
pub(super) struct Timing {
    pub(super) silent_after: Duration,
    pub(super) lost_after: Duration,
}

/// What is done about an executor that is away, in this order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Step {
    /// What it has not accepted goes to others.
    TakeBack,
    /// It is dynamic, and nobody sees it: it is forgotten if it has no tasks.
    ForgetIdle,
    /// What it has accepted is lost.
    GiveUp,
    /// It is dynamic, nobody sees it, and it has no tasks any more: it is forgotten.
    Forget,
}

/// An executor that was seen to be away.
#[derive(Clone, Debug)]
pub(super) struct Away {
    epoch: u64,
    since: Instant,
    done: BTreeSet<Step>,
}

impl Away {
    /// Notes that a step was taken.
    pub(super) fn done(&mut self, step: Step) {
        self.done.insert(step);
    }
}

/// What is to be done now, and when to look again if nothing changes.
#[derive(Debug, Default)]
pub(super) struct Decided {
    pub(super) steps: Vec<(ExecutorId, u64, Step)>,
    pub(super) wake: Option<Instant>,
}

/// Notes who is away now, and since when. One that registered in between has another epoch, and is counted anew.
pub(super) fn see(away: &mut BTreeMap<ExecutorId, Away>, rows: &Connections, now: Instant) {
    away.retain(|id, away| rows.get(id).is_some_and(|row| !row.is_here() && row.epoch == away.epoch));
    for (id, row) in rows.iter().filter(|(_, row)| !row.is_here()) {
        let seen = Away { epoch: row.epoch, since: now, done: BTreeSet::new() };
        away.entry(id.clone()).or_insert(seen);
    }
}

/// Decides from who is away.
pub(super) fn next(away: &BTreeMap<ExecutorId, Away>, rows: &Connections, timing: Timing, now: Instant) -> Decided {
    let mut decided = Decided::default();
    for (id, away) in away {
        let Some(row) = rows.get(id) else { continue };
        let first = away.since + if row.silent { Duration::ZERO } else { timing.silent_after };
        let last = away.since + timing.lost_after + MARGIN;
        let forgettable = row.dynamic && !is_seen(id, row, rows);
        let steps = [
            (Step::TakeBack, first, true),
            (Step::ForgetIdle, first, forgettable),
            (Step::GiveUp, last, true),
            (Step::Forget, last, forgettable),
        ];
        for (step, due, _) in steps.into_iter().filter(|(step, _, meant)| *meant && !away.done.contains(step)) {
            if due <= now {
                decided.steps.push((id.clone(), away.epoch, step));
            } else {
                decided.wake = Some(decided.wake.map_or(due, |wake| wake.min(due)));
            }
        }
    }
    decided
}

/// Whether an executor of its group that is there says that it sees it.
fn is_seen(id: &ExecutorId, row: &Connection, rows: &Connections) -> bool {
    let others = rows.iter().filter(|(other, there)| *other != id && there.is_here() && there.group == row.group);
    others.into_iter().any(|(_, there)| there.siblings.contains(id))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::process::ProcessId;

    const TIMING: Timing = Timing { silent_after: Duration::from_secs(20), lost_after: Duration::from_secs(600) };

    fn id(id: &str) -> ExecutorId {
        ExecutorId::parse(id).expect("valid")
    }

    fn row(here: bool) -> Connection {
        let process = here.then(|| ProcessId::new("p"));
        Connection { epoch: 1, process, silent: false, group: "g".into(), siblings: Vec::new(), dynamic: false }
    }

    /// The steps of executor `x`, each with the second in which it is taken.
    fn steps_of(rows: &Connections) -> Vec<(u64, Step)> {
        let began = Instant::now();
        let (mut away, mut steps, mut now) = (BTreeMap::new(), Vec::new(), began);
        loop {
            see(&mut away, rows, now);
            let decided = next(&away, rows, TIMING, now);
            for (id, _, step) in decided.steps {
                away.get_mut(&id).expect("away").done(step);
                steps.push(((now - began).as_secs(), step));
            }
            match decided.wake {
                Some(wake) => now = wake,
                None => return steps,
            }
        }
    }

    #[tokio::test(start_paused = true)]
    async fn tasks_are_taken_back_early_and_given_up_late() {
        let rows = |row: Connection| -> Connections { [(id("x"), row)].into() };
        assert_eq!(steps_of(&rows(row(true))), []);
        assert_eq!(steps_of(&rows(row(false))), [(20, Step::TakeBack), (660, Step::GiveUp)]);
        // Who is silent has been away for a while.
        let silent = Connection { silent: true, ..row(true) };
        assert_eq!(steps_of(&rows(silent)), [(0, Step::TakeBack), (660, Step::GiveUp)]);
        let dynamic = Connection { dynamic: true, ..row(false) };
        let all = [(20, Step::TakeBack), (20, Step::ForgetIdle), (660, Step::GiveUp), (660, Step::Forget)];
        assert_eq!(steps_of(&rows(dynamic)), all);
    }

    #[tokio::test(start_paused = true)]
    async fn whom_a_sibling_sees_is_not_forgotten() {
        let dynamic = Connection { dynamic: true, ..row(false) };
        let forgets = |other: Connection| {
            let rows = [(id("x"), dynamic.clone()), (id("y"), other)].into();
            steps_of(&rows).iter().any(|(_, step)| matches!(step, Step::Forget | Step::ForgetIdle))
        };
        let sees = Connection { siblings: vec![id("x")], ..row(true) };
        assert!(!forgets(sees.clone()));
        assert!(forgets(row(true)), "it does not see it");
        assert!(forgets(Connection { process: None, ..sees.clone() }), "it is away itself");
        assert!(forgets(Connection { group: "other".into(), ..sees }), "it is of another group");
    }

    #[tokio::test(start_paused = true)]
    async fn who_came_back_is_counted_anew() {
        let now = Instant::now();
        let mut away = BTreeMap::new();
        see(&mut away, &[(id("x"), row(false))].into(), now);
        away.get_mut(&id("x")).expect("away").done(Step::TakeBack);
        see(&mut away, &[(id("x"), Connection { epoch: 2, ..row(false) })].into(), now + TIMING.lost_after);
        let rows = [(id("x"), Connection { epoch: 2, ..row(false) })].into();
        assert_eq!(next(&away, &rows, TIMING, now + TIMING.lost_after).steps, []);
        see(&mut away, &[(id("x"), row(true))].into(), now);
        assert!(away.is_empty());
    }
}
