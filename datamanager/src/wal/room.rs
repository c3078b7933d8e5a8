//! How long does a busy writer leave the log to others, between two batches of its own?
//!
//! A writer that has just written knows the end of the log and would win the next slot for ever: whoever lost one has to
//! read what is in it before it can try the next. So where others write too, a writer waits for as long as that takes
//! before it writes again. That others write it sees in the log; and because it would never see one that always loses, it
//! waits now and then even if it sees nobody, unless it has the store to itself.

use std::time::Duration;

use tokio::time::Instant;

/// For how many slots after a foreign batch a writer leaves room for others.
const SHARED_SLOTS: u64 = 16;

/// The longest that a call counts: an outage is no measure.
const CALL_MAX: Duration = Duration::from_millis(250);

/// How often a writer that sees nobody leaves room: a second, and where puts are slow, what so many of them take.
const ALONE_EVERY: (Duration, u32) = (Duration::from_secs(1), 50);

/// What a writer knows of others, and of the storage.
#[derive(Debug)]
pub(crate) struct Room {
    /// Whether this process has the store to itself.
    is_sole: bool,
    /// The last slot that another writer took.
    foreign_lsn: Option<u64>,
    put_took: Duration,
    /// None: nothing was read yet.
    get_took: Option<Duration>,
    /// When the last put of this process returned.
    put_at: Option<Instant>,
    /// When others last had room.
    left_at: Option<Instant>,
    /// Varies the room, or else writers that keep step could shut one out for ever.
    more: u32,
}

impl Room {
    /// `seed` is to differ from that of other writers.
    pub(crate) fn new(is_sole: bool, seed: u32) -> Self {
        Self {
            is_sole,
            foreign_lsn: None,
            put_took: Duration::ZERO,
            get_took: None,
            put_at: None,
            left_at: None,
            more: seed >> 16,
        }
    }

    /// The last slot that another writer took.
    pub(crate) fn foreign_lsn(&self) -> Option<u64> {
        self.foreign_lsn
    }

    /// Another writer was seen in a slot.
    pub(crate) fn met(&mut self, lsn: u64) {
        self.foreign_lsn = Some(lsn);
    }

    /// A batch was read, which took so long.
    pub(crate) fn read(&mut self, took: Duration) {
        self.get_took = Some(took.min(CALL_MAX));
    }

    /// A put of this process, whatever became of it.
    pub(crate) fn put(&mut self, began: Instant, now: Instant) {
        self.put_took = (now - began).min(CALL_MAX);
        self.put_at = Some(now);
        // Any sequence that does not repeat soon will do.
        self.more = self.more.wrapping_mul(25_173).wrapping_add(13_849) % 65_536;
    }

    /// Until when to wait before the next put, if the last slot is `tip`.
    pub(crate) fn until(&mut self, tip: u64, now: Instant) -> Option<Instant> {
        let put_at = self.put_at?;
        // Whoever lost the slot has waited for its own put, reads, and puts again. A quarter more at least, because no two
        // calls take the same.
        let length = (self.put_took + self.get_took.unwrap_or(self.put_took)) * (10 + self.more % 6) / 8;
        if self.foreign_lsn.is_some_and(|foreign| (1..SHARED_SLOTS).contains(&(tip - foreign))) {
            // From now on, and not from the put: what others wait for is a turn, as well as the time for it.
            self.left_at = Some(now + length);
            return self.left_at;
        }
        let end = put_at + length;
        if end <= now {
            self.left_at = Some(now);
            return None;
        }
        let (least, puts) = ALONE_EVERY;
        let every = least.max(self.put_took * puts);
        let is_due = !self.is_sole && self.left_at.is_none_or(|left| now.duration_since(left) >= every);
        is_due.then(|| {
            self.left_at = Some(end);
            end
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PUT: Duration = Duration::from_millis(20);
    const GET: Duration = Duration::from_millis(4);
    const LENGTH: Duration = Duration::from_millis(30);

    /// A writer whose put has just returned.
    fn busy(is_sole: bool) -> (Room, Instant) {
        let (mut room, now) = (Room::new(is_sole, 0), Instant::now());
        room.read(GET);
        room.put(now - PUT, now);
        (room, now)
    }

    #[tokio::test(start_paused = true)]
    async fn a_writer_that_has_met_another_leaves_room_for_sixteen_slots_and_not_after_the_others_own() {
        let (mut room, now) = busy(true);
        assert_eq!(room.until(7, now), None);
        room.met(7);
        let until: Vec<_> = (7..24).map(|tip| room.until(tip, now)).collect();
        assert_eq!(until[0], None, "the last slot is the other's");
        let is_room =
            |until: &Option<Instant>| until.is_some_and(|until| (LENGTH..LENGTH * 8 / 5).contains(&(until - now)));
        assert!(until[1..16].iter().all(is_room), "{until:?}");
        assert_eq!(until[16], None);
    }

    #[tokio::test(start_paused = true)]
    async fn a_busy_writer_that_sees_nobody_leaves_room_once_a_second_and_one_that_is_alone_never() {
        for (is_sole, expected) in [(true, 0), (false, 3)] {
            let (mut room, start) = busy(is_sole);
            let mut waits = 0;
            for n in 1..150 {
                let now = start + PUT * n;
                room.put(now - PUT, now);
                waits += usize::from(room.until(u64::from(n), now).is_some());
            }
            assert_eq!(waits, expected, "in three seconds");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn neither_an_outage_nor_a_slow_storage_makes_the_room_a_large_part_of_the_time() {
        let (mut room, now) = busy(false);
        room.put(now - Duration::from_secs(60), now);
        room.met(7);
        assert!(room.until(8, now).is_some_and(|until| until - now <= CALL_MAX * 3));
    }
}
