//! Where in the history of a store is something?

use std::fmt;

use serde::{Deserialize, Serialize};

/// A point in the order of all transactions: the log object, and the transaction inside it.
///
/// Positions are dense in neither part, and only compare; the zero position is before every transaction.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Position {
    /// The log sequence number of the batch, counted from 1.
    pub lsn: u64,
    /// The index of the transaction in its batch, counted from 0.
    pub index: u32,
}

impl Position {
    /// Before every transaction.
    pub const ZERO: Self = Self { lsn: 0, index: 0 };

    /// The key of the `n`th entry that a transaction at this position appended to a collection.
    ///
    /// Its order is the order of the transactions; 16 bytes, big-endian.
    pub fn append_key(self, n: u32) -> [u8; 16] {
        let mut key = [0; 16];
        key[..8].copy_from_slice(&self.lsn.to_be_bytes());
        key[8..12].copy_from_slice(&self.index.to_be_bytes());
        key[12..].copy_from_slice(&n.to_be_bytes());
        key
    }

    /// Reads the position and the index back from what [`Position::append_key`] made.
    pub fn from_append_key(key: &[u8]) -> Option<(Self, u32)> {
        let key: &[u8; 16] = key.try_into().ok()?;
        let (lsn, rest) = key.split_first_chunk::<8>()?;
        let (index, rest) = rest.split_first_chunk::<4>()?;
        let (n, _) = rest.split_first_chunk::<4>()?;
        let position = Self { lsn: u64::from_be_bytes(*lsn), index: u32::from_be_bytes(*index) };
        Some((position, u32::from_be_bytes(*n)))
    }
}

impl fmt::Display for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.lsn, self.index)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn append_keys_keep_the_order_of_positions_and_read_back() {
        let mut keys = Vec::new();
        for (lsn, index, n) in [(1, 0, 0), (1, 0, 1), (1, 2, 0), (2, 0, 0), (256, 0, 0), (1 << 40, 7, 300)] {
            let position = Position { lsn, index };
            let key = position.append_key(n);
            assert_eq!(Position::from_append_key(&key), Some((position, n)));
            keys.push(key);
        }
        assert!(keys.is_sorted());
    }
}
