//! Where do the decisions of a simulation come from? From its seed alone.

use std::{ops::Range, time::Duration};

/// SplitMix64 (Steele, Lea, Flood, *Fast splittable pseudorandom number generators*, 2014).
#[derive(Clone, Debug)]
pub(crate) struct Random(u64);

impl Random {
    /// A source that depends on the seed and on who asks: actors do not disturb each other's decisions.
    pub(crate) fn new(seed: u64, actor: u64) -> Self {
        let mut random = Self(seed);
        let mixed = random.next().wrapping_add(actor);
        random.0 = mixed;
        random.next();
        random
    }

    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// A number below `end`.
    pub(crate) fn below(&mut self, end: u64) -> u64 {
        self.next() % end
    }

    pub(crate) fn between(&mut self, range: Range<u64>) -> u64 {
        range.start + self.below(range.end - range.start)
    }

    /// True `per_mille` of a thousand times.
    pub(crate) fn chance(&mut self, per_mille: u64) -> bool {
        self.below(1_000) < per_mille
    }

    pub(crate) fn millis(&mut self, range: Range<u64>) -> Duration {
        Duration::from_millis(self.between(range))
    }

    pub(crate) fn pick<T: Copy>(&mut self, choices: &[T]) -> T {
        choices[self.below(choices.len() as u64) as usize]
    }
    /// A duration that is short three times of four, and up to `longest` otherwise.
    pub(crate) fn mostly_short(&mut self, short: u64, longest: u64) -> Duration {
        if self.chance(750) { self.millis(0..short) } else { self.millis(short..longest.max(short + 1)) }
    }
}

/// FNV-1a: the same name draws the same numbers, in whatever order things happen.
pub(crate) fn hash(text: &str) -> u64 {
    text.bytes().fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3))
}
