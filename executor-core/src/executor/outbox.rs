//! Which bytes of a step's output go into its log? Pure: no clock, no I/O.
//!
//! Log and output share their offsets, up to the size limit: there a mark is put and the rest is dropped, so that a
//! flood costs neither memory nor storage.

use bytes::{Bytes, BytesMut};
use sha2::{Digest as _, Sha256};

use crate::contract::LogEnd;

/// The bytes of one log on their way.
pub(super) struct Outbox {
    limit: u64,
    cut: bool,
    /// Of the output.
    received: u64,
    /// Of the log: what is stored durably.
    stored: u64,
    pending: BytesMut,
    /// Of the log: where `pending` ends.
    end: u64,
    hash: Option<Sha256>,
    hashed: u64,
}

/// Output is missing between what was received and what came next.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("the output between byte {from} and byte {to} is gone")]
pub(super) struct Gap {
    from: u64,
    to: u64,
}

impl Outbox {
    /// A log of which `stored` bytes are stored.
    pub(super) fn new(limit: u64, stored: u64) -> Self {
        let (pending, hash) = (BytesMut::new(), Some(Sha256::new()));
        Self { limit, cut: false, received: 0, stored, pending, end: stored, hash, hashed: 0 }
    }

    /// The output is read (again) from `offset` on.
    pub(super) fn restart(&mut self, offset: u64) {
        self.received = offset;
        self.pending.clear();
        self.end = self.stored;
    }

    /// A piece of the output came.
    pub(super) fn receive(&mut self, offset: u64, bytes: &[u8]) -> Result<(), Gap> {
        if offset > self.received && self.received < self.limit {
            return Err(Gap { from: self.received, to: offset });
        }
        self.received = offset + bytes.len() as u64;
        let kept = usize::try_from(self.limit.saturating_sub(offset)).unwrap_or(usize::MAX).min(bytes.len());
        self.add(offset, &bytes[..kept]);
        if kept < bytes.len() && !self.cut {
            self.cut = true;
            let mark =
                format!("\n[runyard: the log has reached its limit of {} bytes; the rest is dropped]\n", self.limit);
            self.add(self.limit, mark.as_bytes());
        }
        Ok(())
    }

    /// The output breaks off here: says so in the log.
    pub(super) fn break_off(&mut self, why: &str) {
        if !self.cut {
            self.add(self.received, broken_off(why).as_bytes());
        }
    }

    fn add(&mut self, offset: u64, bytes: &[u8]) {
        if bytes.is_empty() {
            return;
        }
        let end = offset + bytes.len() as u64;
        if offset > self.hashed {
            // It begins in the middle, after a restart of the executor.
            self.hash = None;
        }
        if let Some(hash) = &mut self.hash {
            hash.update(after(bytes, offset, self.hashed));
            self.hashed = self.hashed.max(end);
        }
        self.pending.extend_from_slice(after(bytes, offset, self.end));
        self.end = self.end.max(end);
    }

    /// How many bytes wait.
    pub(super) fn waiting(&self) -> usize {
        self.pending.len()
    }

    /// Takes up to `max` bytes that wait, with their offset in the log.
    pub(super) fn take(&mut self, max: usize) -> (u64, Bytes) {
        let offset = self.end - self.pending.len() as u64;
        (offset, self.pending.split_to(max.min(self.pending.len())).freeze())
    }

    /// So many bytes of the log are stored. Returns what may be acknowledged of the output.
    pub(super) fn store(&mut self, stored: u64) -> u64 {
        self.stored = self.stored.max(stored);
        if self.is_stored() { self.received } else { self.stored.min(self.received).min(self.limit) }
    }

    /// Whether the log is full: from there on, output and log do not share their offsets any more.
    pub(super) fn is_cut(&self) -> bool {
        self.cut
    }

    /// Whether all that came is stored.
    pub(super) fn is_stored(&self) -> bool {
        self.stored >= self.end
    }

    /// Where the log ends.
    pub(super) fn end(&self) -> u64 {
        self.end
    }

    /// The end of the log, with its hash if all of it passed through here.
    pub(super) fn log_end(&self) -> LogEnd {
        let hash = self.hash.clone().filter(|_| self.hashed == self.end);
        let hex = |hash: Sha256| hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect();
        LogEnd { bytes: self.end, sha256: hash.map(hex) }
    }
}

/// What a log says where output is missing.
pub(super) fn broken_off(why: &str) -> String {
    format!("\n[runyard: {why}; output after this point is lost]\n")
}

/// The part of `bytes`, which begin at `offset`, that lies at or after `from`.
fn after(bytes: &[u8], offset: u64, from: u64) -> &[u8] {
    let skip = usize::try_from(from.saturating_sub(offset)).unwrap_or(usize::MAX).min(bytes.len());
    &bytes[skip..]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn drain(outbox: &mut Outbox) -> (u64, String) {
        let (offset, bytes) = outbox.take(usize::MAX);
        (offset, String::from_utf8(bytes.to_vec()).unwrap())
    }

    #[test]
    fn output_passes_at_its_offset_and_is_hashed() {
        let mut outbox = Outbox::new(100, 0);
        outbox.receive(0, b"ab").unwrap();
        outbox.receive(2, b"c").unwrap();
        assert_eq!(drain(&mut outbox), (0, "abc".into()));
        assert!(!outbox.is_stored());
        assert_eq!(outbox.store(3), 3);
        let sha256 = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
        assert_eq!(outbox.log_end(), LogEnd { bytes: 3, sha256: Some(sha256.into()) });
    }

    #[test]
    fn what_is_stored_is_hashed_and_not_sent_again() {
        let mut outbox = Outbox::new(100, 2);
        outbox.receive(0, b"abc").unwrap();
        assert_eq!(drain(&mut outbox), (2, "c".into()));
        assert!(outbox.log_end().sha256.is_some());
    }

    #[test]
    fn a_log_that_begins_in_the_middle_has_no_hash() {
        let mut outbox = Outbox::new(100, 2);
        outbox.restart(2);
        outbox.receive(2, b"c").unwrap();
        assert_eq!(drain(&mut outbox), (2, "c".into()));
        assert_eq!(outbox.log_end(), LogEnd { bytes: 3, sha256: None });
    }

    #[test]
    fn a_flood_ends_in_one_mark_and_is_acknowledged() {
        let mut outbox = Outbox::new(4, 0);
        outbox.receive(0, b"abcdef").unwrap();
        outbox.receive(6, b"gh").unwrap();
        let (offset, log) = drain(&mut outbox);
        assert_eq!(offset, 0);
        assert!(log.starts_with("abcd\n[runyard: the log has reached its limit of 4 bytes"), "{log}");
        assert_eq!(outbox.store(2), 2);
        assert_eq!(outbox.store(4), 4);
        assert_eq!(outbox.store(log.len() as u64), 8);
        assert_eq!(outbox.log_end().bytes, log.len() as u64);
        // A restarted executor puts no second mark.
        let mut again = Outbox::new(4, log.len() as u64);
        again.restart(log.len() as u64);
        again.receive(900, b"xyz").unwrap();
        assert_eq!(again.waiting(), 0);
        assert_eq!(again.end(), log.len() as u64);
    }

    #[test]
    fn a_gap_in_the_output_is_an_error() {
        let mut outbox = Outbox::new(100, 0);
        assert_eq!(outbox.receive(3, b"abc"), Err(Gap { from: 0, to: 3 }));
    }

    #[test]
    fn an_output_that_breaks_off_says_so_once() {
        let mut outbox = Outbox::new(100, 0);
        outbox.receive(0, b"ab").unwrap();
        outbox.break_off("the supervisor is gone");
        let (_, log) = drain(&mut outbox);
        assert_eq!(log, "ab\n[runyard: the supervisor is gone; output after this point is lost]\n");
        let mut again = Outbox::new(100, log.len() as u64);
        again.restart(2);
        again.break_off("the supervisor is gone");
        assert_eq!(again.waiting(), 0);
    }
}
