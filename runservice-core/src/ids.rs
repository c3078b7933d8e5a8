//! Where do new ids come from?
//!
//! From one seeded source that is handed to the builder, so that a simulation with the same seed makes the same ids.

use std::{fmt, sync::Mutex};

use rand::{Rng, SeedableRng, rngs::StdRng};
use runyard_executor_core::contract::{RunId, TaskId};

use crate::process::ProcessId;

/// Base 32 without letters that are taken for digits (Crockford's alphabet, in lower case).
const ALPHABET: &[u8; 32] = b"0123456789abcdefghjkmnpqrstvwxyz";

/// A source of ids: 26 characters, 130 random bits.
pub struct IdSource(Mutex<StdRng>);

impl IdSource {
    /// Seeded by the operating system: ids never repeat.
    #[expect(clippy::disallowed_methods, reason = "the source that everything else is handed")]
    pub fn from_system() -> Self {
        Self(Mutex::new(rand::make_rng()))
    }

    /// The same seed makes the same ids in the same order; for tests.
    pub fn from_seed(seed: u64) -> Self {
        Self(Mutex::new(StdRng::seed_from_u64(seed)))
    }

    fn next_id(&self) -> String {
        let mut rng = self.0.lock().expect("the lock is never poisoned: no panic while held");
        (0..26).map(|_| char::from(ALPHABET[(rng.next_u32() % 32) as usize])).collect()
    }

    /// A new run id.
    pub fn run(&self) -> RunId {
        RunId::parse(self.next_id()).expect("the alphabet is one of ids")
    }

    /// A new task id.
    pub fn task(&self) -> TaskId {
        TaskId::parse(self.next_id()).expect("the alphabet is one of ids")
    }

    /// A new id of a process.
    pub(crate) fn process(&self) -> ProcessId {
        ProcessId::new(self.next_id())
    }

    /// A new token: 260 random bits, which nobody guesses.
    pub(crate) fn token(&self, prefix: &str) -> String {
        format!("{prefix}_{}{}", self.next_id(), self.next_id())
    }

    /// A new name for an object that nothing else refers to yet.
    pub fn object(&self) -> String {
        self.next_id()
    }
}

impl fmt::Debug for IdSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("IdSource")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seed_replays_its_ids() {
        let [a, b] = [IdSource::from_seed(7), IdSource::from_seed(7)];
        let first = a.run();
        assert_eq!(first, b.run());
        assert_ne!(first.as_str(), a.task().as_str());
    }
}
