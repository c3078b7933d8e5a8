//! What have all processes together written down?

use std::{collections::HashMap, path::PathBuf, time::Duration};

use bytes::Bytes;
use runyard_datamanager::{
    Action, Position,
    conformance::history::{Operation, Outcome, Read},
};

use crate::{
    leader,
    record::{self, Begun, Entry, Line, Said},
};

#[derive(Debug, Default)]
pub(crate) struct Gathered {
    pub(crate) operations: Vec<Operation>,
    /// Epoch, and from where on it is visible.
    pub(crate) acquired: Vec<(u64, Position)>,
    /// What was acknowledged to leaders.
    pub(crate) led: Vec<Led>,
    /// What each process saw, in its order.
    pub(crate) followed: Vec<(u64, Vec<Line>)>,
    /// Why something failed, and how often.
    pub(crate) failures: HashMap<String, usize>,
}

/// A transaction of a leader that was acknowledged.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Led {
    pub(crate) process: u64,
    pub(crate) epoch: u64,
    pub(crate) position: Position,
    pub(crate) returned: Duration,
}

pub(crate) fn gather(files: &[(u64, PathBuf)]) -> Gathered {
    let mut gathered = Gathered::default();
    for (process, path) in files {
        let mut begun: HashMap<u64, Begun> = HashMap::new();
        let mut followed = Vec::new();
        for line in record::read(path) {
            match line {
                Line::Begun(operation) => drop(begun.insert(operation.id, operation)),
                Line::Ended { id, at, said } => {
                    let asked = begun.remove(&id).unwrap();
                    gathered.ended(*process, asked, at, said);
                }
                Line::Acquired { epoch, position } => gathered.acquired.push((epoch, position)),
                Line::FollowsFrom(_) | Line::Followed { .. } | Line::Saw { .. } => followed.push(line),
            }
        }
        // A read that was not ended says nothing.
        let unanswered = begun.into_values().filter(|asked| !asked.writes.is_empty() || asked.append.is_some());
        gathered.operations.extend(unanswered.map(|asked| operation(*process, asked, Outcome::Unknown)));
        gathered.followed.push((*process, followed));
    }
    gathered
}

impl Gathered {
    fn ended(&mut self, process: u64, asked: Begun, returned: Duration, said: Said) {
        let outcome = match said {
            Said::At(position) => Outcome::Acknowledged { position, returned },
            Said::Conflict => Outcome::Conflict,
            Said::Unknown => Outcome::Unknown,
            Said::Failed(reason) => {
                *self.failures.entry(reason).or_default() += 1;
                Outcome::Failed
            }
        };
        let sequence = asked.writes.iter().find(|(collection, ..)| collection == leader::SEQUENCE);
        if let (Some((.., Some(value))), Outcome::Acknowledged { position, .. }) = (sequence, outcome) {
            let (epoch, _) = leader::number(value);
            self.led.push(Led { process, epoch, position, returned });
        }
        self.operations.push(operation(process, asked, outcome));
    }
}

fn operation(process: u64, asked: Begun, outcome: Outcome) -> Operation {
    let read = |(collection, key, value): Entry| Read { collection, key: key.into(), value: value.map(Bytes::from) };
    let write = |(collection, key, value): Entry| match value {
        Some(value) => Action::Put { collection, key: key.into(), value: value.into() },
        None => Action::Delete { collection, key: key.into() },
    };
    let append = asked.append.map(|(collection, value)| Action::Append { collection, value: value.into() });
    let mut operation = Operation::new(process, asked.at, outcome);
    operation.reads = asked.reads.into_iter().map(read).collect();
    operation.writes = asked.writes.into_iter().map(write).chain(append).collect();
    operation.caught_up = asked.caught_up;
    operation
}
