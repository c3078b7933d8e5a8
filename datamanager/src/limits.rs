//! Which transactions does no store take, whatever it holds?
//!
//! Every data manager refuses the same ones with the same words, so that what works on memory works on a bucket.

use crate::{Action, Error, ReadSet, Result, Transaction, system};

/// The longest name of a collection, in bytes: escaped, it must still fit in one component of a path.
pub const COLLECTION_NAME_BYTES_MAX: usize = 80;

/// The longest key of an entry, in bytes.
pub const KEY_BYTES_MAX: usize = 16 << 10;

/// The most bytes that a transaction may take in the log, and that a whole batch may.
pub const BATCH_BYTES_MAX: usize = 4 << 20;

/// What a batch needs beside its transactions, rounded up generously.
const BATCH_OVERHEAD_BYTES: usize = 256;

/// The most bytes that one transaction may take in the log.
pub(crate) const TRANSACTION_BYTES_MAX: usize = BATCH_BYTES_MAX - BATCH_OVERHEAD_BYTES;

/// Refuses a transaction with a bad collection name or key, or one that is too large before it is even encoded.
pub(crate) fn check(transaction: &Transaction) -> Result<()> {
    check_reads(&transaction.reads)?;
    let mut bytes = transaction.reads.groups.iter().map(String::len).sum();
    for action in &transaction.actions {
        let (collection, key_length, value_length) = match action {
            Action::Put { collection, key, value } => (collection, key.len(), value.len()),
            Action::Delete { collection, key } => (collection, key.len(), 0),
            Action::Append { collection, value } => (collection, 0, value.len()),
        };
        bytes += collection.len() + key_length + value_length;
        check_collection(collection)?;
        if key_length > KEY_BYTES_MAX {
            let reason =
                format!("a key of collection `{collection}` has {key_length} bytes, and {KEY_BYTES_MAX} is the most");
            return Err(Error::Refused { reason });
        }
    }
    check_size(bytes)
}

/// Refuses the name of a collection that is the store's own, to read and to write.
pub(crate) fn check_visible(collection: &str) -> Result<()> {
    if system::is_hidden(collection) {
        let collection = collection.escape_default();
        let reason = format!("the collection name `{collection}` begins with NUL, as those of the store itself do");
        return Err(Error::Refused { reason });
    }
    Ok(())
}

fn check_reads(reads: &ReadSet) -> Result<()> {
    let keys = reads.keys.iter().map(|(collection, _)| collection);
    let ranges = reads.ranges.iter().map(|(collection, _)| collection);
    keys.chain(ranges).try_for_each(|collection| check_visible(collection))?;
    // A change group is kept as a key.
    match reads.groups.iter().map(String::len).max() {
        Some(length) if length > KEY_BYTES_MAX => {
            let reason = format!("the name of a change group has {length} bytes, and {KEY_BYTES_MAX} is the most");
            Err(Error::Refused { reason })
        }
        _ => Ok(()),
    }
}

/// Refuses a transaction whose encoding is too long for a batch of its own.
pub(crate) fn check_size(bytes: usize) -> Result<()> {
    if bytes <= TRANSACTION_BYTES_MAX {
        return Ok(());
    }
    Err(Error::Refused {
        reason: format!(
            "it takes {bytes} bytes in the log, and {TRANSACTION_BYTES_MAX} is the most: split it, or keep large \
             values as objects of their own"
        ),
    })
}

fn check_collection(name: &str) -> Result<()> {
    if name.is_empty() {
        return Err(Error::Refused { reason: "the name of a collection is empty".to_owned() });
    }
    if name.len() > COLLECTION_NAME_BYTES_MAX {
        let reason = format!("the collection name `{name}` is longer than {COLLECTION_NAME_BYTES_MAX} bytes");
        return Err(Error::Refused { reason });
    }
    check_visible(name)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::KeyRange;

    #[test]
    fn a_bad_collection_name_or_key_is_refused_with_the_reason() {
        let put = |collection: &str, key: usize| Transaction {
            actions: vec![Action::Put {
                collection: collection.to_owned(),
                key: vec![b'k'; key].into(),
                value: bytes::Bytes::new(),
            }],
            ..Transaction::default()
        };
        let reading = |reads: ReadSet| Transaction { reads, ..Transaction::default() };
        assert!(check(&put("runs", KEY_BYTES_MAX)).is_ok());
        assert!(check(&put(&"c".repeat(COLLECTION_NAME_BYTES_MAX), 1)).is_ok());
        for (transaction, reason) in [
            (put("", 1), "empty"),
            (put(&"c".repeat(COLLECTION_NAME_BYTES_MAX + 1), 1), "longer than"),
            (put("runs", KEY_BYTES_MAX + 1), "a key of collection `runs`"),
            (put("\0system", 1), "`\\u{0}system` begins with NUL"),
            (reading(ReadSet { keys: vec![("\0groups".into(), "g".into())], ..ReadSet::default() }), "begins with NUL"),
            (
                reading(ReadSet { ranges: vec![("\0".into(), KeyRange::all())], ..ReadSet::default() }),
                "begins with NUL",
            ),
            (reading(ReadSet { groups: vec!["g".repeat(KEY_BYTES_MAX + 1)], ..ReadSet::default() }), "change group"),
        ] {
            let error = check(&transaction).expect_err(reason);
            assert!(error.to_string().contains(reason), "{error}");
        }
        assert!(check_size(TRANSACTION_BYTES_MAX).is_ok());
        assert!(matches!(check_size(TRANSACTION_BYTES_MAX + 1), Err(Error::Refused { .. })));
    }
}
