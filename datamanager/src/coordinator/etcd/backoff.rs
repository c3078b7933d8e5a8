//! How long is waited before the next attempt to connect?

use std::time::Duration;

/// What is waited after the first round at least and after many of them at most; half of it is jitter.
const DELAYS: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(5));

/// What is waited after so many failures in a row, with so many members; `random` is drawn from 0 to 1.
///
/// One round over the members goes without a wait: if one is gone, another one answers.
pub(super) fn delay(failures: u32, members: usize, random: f64) -> Duration {
    let members = u32::try_from(members.max(1)).unwrap_or(u32::MAX);
    if !failures.is_multiple_of(members) {
        return Duration::ZERO;
    }
    let (least, most) = DELAYS;
    let doubled = 1_u32.checked_shl((failures / members).saturating_sub(1)).unwrap_or(u32::MAX);
    let half = least.saturating_mul(doubled).min(most) / 2;
    half + half.mul_f64(random)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn delays_double_up_to_a_bound_and_jitter_is_half_of_them() {
        let delays = |random| [1, 2, 3, 6, 7, 40, u32::MAX].map(|failures| delay(failures, 1, random).as_millis());
        assert_eq!(delays(1.0), [100, 200, 400, 3_200, 5_000, 5_000, 5_000]);
        assert_eq!(delays(0.0), [50, 100, 200, 1_600, 2_500, 2_500, 2_500]);
    }

    #[test]
    fn every_member_is_tried_before_anything_is_waited_for() {
        let delays = [1, 2, 3, 4, 5, 6].map(|failures| delay(failures, 3, 1.0).as_millis());
        assert_eq!(delays, [0, 0, 100, 0, 0, 200]);
    }
}
