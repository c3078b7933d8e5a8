//! What is to be done about one role, and what of the lease after a connection was made?
//!
//! Plain functions of what is wished and what etcd has told: after whatever event, the same is asked again, so no order
//! of events has to be thought of.

use tokio::time::Instant;

use super::{super::LostReason, lease::Lease, mirror::Standing};

/// What this process wishes of a role.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Wish {
    /// Nothing, or nothing any more.
    None,
    /// To lead it.
    Lead,
    /// The same, by somebody who came after another one of this process resigned or withdrew: the key of that one does
    /// not count, even if it is still there.
    LeadAnew,
    /// To go on leading it, as the one whose key was created at this revision.
    GoOn { created: i64 },
}

/// What is to be done about a role.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Deed {
    Nothing,
    /// Forget that there was somebody else before, of whom nothing is left.
    Forget,
    /// Write the key.
    Enter,
    /// Delete the key.
    Leave,
    /// Tell the one who waits that it should try to lead.
    Elect {
        created: i64,
    },
    /// Tell the one who leads that it should no longer believe that.
    Lose,
}

/// What is to be done about a role of which etcd says that this process stands so.
pub(super) fn about_role(wish: Wish, standing: Option<Standing>) -> Deed {
    match (wish, standing) {
        (Wish::None | Wish::LeadAnew, None) => Deed::Forget,
        // Withdrawn, resigned, or of a past that a restored etcd remembers.
        (Wish::None | Wish::LeadAnew, Some(_)) => Deed::Leave,
        (Wish::Lead, None) => Deed::Enter,
        (Wish::Lead, Some(Standing { created, is_first: true })) => Deed::Elect { created },
        (Wish::Lead, Some(Standing { is_first: false, .. })) => Deed::Nothing,
        (Wish::GoOn { created }, Some(standing)) if standing == (Standing { created, is_first: true }) => Deed::Nothing,
        // The key is gone, or is another one, or somebody stands before it: that is not the etcd in which it was first.
        (Wish::GoOn { .. }, _) => Deed::Lose,
    }
}

/// What becomes of the lease that was held before this connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum LeaseDeed {
    /// Ask etcd to prolong it.
    Prolong,
    /// Have a new one granted.
    Grant,
    /// The same, after everything that was led by the old one is lost.
    Replace(LostReason),
}

/// What becomes of the lease, if the newest revision that was ever seen was `seen`, and now is `revision`.
pub(super) fn about_lease(lease: Option<&Lease>, now: Instant, seen: i64, revision: i64) -> LeaseDeed {
    match lease {
        None => LeaseDeed::Grant,
        // etcd may still have it, but those who were told by it have stopped believing.
        Some(lease) if lease.is_expired(now) => LeaseDeed::Replace(LostReason::LeaseExpired),
        Some(_) if is_other_data(seen, revision) => LeaseDeed::Replace(LostReason::Forgotten),
        Some(_) => LeaseDeed::Prolong,
    }
}

/// Whether etcd has lost its memory, wholly or of late: revisions only grow.
pub(super) fn is_other_data(seen: i64, revision: i64) -> bool {
    revision < seen
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn a_role_is_entered_led_and_left_as_wished() {
        let first = |created| Some(Standing { created, is_first: true });
        let later = |created| Some(Standing { created, is_first: false });
        let go_on = Wish::GoOn { created: 5 };
        for (wish, standing, deed) in [
            (Wish::None, None, Deed::Forget),
            (Wish::None, first(5), Deed::Leave),
            (Wish::None, later(5), Deed::Leave),
            (Wish::LeadAnew, None, Deed::Forget),
            (Wish::LeadAnew, first(5), Deed::Leave),
            (Wish::LeadAnew, later(5), Deed::Leave),
            (Wish::Lead, None, Deed::Enter),
            (Wish::Lead, first(5), Deed::Elect { created: 5 }),
            (Wish::Lead, later(5), Deed::Nothing),
            (go_on, first(5), Deed::Nothing),
            (go_on, later(5), Deed::Lose),
            (go_on, first(6), Deed::Lose),
            (go_on, None, Deed::Lose),
        ] {
            assert_eq!(about_role(wish, standing), deed, "{wish:?} {standing:?}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_lease_is_kept_unless_it_ran_out_or_etcd_has_other_data() {
        let sent = Instant::now();
        let lease = Lease::granted(7, Duration::from_secs(5), sent);
        let (before, after) = (sent + Duration::from_millis(4_999), sent + Duration::from_secs(5));
        for (lease, now, seen, revision, deed) in [
            (None, before, 0, 1, LeaseDeed::Grant),
            (Some(&lease), before, 9, 9, LeaseDeed::Prolong),
            (Some(&lease), before, 9, 10, LeaseDeed::Prolong),
            (Some(&lease), before, 9, 8, LeaseDeed::Replace(LostReason::Forgotten)),
            (Some(&lease), after, 9, 9, LeaseDeed::Replace(LostReason::LeaseExpired)),
            (Some(&lease), after, 9, 8, LeaseDeed::Replace(LostReason::LeaseExpired)),
        ] {
            assert_eq!(about_lease(lease, now, seen, revision), deed, "{lease:?} {seen} {revision}");
        }
    }
}
