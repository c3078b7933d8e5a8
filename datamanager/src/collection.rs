//! Which type do the entries of a collection have, and by what else can they be found?

use std::marker::PhantomData;

use bytes::Bytes;
use serde::{Serialize, de::DeserializeOwned};

use crate::{Error, Result};

/// A collection of entries of one type, kept as JSON, with its secondary indexes. Meant to be a constant.
///
/// ```
/// use runyard_datamanager::Collection;
/// use serde::{Deserialize, Serialize};
///
/// #[derive(Serialize, Deserialize)]
/// struct User { name: String, mail: String }
///
/// const USERS: Collection<User> = Collection::new("users").with_indexes(&[("mail", |_, user, keys| {
///     keys.push(user.mail.clone().into());
/// })]);
/// # let _ = USERS;
/// ```
pub struct Collection<V: 'static> {
    name: &'static str,
    indexes: &'static [Index<V>],
    value: PhantomData<fn() -> V>,
}

/// The name of an index, and the function that says under which index keys an entry is found.
pub type Index<V> = (&'static str, fn(key: &[u8], value: &V, index_keys: &mut Vec<Bytes>));

impl<V> Collection<V> {
    /// A collection without indexes. The name is part of the stored format.
    pub const fn new(name: &'static str) -> Self {
        Self { name, indexes: &[], value: PhantomData }
    }

    /// The same collection with these indexes. They must have been declared before its first entry was written.
    pub const fn with_indexes(self, indexes: &'static [Index<V>]) -> Self {
        Self { indexes, ..self }
    }

    /// Its name.
    pub const fn name(&self) -> &'static str {
        self.name
    }

    /// The collection that holds an index: its keys are index keys joined with primary keys, its values are empty.
    pub fn index_collection(&self, index: &str) -> String {
        format!("{}.{index}", self.name)
    }

    pub(crate) const fn has_indexes(&self) -> bool {
        !self.indexes.is_empty()
    }

    /// Every entry of every index that leads to `value`: the index's collection and the key in it.
    pub(crate) fn index_entries(&self, key: &[u8], value: &V) -> Vec<(String, Bytes)> {
        let mut entries = Vec::new();
        let mut index_keys = Vec::new();
        for (name, keys_of) in self.indexes {
            keys_of(key, value, &mut index_keys);
            let collection = self.index_collection(name);
            entries.extend(index_keys.drain(..).map(|index| (collection.clone(), join_index_key(&index, key))));
        }
        entries
    }
}

impl<V: Serialize> Collection<V> {
    pub(crate) fn encode(&self, value: &V) -> Result<Bytes> {
        serde_json::to_vec(value).map(Bytes::from).map_err(|source| Error::Refused {
            reason: format!("a value of collection `{}` does not encode: {source}", self.name),
        })
    }
}

impl<V: DeserializeOwned> Collection<V> {
    /// Decodes a value of the collection, such as one that a follower was handed.
    pub fn decode(&self, key: &[u8], value: &[u8]) -> Result<V> {
        serde_json::from_slice(value).map_err(|source| Error::Decode {
            collection: self.name.to_owned(),
            key: key.escape_ascii().to_string(),
            source: source.into(),
        })
    }
}

impl<V> std::fmt::Debug for Collection<V> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Collection({})", self.name)
    }
}

/// Joins an index key with a primary key so that order is by the former first, and both can be read back: NUL is
/// written as `00 ff`, and `00 01` separates them.
pub(crate) fn join_index_key(index: &[u8], primary: &[u8]) -> Bytes {
    let mut key = escape_index_key(index);
    key.extend_from_slice(&[0, 1]);
    key.extend_from_slice(primary);
    key.into()
}

/// How an index key, or a prefix of one, begins in the index's collection.
pub(crate) fn escape_index_key(index: &[u8]) -> Vec<u8> {
    let mut key = Vec::with_capacity(index.len() + 16);
    for byte in index {
        key.push(*byte);
        if *byte == 0 {
            key.push(0xff);
        }
    }
    key
}

/// The primary key inside what [`join_index_key`] made.
pub(crate) fn primary_of_index_key(key: &[u8]) -> Option<&[u8]> {
    let separator = key.windows(2).position(|pair| pair == [0, 1])?;
    Some(&key[separator + 2..])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn index_keys_order_by_index_then_primary_and_read_back() {
        let pairs: [(&[u8], &[u8]); 6] =
            [(b"", b"z"), (b"\0", b"a"), (b"\0\x01", b"a"), (b"a", b"b"), (b"a", b"c"), (b"a\0", b"a")];
        let keys: Vec<_> = pairs.iter().map(|(index, primary)| join_index_key(index, primary)).collect();
        assert!(keys.is_sorted(), "{keys:?}");
        for (key, (_, primary)) in keys.iter().zip(pairs) {
            assert_eq!(primary_of_index_key(key), Some(primary));
        }
    }
}
