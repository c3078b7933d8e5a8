//! What do all clients of a faulty storage have in common? What is on its way to it, and whether it is full.

use std::time::Duration;

use bytes::Bytes;
use tokio::time::Instant;

use super::Verdict;
use crate::{ObjectKey, PutOptions};

/// What is behind the clients.
#[derive(Debug, Default)]
pub(super) struct World {
    /// How many calls there were, of all clients.
    calls: u64,
    /// What has left its client and has not arrived, in the order of the calls.
    on_the_way: Vec<(Due, Effect)>,
    full: Full,
}

/// What a call would have done.
#[derive(Debug)]
pub(super) enum Effect {
    Put(ObjectKey, Bytes, PutOptions),
    Delete(ObjectKey),
}

/// When an effect arrives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Due {
    /// When the test says so.
    WhenTold,
    /// Before the effect of the first call with a greater number.
    AfterCall(u64),
    At(Instant),
}

#[derive(Debug, Default)]
enum Full {
    #[default]
    Not,
    Until(Instant),
    UntilFreed,
}

impl World {
    pub(super) fn count_call(&mut self) {
        self.calls += 1;
    }

    /// Sends an effect on its way; `verdict` says when it arrives.
    pub(super) fn send(&mut self, verdict: Verdict, effect: Effect) {
        let due = match verdict {
            Verdict::LateAfterCalls(calls) => Due::AfterCall(self.calls.saturating_add(calls)),
            Verdict::LateAfter(time) => Due::At(Instant::now() + time),
            _ => Due::WhenTold,
        };
        self.on_the_way.push((due, effect));
    }

    /// Takes out what arrives now: what waited for calls, and then what waited for a time, each in its order.
    pub(super) fn take_due(&mut self) -> Vec<Effect> {
        if self.on_the_way.is_empty() {
            return Vec::new();
        }
        let (now, calls) = (Instant::now(), self.calls);
        let mut due: Vec<_> = self
            .on_the_way
            .extract_if(.., |(due, _)| match due {
                Due::WhenTold => false,
                Due::AfterCall(call) => calls > *call,
                Due::At(time) => now >= *time,
            })
            .collect();
        due.sort_by_key(|(due, _)| match due {
            Due::At(time) => Some(*time),
            Due::WhenTold | Due::AfterCall(_) => None,
        });
        due.into_iter().map(|(_, effect)| effect).collect()
    }

    /// Takes out everything that is on its way.
    pub(super) fn take_all(&mut self) -> Vec<Effect> {
        std::mem::take(&mut self.on_the_way).into_iter().map(|(_, effect)| effect).collect()
    }

    pub(super) fn on_the_way(&self) -> usize {
        self.on_the_way.len()
    }

    pub(super) fn fill(&mut self) {
        self.full = Full::UntilFreed;
    }

    /// Fills the storage for a while; one that is full for longer stays so.
    pub(super) fn fill_for(&mut self, time: Duration) {
        let until = Instant::now() + time;
        match self.full {
            Full::UntilFreed => {}
            Full::Until(later) if later >= until => {}
            Full::Until(_) | Full::Not => self.full = Full::Until(until),
        }
    }

    pub(super) fn free(&mut self) {
        self.full = Full::Not;
    }

    pub(super) fn is_full(&self) -> bool {
        match self.full {
            Full::Not => false,
            Full::Until(time) => Instant::now() < time,
            Full::UntilFreed => true,
        }
    }
}
