//! When do two stores hold the same?
//!
//! When the hashes over all their entries are equal, taken in the order of collections and keys.

use sha2::{Digest, Sha256};

/// A hash over entries.
#[derive(Clone, Debug, Default)]
pub(crate) struct StateHash(Sha256);

impl StateHash {
    /// Takes the next entry in.
    pub(crate) fn entry(&mut self, collection: &str, key: &[u8], value: &[u8]) {
        for part in [collection.as_bytes(), key, value] {
            self.0.update((part.len() as u64).to_le_bytes());
            self.0.update(part);
        }
    }

    pub(crate) fn finish(self) -> [u8; 32] {
        self.0.finalize().into()
    }
}
