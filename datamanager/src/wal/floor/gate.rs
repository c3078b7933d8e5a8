//! Must the floor be read before what a slot of the log said is believed?
//!
//! Pure. A cleaner publishes a floor, waits for [`CLEANER_WAIT`], and deletes the log below it. So a slot that was not
//! below the floor when a read of it *began* cannot have been cleaned and taken anew less than that later: what a slot
//! said is good if it was heard soon enough after the last such read began. Sixty times the difference is there for
//! clocks that do not run alike.

use std::time::Duration;

use super::Floor;

/// For how long after the beginning of a read of the floor slots are believed without another one.
pub(crate) const READ_EVERY: Duration = Duration::from_secs(10);

/// For how long the next floor cannot have come and gone unseen: past it, looking for the next is not enough.
pub(crate) const LIST_AFTER: Duration = READ_EVERY.saturating_mul(30);

/// How long a cleaner waits between the publication of a floor and the first deletion below it.
pub(crate) const CLEANER_WAIT: Duration = READ_EVERY.saturating_mul(60);

/// What to read before a slot is believed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Look {
    /// Nothing.
    None,
    /// The floor after the last known one, if it exists.
    Next,
    /// The newest floor, from a listing.
    List,
}

/// That some slot was not below the floor when a read began, then.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Checked(Duration);

impl Checked {
    /// Whether what came into the free slot before `heard` came into it before it can have been cleaned.
    ///
    /// Wider than [`FloorGate::look`]: this says what was true, that one when to make sure.
    pub(crate) fn proves(self, heard: Duration) -> bool {
        heard.saturating_sub(self.0) <= LIST_AFTER
    }
}

/// What is known of the floor, and since when.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct FloorGate {
    known: Floor,
    read_began: Option<Duration>,
}

impl FloorGate {
    /// What to read before an answer is believed that came at `heard`.
    pub(crate) fn look(&self, heard: Duration) -> Look {
        match self.age(heard) {
            Some(age) if age < READ_EVERY => Look::None,
            Some(age) if age <= LIST_AFTER => Look::Next,
            _ => Look::List,
        }
    }

    /// That a slot was not below the floor at the last read; none if it was, or nothing was read yet.
    pub(crate) fn checked(&self, lsn: u64) -> Option<Checked> {
        self.read_began.filter(|_| lsn >= self.known.lsn).map(Checked)
    }

    /// Takes in what a read that began at `began` has found.
    pub(crate) fn learn(&mut self, began: Duration, found: Floor) {
        self.read_began = self.read_began.max(Some(began));
        // Nothing is taken back: what was below a floor once may be gone.
        self.known = Floor { number: self.known.number.max(found.number), lsn: self.known.lsn.max(found.lsn) };
    }

    /// The newest floor that was seen.
    pub(crate) fn known(&self) -> Floor {
        self.known
    }

    fn age(&self, heard: Duration) -> Option<Duration> {
        self.read_began.map(|began| heard.saturating_sub(began))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MILLISECOND: Duration = Duration::from_millis(1);

    fn gate(began: u64, number: u64, lsn: u64) -> FloorGate {
        let mut gate = FloorGate::default();
        gate.learn(Duration::from_secs(began), Floor { number, lsn });
        gate
    }

    #[test]
    fn the_older_the_last_read_is_the_more_must_be_read() {
        assert_eq!(FloorGate::default().look(Duration::ZERO), Look::List, "never read");
        let gate = gate(1_000, 0, 0);
        let began = Duration::from_secs(1_000);
        for (age, look) in [
            (Duration::ZERO, Look::None),
            (READ_EVERY - MILLISECOND, Look::None),
            (READ_EVERY, Look::Next),
            (LIST_AFTER, Look::Next),
            (LIST_AFTER + MILLISECOND, Look::List),
            (CLEANER_WAIT * 1_000, Look::List),
        ] {
            assert_eq!(gate.look(began + age), look, "{age:?}");
        }
    }

    #[test]
    fn a_slot_is_proved_only_by_a_read_that_it_was_not_below_and_that_is_not_old() {
        let gate = gate(1_000, 3, 70);
        let began = Duration::from_secs(1_000);
        for (lsn, age, proved) in [
            (70, Duration::ZERO, true),
            (70, LIST_AFTER, true),
            (70, LIST_AFTER + MILLISECOND, false),
            (69, Duration::ZERO, false),
            (1_000, LIST_AFTER, true),
        ] {
            let checked = gate.checked(lsn).is_some_and(|checked| checked.proves(began + age));
            assert_eq!(checked, proved, "{lsn} after {age:?}");
        }
        assert_eq!(FloorGate::default().checked(1), None, "never read");
        assert!(LIST_AFTER * 2 <= CLEANER_WAIT, "clocks need not run alike");
    }

    #[test]
    fn neither_a_floor_nor_a_time_is_taken_back() {
        let mut gate = gate(1_000, 3, 70);
        gate.learn(Duration::from_secs(900), Floor { number: 2, lsn: 50 });
        assert_eq!(gate.known(), Floor { number: 3, lsn: 70 });
        assert_eq!(gate.look(Duration::from_secs(1_000)), Look::None);
        gate.learn(Duration::from_secs(1_100), Floor { number: 4, lsn: 60 });
        assert_eq!(gate.known(), Floor { number: 4, lsn: 70 });
    }
}
