//! What would go wrong if one step of the protocol were left out? Feature `test-util`.
//!
//! Each [`Broken`] variant leaves out one thing that the promises of the data manager rest on, at the one place where
//! the code does it. A simulation that does not fail with each of them proves nothing.

/// A way to break the protocol.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs, reason = "the name says what is left out, the place where it is asked for says the rest")]
#[non_exhaustive]
pub enum Broken {
    AcknowledgedBeforePut,
    LostReplyIsSuccess,
    LostReplyIsFailure,
    ExistsIsOurs,
    AbsentIsFinal,
    UnknownCalledFailure,
    SlotOverwritten,
    FormatOverwritten,
    LoserNotRevalidated,
    ExpiredRetried,
    ForeignNotApplied,
    ChainUnchecked,
    CatchUpStopsEarly,
    FailedReadIsAbsence,
    ConflictsInBatchAccepted,
    AppendsNotPlacedAgain,
    KeysUnchecked,
    RangesUnchecked,
    GroupsUnchecked,
    DeletesUnrecorded,
    PinsIgnored,
    FollowerRepeats,
    FollowerSkips,
    RecoveryStopsEarly,
    DamageIsEnd,
    WakeupLost,
    RoomKept,
    FloorUnread,
    FloorAfterDelete,
    CleanerImpatient,
    OrphanRuleIgnored,
    OnlyNewestKept,
    StaleManifestBelieved,
    ManifestOverwritten,
    InstalledBeforePublished,
    AdoptedAhead,
    CheckpointUnchecked,
    MemoryDroppedEarly,
    TombstonesDropped,
    TombstonesForgotten,
    HistoryUnstored,
    PositionBeforeData,
    LeaderEpochUnread,
    ConflictIsExists,
    MaintenanceIgnored,
    NothingAnnounced,
    AnnouncementUnheeded,
    GapIgnored,
    CampaignsOnce,
    LeadersCheckpointIgnored,
    OwnerUnread,
    TakeOverIgnored,
    TakeOverUnreadAtReopening,
    /// Found by the model check of the committer alone: only the end of a runtime brings it to light.
    AbandonedUnanswered,
}

#[cfg(feature = "test-util")]
mod switch {
    use std::{cell::Cell, marker::PhantomData};

    use super::Broken;

    thread_local! {
        static BROKEN: Cell<Option<Broken>> = const { Cell::new(None) };
    }

    impl Broken {
        /// All that a simulation of processes can find.
        pub const ALL: &[Self] = &[
            Self::AcknowledgedBeforePut,
            Self::LostReplyIsSuccess,
            Self::LostReplyIsFailure,
            Self::ExistsIsOurs,
            Self::AbsentIsFinal,
            Self::UnknownCalledFailure,
            Self::SlotOverwritten,
            Self::FormatOverwritten,
            Self::LoserNotRevalidated,
            Self::ExpiredRetried,
            Self::ForeignNotApplied,
            Self::ChainUnchecked,
            Self::CatchUpStopsEarly,
            Self::FailedReadIsAbsence,
            Self::ConflictsInBatchAccepted,
            Self::AppendsNotPlacedAgain,
            Self::KeysUnchecked,
            Self::RangesUnchecked,
            Self::GroupsUnchecked,
            Self::DeletesUnrecorded,
            Self::PinsIgnored,
            Self::FollowerRepeats,
            Self::FollowerSkips,
            Self::RecoveryStopsEarly,
            Self::DamageIsEnd,
            Self::WakeupLost,
            Self::RoomKept,
            Self::FloorUnread,
            Self::FloorAfterDelete,
            Self::CleanerImpatient,
            Self::OrphanRuleIgnored,
            Self::OnlyNewestKept,
            Self::StaleManifestBelieved,
            Self::ManifestOverwritten,
            Self::InstalledBeforePublished,
            Self::AdoptedAhead,
            Self::CheckpointUnchecked,
            Self::MemoryDroppedEarly,
            Self::TombstonesDropped,
            Self::TombstonesForgotten,
            Self::HistoryUnstored,
            Self::PositionBeforeData,
            Self::LeaderEpochUnread,
            Self::ConflictIsExists,
            Self::MaintenanceIgnored,
            Self::NothingAnnounced,
            Self::AnnouncementUnheeded,
            Self::GapIgnored,
            Self::CampaignsOnce,
            Self::LeadersCheckpointIgnored,
            Self::OwnerUnread,
            Self::TakeOverIgnored,
            Self::TakeOverUnreadAtReopening,
        ];

        /// Breaks every data manager that runs on this thread, until the guard is dropped.
        pub fn on_this_thread(self) -> BrokenGuard {
            BROKEN.set(Some(self));
            BrokenGuard(PhantomData)
        }
    }

    /// While it lives, something is [`Broken`].
    #[must_use = "dropping it mends what is broken"]
    #[derive(Debug)]
    pub struct BrokenGuard(PhantomData<*const ()>);

    impl Drop for BrokenGuard {
        fn drop(&mut self) {
            BROKEN.set(None);
        }
    }

    pub(crate) fn is(broken: Broken) -> bool {
        BROKEN.get() == Some(broken)
    }
}

#[cfg(feature = "test-util")]
pub use switch::BrokenGuard;
#[cfg(feature = "test-util")]
pub(crate) use switch::is;

/// Whether something is left out: never, but in tests.
#[cfg(not(feature = "test-util"))]
pub(crate) const fn is(_: Broken) -> bool {
    false
}
