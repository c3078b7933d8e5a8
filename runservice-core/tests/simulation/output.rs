//! What does a step do? A function of its name and of the seed, so that everybody can say what is right.

use std::time::Duration;

use bytes::Bytes;
use runyard_executor_core::contract::{Failure, FailureClass, StepRef};

use crate::{
    promises::LogId,
    random::{Random, hash},
};

/// What a step does if nothing interrupts it.
#[derive(Clone, Debug)]
pub(crate) struct Script {
    /// What it prints, and when, counted from its start.
    pub(crate) pieces: Vec<(Duration, Bytes)>,
    pub(crate) takes: Duration,
    /// How it fails, if it does.
    pub(crate) failure: Option<Failure>,
}

impl Script {
    /// `failures`: how many of a thousand steps fail.
    pub(crate) fn of(seed: u64, (task, attempt, step): &LogId, failures: u64, pace: u32) -> Self {
        let name = format!("{task}/{attempt}/{step}");
        let random = &mut Random::new(seed, hash(&name));
        let is_setup = *step == StepRef::Setup;
        // Some say so much that their logs are merged.
        let is_chatty = !is_setup && random.chance(60);
        let longest = if is_chatty { 50 } else { random.pick(&[200, 2_000, 30_000]) };
        let pieces_max = if is_setup { 3 } else { 6 };
        let (mut at, mut pieces) = (Duration::ZERO, Vec::new());
        for piece in 0..if is_chatty { random.between(60..140) } else { random.below(pieces_max) } {
            at += random.millis(0..longest) * pace;
            let padding = random.pick(&[0, 3, 60]);
            let line = format!("{task} {attempt} {step} {piece} {}\n", "x".repeat(padding));
            // Anything but whole lines.
            let cut = random.between(1..line.len() as u64 + 1) as usize;
            pieces.push((at, Bytes::from(if random.chance(300) { line[..cut].to_owned() } else { line })));
        }
        let fails = random.chance(if is_setup { failures / 8 } else { failures });
        let class = random.pick(&[FailureClass::Exit, FailureClass::Exit, FailureClass::Infrastructure]);
        let class = if is_setup { FailureClass::Setup } else { class };
        let failure = fails.then(|| Failure { class, message: format!("{name} failed") });
        Self { pieces, takes: at + random.millis(0..longest) * pace, failure }
    }

    /// What was printed so long after the start.
    pub(crate) fn printed(&self, after: Duration) -> Bytes {
        let pieces = self.pieces.iter().filter(|(at, _)| *at <= after);
        pieces.flat_map(|(_, bytes)| bytes.iter().copied()).collect()
    }

    /// When something happens next, so long after the start.
    pub(crate) fn next(&self, after: Duration) -> Duration {
        let pieces = self.pieces.iter().map(|(at, _)| *at);
        pieces.chain([self.takes]).find(|at| *at > after).unwrap_or(self.takes)
    }

    /// Everything that it can ever print.
    pub(crate) fn whole(&self) -> Bytes {
        self.printed(self.takes)
    }
}
