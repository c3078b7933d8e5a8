//! Where does a fuzzer begin?
//!
//! One function per decoder of this crate. Each takes bytes that may be anything, and panics only if the decoder breaks
//! its promise: no panic, no memory beyond its input, and that what it accepts is what it would write. Where a checksum
//! guards a format, the bytes are tried as they are and with a good checksum put in, so that the code behind is reached.

use bytes::Bytes;
use sha2::{Digest, Sha256};

use crate::{
    layout::Layout,
    manifest,
    record::{decode_batch, decode_payload, encode_batch},
    table::{Block, Filter, Tail},
    wal,
};

/// A batch of the log, and the payload of one transaction.
pub fn batch(bytes: &[u8]) {
    let lsn = bytes.get(8..16).and_then(|lsn| lsn.try_into().ok()).map_or(1, u64::from_le_bytes);
    for bytes in [bytes, &sealed(bytes)] {
        if decode_payload(bytes).is_ok() {
            // What has one way to be written decodes as the only transaction of a batch too.
            let id = crate::record::BatchId { writer: [0; 16], number: 0 };
            let (batch, _) = encode_batch(1, id, &[0; 32], [bytes].into_iter());
            assert!(decode_batch(1, &batch).is_ok_and(|batch| batch.transactions.len() == 1));
        }
        let _ = decode_batch(lsn, bytes);
    }
}

/// A block of a data file, stored as it is and compressed.
pub fn block(bytes: &[u8]) {
    let raw =
        bytes.get(..3).map_or(0, |raw| usize::from(raw[0]) | usize::from(raw[1]) << 8 | usize::from(raw[2]) << 16);
    for block in [Block::decode(bytes, bytes.len()), Block::decode(bytes.get(3..).unwrap_or_default(), raw)] {
        let Ok(block) = block else { continue };
        block.check_reads();
    }
}

/// The end of a data file, and the filter in it.
pub fn tail(bytes: &[u8]) {
    let _ = Tail::decode(bytes);
    if let Some(content) = bytes.len().checked_sub(12) {
        let crc = crc32fast::hash(&bytes[..content]).to_le_bytes();
        let _ = Tail::decode(&[&bytes[..content], &crc, &bytes[content + 4..]].concat());
    }
    if let Ok(filter) = Filter::decode(Bytes::copy_from_slice(bytes)) {
        let _ = filter.may_contain(bytes);
    }
}

/// A manifest.
pub fn manifest(bytes: &[u8]) {
    let number = bytes.get(8..16).and_then(|number| number.try_into().ok()).map_or(1, u64::from_le_bytes);
    for bytes in [bytes, &sealed(bytes)] {
        if let Ok((manifest, hash)) = manifest::format::decode(number, bytes) {
            assert_eq!(manifest::format::encode(&manifest), (Bytes::copy_from_slice(bytes), hash));
        }
    }
}

/// The format object of a store.
pub fn format(bytes: &[u8]) {
    if let Ok(layout) = Layout::new("") {
        let _ = wal::format::check(&layout, bytes);
    }
}

/// A floor of the log.
pub fn floor(bytes: &[u8]) {
    let number = bytes.get(8..16).and_then(|number| number.try_into().ok()).map_or(1, u64::from_le_bytes);
    let content = &bytes[..bytes.len().saturating_sub(4)];
    for bytes in [bytes, &[content, &crc32fast::hash(content).to_le_bytes()].concat()] {
        let _ = wal::floor::format::decode(number, bytes);
    }
}

/// The lines of an export.
pub fn export(bytes: &[u8]) {
    wal::transfer::lines::check_lines(bytes);
}

/// The same with the right SHA-256 at its end.
fn sealed(bytes: &[u8]) -> Vec<u8> {
    let content = &bytes[..bytes.len().saturating_sub(32)];
    [content, &Sha256::digest(content)].concat()
}
