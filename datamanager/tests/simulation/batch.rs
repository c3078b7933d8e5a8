//! What does a log object say? Read by the description of the format alone, with nothing of the code under test.

use bytes::Bytes;
use runyard_datamanager::{Action, Change, Position};
use sha2::{Digest, Sha256};

/// The id of a writer.
pub(crate) type Writer = [u8; 16];

const HASH_BYTES: usize = 32;

/// Where the hash of the batch before is.
const PREVIOUS: usize = 4 + 4 + 8 + 24;

/// A batch of the log.
#[derive(Debug)]
pub(crate) struct Batch {
    pub(crate) previous: Vec<u8>,
    pub(crate) hash: Vec<u8>,
    pub(crate) transactions: Vec<Logged>,
}

/// A transaction in the log.
#[derive(Debug)]
pub(crate) struct Logged {
    /// Who wrote it.
    pub(crate) writer: Writer,
    pub(crate) position: Position,
    pub(crate) groups: Vec<String>,
    pub(crate) actions: Vec<Action>,
    /// The same with the keys of appends.
    pub(crate) changes: Vec<Change>,
}

/// Reads a log object; the error is a phrase.
pub(crate) fn decode(lsn: u64, bytes: &[u8]) -> Result<Batch, &'static str> {
    let (body, hash) = bytes.split_at_checked(bytes.len().wrapping_sub(HASH_BYTES)).ok_or("it is too short")?;
    if Sha256::digest(body)[..] != *hash {
        return Err("its hash is wrong");
    }
    let mut reader = Reader(body);
    if reader.take(4)? != b"RYLG" || reader.u32()? != 1 || reader.u64()? != lsn {
        return Err("its header is wrong");
    }
    let writer = reader.take(16)?.try_into().expect("16 bytes");
    reader.u64()?;
    let previous = reader.take(HASH_BYTES)?.to_vec();
    let mut transactions = Vec::new();
    for index in 0..reader.u32()? {
        let length = reader.u32()? as usize;
        let crc = reader.u32()?;
        let payload = reader.take(length)?;
        if crc32fast::hash(payload) != crc {
            return Err("the checksum of a transaction is wrong");
        }
        transactions.push(transaction(writer, Position { lsn, index }, payload)?);
    }
    if !reader.0.is_empty() || transactions.is_empty() {
        return Err("it has another length than its transactions");
    }
    Ok(Batch { previous, hash: hash.to_vec(), transactions })
}

fn transaction(writer: Writer, position: Position, payload: &[u8]) -> Result<Logged, &'static str> {
    let mut reader = Reader(payload);
    let mut groups = Vec::new();
    for _ in 0..reader.length()? {
        groups.push(reader.text()?);
    }
    let (mut actions, mut changes) = (Vec::new(), Vec::new());
    let mut appends = 0;
    for _ in 0..reader.length()? {
        let kind = reader.take(1)?[0];
        let collection = reader.text()?;
        let action = match kind {
            0 => Action::Delete { collection, key: reader.bytes()? },
            1 => Action::Put { collection, key: reader.bytes()?, value: reader.bytes()? },
            2 => Action::Append { collection, value: reader.bytes()? },
            _ => return Err("an action is of no known kind"),
        };
        changes.push(match action.clone() {
            Action::Delete { collection, key } => Change { collection, key, value: None },
            Action::Put { collection, key, value } => Change { collection, key, value: Some(value) },
            Action::Append { collection, value } => {
                let key = Bytes::copy_from_slice(&position.append_key(appends));
                appends += 1;
                Change { collection, key, value: Some(value) }
            }
        });
        actions.push(action);
    }
    Ok(Logged { writer, position, groups, actions, changes })
}

/// The same batch, well formed in itself, as the successor of another one.
pub(crate) fn forge_predecessor(bytes: &[u8]) -> Bytes {
    let mut forged = bytes[..bytes.len() - HASH_BYTES].to_vec();
    forged[PREVIOUS] ^= 1;
    let hash = Sha256::digest(&forged);
    forged.extend_from_slice(&hash);
    forged.into()
}

struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    fn take(&mut self, length: usize) -> Result<&'a [u8], &'static str> {
        let (taken, rest) = self.0.split_at_checked(length).ok_or("it ends early")?;
        self.0 = rest;
        Ok(taken)
    }

    fn u32(&mut self) -> Result<u32, &'static str> {
        Ok(u32::from_le_bytes(self.take(4)?.try_into().expect("four bytes")))
    }

    fn u64(&mut self) -> Result<u64, &'static str> {
        Ok(u64::from_le_bytes(self.take(8)?.try_into().expect("eight bytes")))
    }

    /// LEB128.
    fn length(&mut self) -> Result<usize, &'static str> {
        let mut length = 0;
        for shift in (0..35).step_by(7) {
            let byte = self.take(1)?[0];
            length |= usize::from(byte & 0x7f) << shift;
            if byte < 0x80 {
                return Ok(length);
            }
        }
        Err("a length is too long")
    }

    fn bytes(&mut self) -> Result<Bytes, &'static str> {
        let length = self.length()?;
        self.take(length).map(Bytes::copy_from_slice)
    }

    fn text(&mut self) -> Result<String, &'static str> {
        String::from_utf8(self.bytes()?.to_vec()).map_err(|_| "a name is not UTF-8")
    }
}
