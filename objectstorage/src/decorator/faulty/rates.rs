//! How often does what happen, where faults are drawn from a seed?

use std::time::Duration;

use super::Verdict;
use crate::decorator::random::Random;

/// How many of a thousand calls meet which fault; what is left goes through.
///
/// A storage that is merely unreliable is the default: nothing crashes, and no byte is wrong.
///
/// ```
/// use runyard_objectstorage::{FaultRates, FaultyStorage, MemoryStorage};
///
/// let storage = FaultyStorage::new(MemoryStorage::new());
/// storage.seeded(42, FaultRates { crash: 5, ..FaultRates::default() });
/// assert!(format!("{storage:?}").contains("seed: 42"));
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FaultRates {
    /// Fail without effect; default 20.
    pub fail_before: u64,
    /// Fail after their effect; default 20.
    pub fail_after: u64,
    /// [`Verdict::TornBody`]; default 10.
    pub torn_body: u64,
    /// Fail, and land late, half of them after calls and half after a time; default 10.
    pub late: u64,
    /// Take a time, half of them before the effect and half after it; default 50.
    pub slow: u64,
    /// Find the storage full; default 2.
    pub full: u64,
    /// Crash, half of them before their effect and half after it; default 0, because somebody has to revive the
    /// storage.
    pub crash: u64,
    /// Have one bit flipped; default 0, because a storage that lies is to be noticed, not lived with.
    pub flipped: u64,
    /// Have their bytes truncated; default 0, for the same reason.
    pub truncated: u64,
    /// After how many further calls late effects land at most; default 30.
    pub late_calls_max: u64,
    /// After what time late effects land at most; default 3 minutes.
    pub late_max: Duration,
    /// What slow calls take at most; default 5 seconds.
    pub slow_max: Duration,
    /// How long the storage is full at most; default 30 seconds.
    pub full_max: Duration,
}

impl Default for FaultRates {
    fn default() -> Self {
        Self {
            fail_before: 20,
            fail_after: 20,
            torn_body: 10,
            late: 10,
            slow: 50,
            full: 2,
            crash: 0,
            flipped: 0,
            truncated: 0,
            late_calls_max: 30,
            late_max: Duration::from_secs(180),
            slow_max: Duration::from_secs(5),
            full_max: Duration::from_secs(30),
        }
    }
}

impl FaultRates {
    /// No faults at all, to begin with where only a few are wanted.
    pub fn none() -> Self {
        Self { fail_before: 0, fail_after: 0, torn_body: 0, late: 0, slow: 0, full: 0, ..Self::default() }
    }

    /// Nothing but errors, half of them before the effect and half after it.
    pub fn errors(per_mille: u64) -> Self {
        let fail_after = per_mille / 2;
        Self { fail_before: per_mille - fail_after, fail_after, ..Self::none() }
    }

    /// Draws the verdict about the next call: always two numbers, whatever they mean.
    pub(super) fn draw(&self, random: &Random) -> Verdict {
        let (which, how) = (random.next(), random.next());
        self.verdict(which % 1_000, how)
    }

    /// The fault on which `which` of a thousand falls, with `how` deciding what it is in detail.
    fn verdict(&self, which: u64, how: u64) -> Verdict {
        let is_first_half = how >> 63 == 0;
        let part = |max: Duration| max.mul_f64((how & u64::from(u32::MAX)) as f64 / f64::from(u32::MAX));
        let faults = [
            (self.fail_before, Verdict::FailBefore),
            (self.fail_after, Verdict::FailAfter),
            (self.torn_body, Verdict::TornBody),
            (
                self.late,
                match is_first_half {
                    true => Verdict::LateAfterCalls(how % self.late_calls_max.saturating_add(1)),
                    false => Verdict::LateAfter(part(self.late_max)),
                },
            ),
            (
                self.slow,
                match is_first_half {
                    true => Verdict::SlowBefore(part(self.slow_max)),
                    false => Verdict::SlowAfter(part(self.slow_max)),
                },
            ),
            (self.full, Verdict::Full(part(self.full_max))),
            (self.crash, if is_first_half { Verdict::CrashBefore } else { Verdict::CrashAfter }),
            (self.flipped, Verdict::Flipped(how)),
            (self.truncated, Verdict::Truncated(how)),
        ];
        let mut below = 0;
        for (rate, verdict) in faults {
            below += rate;
            if which < below {
                return verdict;
            }
        }
        Verdict::Pass
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// How many of the verdicts on a whole thousand are of a kind.
    fn count(rates: FaultRates, how: u64, is_kind: impl Fn(Verdict) -> bool) -> usize {
        (0..1_000).filter(|which| is_kind(rates.verdict(*which, how))).count()
    }

    #[test]
    fn each_fault_meets_as_many_of_a_thousand_as_its_rate_says() {
        let rates = FaultRates {
            fail_before: 1,
            fail_after: 2,
            torn_body: 3,
            late: 4,
            slow: 5,
            full: 6,
            crash: 7,
            flipped: 8,
            truncated: 9,
            ..FaultRates::default()
        };
        for how in [0, u64::MAX] {
            assert_eq!(count(rates, how, |verdict| verdict == Verdict::FailBefore), 1);
            assert_eq!(count(rates, how, |verdict| verdict == Verdict::FailAfter), 2);
            assert_eq!(count(rates, how, |verdict| verdict == Verdict::TornBody), 3);
            let is_late = |verdict| matches!(verdict, Verdict::LateAfterCalls(_) | Verdict::LateAfter(_));
            assert_eq!(count(rates, how, is_late), 4);
            let is_slow = |verdict| matches!(verdict, Verdict::SlowBefore(_) | Verdict::SlowAfter(_));
            assert_eq!(count(rates, how, is_slow), 5);
            assert_eq!(count(rates, how, |verdict| matches!(verdict, Verdict::Full(_))), 6);
            let is_crash = |verdict| matches!(verdict, Verdict::CrashBefore | Verdict::CrashAfter);
            assert_eq!(count(rates, how, is_crash), 7);
            assert_eq!(count(rates, how, |verdict| verdict == Verdict::Flipped(how)), 8);
            assert_eq!(count(rates, how, |verdict| verdict == Verdict::Truncated(how)), 9);
            assert_eq!(count(rates, how, |verdict| verdict == Verdict::Pass), 1_000 - 45);
        }
        assert_eq!(count(FaultRates::none(), 0, |verdict| verdict != Verdict::Pass), 0);
        assert_eq!(count(FaultRates::errors(25), 0, |verdict| verdict != Verdict::Pass), 25);
    }

    #[test]
    fn times_and_calls_stay_within_their_bounds_and_reach_them() {
        let of = |late, how| FaultRates { late, slow: 1_000 - late, ..FaultRates::none() }.verdict(0, how);
        let rates = FaultRates::default();
        let second_half = 1 << 63;
        assert_eq!(of(0, second_half), Verdict::SlowAfter(Duration::ZERO));
        assert_eq!(of(0, u64::from(u32::MAX)), Verdict::SlowBefore(rates.slow_max));
        assert_eq!(of(1_000, u64::MAX), Verdict::LateAfter(rates.late_max));
        assert_eq!(of(1_000, rates.late_calls_max), Verdict::LateAfterCalls(rates.late_calls_max));
        assert_eq!(of(1_000, rates.late_calls_max + 1), Verdict::LateAfterCalls(0));
    }
}
