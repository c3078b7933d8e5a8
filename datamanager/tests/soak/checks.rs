//! Was everything right?
//!
//! Pure: what was written down, all of the log, and what is there in the end.

use std::collections::BTreeMap;

use runyard_datamanager::{Committed, Position, conformance::history::History};

use crate::{
    follower::Digest,
    gather::{Gathered, gather},
    leader, mix,
    record::Line,
    stage::Ended,
};

/// How many wrong things are shown.
const SHOWN: usize = 20;

/// Checks everything, and gives it back to be measured.
pub(crate) fn check(ended: Ended) -> Gathered {
    let mut gathered = gather(&ended.files);
    check_sequence(&ended.log, &gathered.acquired);
    let batches = check_followers(&ended.log, &gathered.followed);
    let content = ended.content.into_iter().filter_map(|change| Some(((change.collection, change.key), change.value?)));
    let history = History {
        operations: std::mem::take(&mut gathered.operations),
        log: ended.log,
        content: content.collect(),
        created_once: [mix::NAMES.to_owned()].into(),
    };
    match history.check() {
        Ok(checked) => println!("the history is right: {checked:?}; followers saw {batches} batches as they are"),
        Err(violations) => {
            for violation in violations.iter().take(SHOWN) {
                println!("{violation}");
            }
            for operation in violations.iter().take(SHOWN).flat_map(|violation| violation.operations()) {
                println!("operation {operation}: {:?}", history.operations[operation]);
            }
            panic!("{} things are wrong with the history", violations.len());
        }
    }
    for (reason, times) in &gathered.failures {
        println!("{times} times: {reason}");
    }
    gathered.operations = history.operations;
    gathered
}

/// Leaders count on without a gap, and nobody does in an epoch that is over.
fn check_sequence(log: &[Committed], acquired: &[(u64, Position)]) {
    let changes = log.iter().flat_map(|committed| committed.changes.iter().map(|change| (committed.position, change)));
    let of_leaders =
        changes.filter(|(_, change)| change.collection == leader::SEQUENCE || change.collection == leader::EVENTS);
    let numbers = of_leaders.map(|(position, change)| {
        let (epoch, number) = leader::number(std::str::from_utf8(change.value.as_ref().unwrap()).unwrap());
        (position, epoch, (change.collection == leader::SEQUENCE).then_some(number))
    });
    let (mut last_epoch, mut last_number) = (0, 0);
    for (position, epoch, number) in numbers {
        if let Some(number) = number {
            assert_eq!(number, last_number + 1, "at {position} in epoch {epoch}");
            last_number = number;
        }
        assert!(epoch >= last_epoch, "epoch {epoch} commits at {position}, and epoch {last_epoch} has begun");
        let deposed = acquired.iter().find(|(later, from)| *later > epoch && *from < position);
        assert_eq!(deposed, None, "epoch {epoch} commits at {position}");
        last_epoch = epoch;
    }
    println!("leaders counted to {last_number}, in {last_epoch} epochs");
}

/// Each follower saw each transaction once and in order, from where it began: exactly what the orchestrator saw.
fn check_followers(log: &[Committed], followed: &[(u64, Vec<Line>)]) -> usize {
    let mut batches: BTreeMap<u64, Line> = BTreeMap::new();
    let mut digest = Digest::default();
    for committed in log {
        let whole = digest.add(committed);
        batches.extend(whole.map(|whole| (whole.lsn, whole.line())));
    }
    batches.insert(digest.lsn, digest.line());
    let mut seen = 0;
    for (process, lines) in followed {
        let mut expected = batches.range(u64::MAX..);
        for line in lines {
            match line {
                Line::FollowsFrom(position) => expected = batches.range(position.lsn + 1..),
                Line::Followed { .. } => {
                    let (_, batch) = expected.next().expect("nothing beyond the end is seen");
                    assert_eq!(format!("{line:?}"), format!("{batch:?}"), "process {process}");
                    seen += 1;
                }
                _ => {}
            }
        }
    }
    seen
}
