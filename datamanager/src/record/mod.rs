//! How is a batch of transactions written in the log?
//!
//! ```text
//! batch        magic "RYLG" | version u32 | lsn u64 | batch id 24 | hash of the batch before 32 | count u32
//!              transaction ...
//!              SHA-256 of everything before
//! transaction  length u32 | CRC-32 of the payload u32 | payload
//! payload      count of groups | group ... | count of actions | action ...
//! action       0 | collection | key             delete
//!              1 | collection | key | value     put
//!              2 | collection | value           append; its key follows from its place
//! ```
//!
//! The hash of a batch is its last 32 bytes, so the log is a chain: the first batch names the store. A payload does
//! not depend on its place, so it is encoded once, wherever it lands. Frozen by a golden file.

use bytes::{BufMut, Bytes};
use sha2::{Digest, Sha256};

use crate::{
    Action, Change, Committed, Position, Transaction,
    codec::{Damage, Reader, put_bytes, put_length},
};

/// The version of the batch format.
const VERSION: u32 = 1;

const MAGIC: &[u8; 4] = b"RYLG";
const HEADER_BYTES: usize = 4 + 4 + 8 + 24 + 32 + 4;
const FRAME_BYTES: usize = 8;
const HASH_BYTES: usize = 32;

/// What chains a batch to the one before.
pub(crate) type Hash = [u8; HASH_BYTES];

/// Which writer made a batch, and which of its batches it is: equal to no other, ever.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct BatchId {
    /// Drawn anew whenever a store is opened.
    pub(crate) writer: [u8; 16],
    /// Counted for each attempt at a batch.
    pub(crate) number: u64,
}

/// A transaction in the log: what followers see of it, and the change groups that it took.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Logged {
    pub(crate) committed: Committed,
    pub(crate) groups: Vec<String>,
    /// Which changes have a key that follows from the place.
    appends: Vec<usize>,
}

impl Logged {
    /// Gives a transaction its place, and with it the keys of its appends.
    pub(crate) fn new(position: Position, groups: Vec<String>, actions: Vec<Action>) -> Self {
        let mut appends = Vec::new();
        let changes = actions.into_iter().enumerate().map(|(index, action)| match action {
            Action::Put { collection, key, value } => Change { collection, key, value: Some(value) },
            Action::Delete { collection, key } => Change { collection, key, value: None },
            Action::Append { collection, value } => {
                appends.push(index);
                Change { collection, key: Bytes::new(), value: Some(value) }
            }
        });
        let changes = changes.collect();
        let mut logged = Self { committed: Committed { position, changes }, groups, appends };
        logged.place(position);
        logged
    }

    /// Moves the transaction to another place.
    pub(crate) fn place(&mut self, position: Position) {
        self.committed.position = position;
        for (n, index) in self.appends.iter().enumerate() {
            self.committed.changes[*index].key = Bytes::copy_from_slice(&position.append_key(n as u32));
        }
    }
}

/// A batch read back from the log.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct DecodedBatch {
    pub(crate) id: BatchId,
    pub(crate) previous: Hash,
    pub(crate) hash: Hash,
    pub(crate) transactions: Vec<Logged>,
}

/// Encodes what of a transaction is in the log: its groups and actions, not what else it read.
pub(crate) fn encode_payload(transaction: &Transaction) -> Vec<u8> {
    let mut out = Vec::with_capacity(payload_bytes(transaction));
    put_length(&mut out, transaction.reads.groups.len());
    for group in &transaction.reads.groups {
        put_bytes(&mut out, group.as_bytes());
    }
    put_length(&mut out, transaction.actions.len());
    for action in &transaction.actions {
        match action {
            Action::Delete { collection, key } => {
                out.put_u8(0);
                put_bytes(&mut out, collection.as_bytes());
                put_bytes(&mut out, key);
            }
            Action::Put { collection, key, value } => {
                out.put_u8(1);
                put_bytes(&mut out, collection.as_bytes());
                put_bytes(&mut out, key);
                put_bytes(&mut out, value);
            }
            Action::Append { collection, value } => {
                out.put_u8(2);
                put_bytes(&mut out, collection.as_bytes());
                put_bytes(&mut out, value);
            }
        }
    }
    out
}

/// An upper bound of the length of a payload that is close to it.
fn payload_bytes(transaction: &Transaction) -> usize {
    let groups: usize = transaction.reads.groups.iter().map(|group| group.len() + 5).sum();
    let actions = transaction.actions.iter().map(|action| match action {
        Action::Put { collection, key, value } => collection.len() + key.len() + value.len() + 16,
        Action::Delete { collection, key } => collection.len() + key.len() + 11,
        Action::Append { collection, value } => collection.len() + value.len() + 11,
    });
    groups + actions.sum::<usize>() + 10
}

/// What a payload takes in a batch.
pub(crate) fn framed_bytes(payload: usize) -> usize {
    payload + FRAME_BYTES
}

/// Writes a batch; returns it with its hash.
pub(crate) fn encode_batch<'a>(
    lsn: u64,
    id: BatchId,
    previous: &Hash,
    payloads: impl ExactSizeIterator<Item = &'a [u8]> + Clone,
) -> (Bytes, Hash) {
    let framed: usize = payloads.clone().map(|payload| framed_bytes(payload.len())).sum();
    let mut out = Vec::with_capacity(HEADER_BYTES + framed + HASH_BYTES);
    out.put_slice(MAGIC);
    out.put_u32_le(VERSION);
    out.put_u64_le(lsn);
    out.put_slice(&id.writer);
    out.put_u64_le(id.number);
    out.put_slice(previous);
    out.put_u32_le(payloads.len() as u32);
    for payload in payloads {
        out.put_u32_le(payload.len() as u32);
        out.put_u32_le(crc32fast::hash(payload));
        out.put_slice(payload);
    }
    let hash: Hash = Sha256::digest(&out).into();
    out.put_slice(&hash);
    (out.into(), hash)
}

/// Reads a batch that should be number `lsn`.
pub(crate) fn decode_batch(lsn: u64, bytes: &[u8]) -> Result<DecodedBatch, Damage> {
    let content = bytes.len().checked_sub(HASH_BYTES).ok_or("it ends early")?;
    let (content, hash) = bytes.split_at(content);
    let mut reader = Reader::new(content);
    if reader.array::<4>()? != *MAGIC {
        return Err("it is not a batch of a log");
    }
    if reader.u32()? != VERSION {
        return Err("its version is not one that this program reads");
    }
    if Sha256::digest(content)[..] != *hash {
        return Err("its hash does not match its content");
    }
    if reader.u64()? != lsn {
        return Err("it is a batch of another number");
    }
    let id = BatchId { writer: reader.array()?, number: reader.u64()? };
    let previous = reader.array()?;
    let count = reader.u32()?;
    if count == 0 {
        return Err("it holds no transaction");
    }
    let mut transactions = Vec::new();
    for index in 0..count {
        let length = reader.u32()? as usize;
        let crc = reader.u32()?;
        let payload = reader.take(length)?;
        if crc32fast::hash(payload) != crc {
            return Err("the checksum of a transaction does not match its content");
        }
        let (groups, actions) = decode_payload(payload)?;
        transactions.push(Logged::new(Position { lsn, index }, groups, actions));
    }
    reader.end()?;
    let hash = hash.try_into().map_err(|_| "it ends early")?;
    Ok(DecodedBatch { id, previous, hash, transactions })
}

pub(crate) fn decode_payload(payload: &[u8]) -> Result<(Vec<String>, Vec<Action>), Damage> {
    let mut reader = Reader::new(payload);
    let mut groups = Vec::new();
    for _ in 0..reader.length()? {
        groups.push(reader.text()?.to_owned());
    }
    let mut actions = Vec::new();
    for _ in 0..reader.length()? {
        let [kind] = reader.array()?;
        let collection = reader.text()?.to_owned();
        actions.push(match kind {
            0 => Action::Delete { collection, key: reader.owned()? },
            1 => Action::Put { collection, key: reader.owned()?, value: reader.owned()? },
            2 => Action::Append { collection, value: reader.owned()? },
            _ => return Err("an action is of no known kind"),
        });
    }
    reader.end()?;
    Ok((groups, actions))
}

#[cfg(test)]
mod tests;
