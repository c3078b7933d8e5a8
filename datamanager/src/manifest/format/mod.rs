//! How is a manifest written?
//!
//! ```text
//! manifest     magic "RYMF" | version u32 | number u64 | hash of the manifest before 32
//!              tip: lsn u64 | hash 32
//!              position
//!              history: transactions u64 | forgotten position | count of marks | (transactions u64 | position) ...
//!              count of reasons for maintenance, 0 or 1 | reason
//!              count of collections | collection ...
//!              SHA-256 of everything before
//! collection   name | count of base files | file ... | count of deltas | delta ...
//!              count of steps of folds | (first key | position) ...
//! file         id u64 u64 u32 | size u64 | tail u32 | SHA-256 of the tail 32 | entries u64 | tombstones u64
//!              first key | last key | newest position
//! delta        file | filter
//! position     lsn u64 | index u32
//! ```
//!
//! The hash of a manifest is its last 32 bytes, so manifests are a chain. There is one way to write a manifest. Frozen
//! by a golden file.

use std::collections::VecDeque;

use bytes::{BufMut, Bytes};
use sha2::{Digest, Sha256};

use super::{CollectionFiles, DeltaMeta, FileId, FileMeta, Folded, Manifest, Tip};
use crate::{
    Position,
    codec::{Damage, Reader, put_bytes, put_length},
    history::History,
    record::Hash,
};

/// The version of the format of manifests.
const VERSION: u32 = 1;

const MAGIC: &[u8; 4] = b"RYMF";
const HASH_BYTES: usize = size_of::<Hash>();

/// Writes a manifest; returns it with its hash.
pub(crate) fn encode(manifest: &Manifest) -> (Bytes, Hash) {
    let Manifest { number, previous, tip, position, history, maintenance, collections } = manifest;
    let mut out = Vec::new();
    out.put_slice(MAGIC);
    out.put_u32_le(VERSION);
    out.put_u64_le(*number);
    out.put_slice(previous);
    out.put_u64_le(tip.lsn);
    out.put_slice(&tip.hash);
    put_position(&mut out, *position);
    out.put_u64_le(history.transactions);
    put_position(&mut out, history.forgotten);
    put_length(&mut out, history.marks.len());
    for (transactions, position) in &history.marks {
        out.put_u64_le(*transactions);
        put_position(&mut out, *position);
    }
    put_length(&mut out, usize::from(maintenance.is_some()));
    if let Some(reason) = maintenance {
        put_bytes(&mut out, reason.as_bytes());
    }
    put_length(&mut out, collections.len());
    for (name, CollectionFiles { base, deltas, folded }) in collections {
        put_bytes(&mut out, name.as_bytes());
        put_length(&mut out, base.len());
        for file in base {
            put_file(&mut out, file);
        }
        put_length(&mut out, deltas.len());
        for DeltaMeta { file, filter } in deltas {
            put_file(&mut out, file);
            put_bytes(&mut out, filter);
        }
        put_length(&mut out, folded.steps.len());
        for (first, position) in &folded.steps {
            put_bytes(&mut out, first);
            put_position(&mut out, *position);
        }
    }
    let hash: Hash = Sha256::digest(&out).into();
    out.put_slice(&hash);
    (out.into(), hash)
}

/// Reads a manifest that should have this number.
pub(crate) fn decode(number: u64, bytes: &[u8]) -> Result<(Manifest, Hash), Damage> {
    let content = bytes.len().checked_sub(HASH_BYTES).ok_or("it ends early")?;
    let (content, hash) = bytes.split_at(content);
    let mut reader = Reader::new(content);
    if reader.array::<4>()? != *MAGIC {
        return Err("it is not a manifest");
    }
    if reader.u32()? != VERSION {
        return Err("its version is not one that this program reads");
    }
    if Sha256::digest(content)[..] != *hash {
        return Err("its hash does not match its content");
    }
    if reader.u64()? != number {
        return Err("it is a manifest of another number");
    }
    let manifest = decode_content(number, reader)?;
    let hash = hash.try_into().map_err(|_| "it ends early")?;
    Ok((manifest, hash))
}

fn decode_content(number: u64, mut reader: Reader<'_>) -> Result<Manifest, Damage> {
    let previous = reader.array()?;
    let tip = Tip { lsn: reader.u64()?, hash: reader.array()? };
    let position = position(&mut reader)?;
    let history = history(&mut reader)?;
    let maintenance = match reader.length()? {
        0 => None,
        1 => Some(reader.text()?.to_owned()),
        _ => return Err("it gives several reasons for maintenance"),
    };
    let mut manifest =
        Manifest { number, previous, tip, position, history, maintenance, collections: Default::default() };
    for _ in 0..reader.length()? {
        let name = reader.text()?;
        if manifest.collections.last_key_value().is_some_and(|(before, _)| before.as_str() >= name) {
            return Err("its collections are not in order");
        }
        let files = collection(&mut reader)?;
        manifest.collections.insert(name.to_owned(), files);
    }
    reader.end()?;
    Ok(manifest)
}

fn history(reader: &mut Reader<'_>) -> Result<History, Damage> {
    let transactions = reader.u64()?;
    let forgotten = position(reader)?;
    let mut marks = VecDeque::new();
    for _ in 0..reader.length()? {
        marks.push_back((reader.u64()?, position(reader)?));
    }
    Ok(History { transactions, marks, forgotten })
}

fn collection(reader: &mut Reader<'_>) -> Result<CollectionFiles, Damage> {
    let mut base: Vec<FileMeta> = Vec::new();
    for _ in 0..reader.length()? {
        let next = file(reader)?;
        if base.last().is_some_and(|before| before.last >= next.first) {
            return Err("the base files of a collection overlap");
        }
        base.push(next);
    }
    let mut deltas = Vec::new();
    for _ in 0..reader.length()? {
        let file = file(reader)?;
        deltas.push(DeltaMeta { file, filter: reader.owned()? });
    }
    let mut folded = Folded::default();
    for _ in 0..reader.length()? {
        let (first, position) = (reader.owned()?, position(reader)?);
        if folded.steps.last().is_some_and(|(before, _)| *before >= first) {
            return Err("the folds of a collection are not in order");
        }
        folded.steps.push((first, position));
    }
    Ok(CollectionFiles { base, deltas, folded })
}

fn put_file(out: &mut Vec<u8>, file: &FileMeta) {
    let FileMeta { id, size, tail, tail_hash, entries, tombstones, first, last, newest } = file;
    out.put_u64_le(id.manifest);
    out.put_u64_le(id.writer);
    out.put_u32_le(id.number);
    out.put_u64_le(*size);
    out.put_u32_le(*tail);
    out.put_slice(tail_hash);
    out.put_u64_le(*entries);
    out.put_u64_le(*tombstones);
    put_bytes(out, first);
    put_bytes(out, last);
    put_position(out, *newest);
}

fn file(reader: &mut Reader<'_>) -> Result<FileMeta, Damage> {
    let file = FileMeta {
        id: FileId { manifest: reader.u64()?, writer: reader.u64()?, number: reader.u32()? },
        size: reader.u64()?,
        tail: reader.u32()?,
        tail_hash: reader.array()?,
        entries: reader.u64()?,
        tombstones: reader.u64()?,
        first: reader.owned()?,
        last: reader.owned()?,
        newest: position(reader)?,
    };
    if u64::from(file.tail) > file.size || file.first > file.last {
        return Err("a file cannot be what it says");
    }
    Ok(file)
}

fn put_position(out: &mut Vec<u8>, position: Position) {
    out.put_u64_le(position.lsn);
    out.put_u32_le(position.index);
}

fn position(reader: &mut Reader<'_>) -> Result<Position, Damage> {
    Ok(Position { lsn: reader.u64()?, index: reader.u32()? })
}

#[cfg(test)]
mod tests;
