//! What is in one line of an export?

use std::{borrow::Cow, collections::BTreeMap};

use base64::{Engine, engine::general_purpose::STANDARD};
use bytes::{Bytes, BytesMut};
use serde::{Deserialize, Serialize};

use crate::{BATCH_BYTES_MAX, Error, Position, Result};

const FORMAT: &str = "runyard-export";
const VERSION: u32 = 1;

/// The longest line: a transaction of the largest size, with each byte of it escaped as `\u0000`.
const LINE_BYTES_MAX: usize = 6 * BATCH_BYTES_MAX + 1024;

/// The first line.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Header {
    format: String,
    version: u32,
    store: String,
    /// Where in its storage the store is: what people tell several stores of one service apart by.
    #[serde(default)]
    base_path: String,
    pub(super) position: Position,
}

impl Header {
    pub(super) fn new(store: String, base_path: String, position: Position) -> Self {
        Self { format: FORMAT.to_owned(), version: VERSION, store, base_path, position }
    }
}

#[derive(Serialize)]
struct EntryLine<'a> {
    collection: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    key: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    key_base64: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    value: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    value_base64: Option<String>,
}

/// The last line.
#[derive(Debug, PartialEq, Eq, Serialize)]
pub(super) struct Trailer {
    /// How many entries each collection has; one without entries is not listed.
    pub(super) counts: BTreeMap<String, u64>,
    pub(super) state_hash: String,
}

/// Any line but the first.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct AnyLine<'a> {
    #[serde(borrow, default)]
    collection: Option<Cow<'a, str>>,
    #[serde(default)]
    key: Option<String>,
    #[serde(borrow, default)]
    key_base64: Option<Cow<'a, str>>,
    #[serde(default)]
    value: Option<String>,
    #[serde(borrow, default)]
    value_base64: Option<Cow<'a, str>>,
    #[serde(default)]
    counts: Option<BTreeMap<String, u64>>,
    #[serde(default)]
    state_hash: Option<String>,
}

/// A line after the first one.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Line {
    Entry { collection: String, key: Bytes, value: Bytes },
    Trailer(Trailer),
}

/// The bytes of a line.
pub(super) fn encode(line: &impl Serialize) -> Bytes {
    let mut bytes = serde_json::to_vec(line).expect("a line has nothing that JSON has no form for");
    bytes.push(b'\n');
    bytes.into()
}

/// The line of an entry.
pub(super) fn encode_entry(collection: &str, key: &[u8], value: &[u8]) -> Bytes {
    let text = |bytes| std::str::from_utf8(bytes).ok();
    let base64 = |bytes| text(bytes).is_none().then(|| STANDARD.encode(bytes));
    encode(&EntryLine {
        collection,
        key: text(key),
        key_base64: base64(key),
        value: text(value),
        value_base64: base64(value),
    })
}

pub(super) fn decode_header(bytes: &[u8]) -> Result<Header, String> {
    let header: Header = serde_json::from_slice(bytes).map_err(|error| {
        format!("it is not the first line of an export, which says what it is one of: {}", unlocated(&error))
    })?;
    if header.format != FORMAT {
        return Err(format!("its format is `{}`, and not `{FORMAT}`", header.format));
    }
    if header.version != VERSION {
        return Err(format!("its version is {}, and this program reads {VERSION}", header.version));
    }
    Ok(header)
}

/// What is wrong, without where: the line is known, and it is not line 1.
fn unlocated(error: &serde_json::Error) -> String {
    let text = error.to_string();
    text.split(" at line ").next().unwrap_or_default().to_owned()
}

pub(super) fn decode(bytes: &[u8]) -> Result<Line, String> {
    let line: AnyLine<'_> = serde_json::from_slice(bytes).map_err(|error| match error.is_eof() {
        true => "it breaks off: the export is not all there".to_owned(),
        false => format!("it is no line of an export: {}", unlocated(&error)),
    })?;
    let AnyLine { collection, key, key_base64, value, value_base64, counts, state_hash } = line;
    let is_entry = counts.is_none() && state_hash.is_none();
    match (collection, counts, state_hash) {
        (Some(collection), _, _) if is_entry => Ok(Line::Entry {
            collection: collection.into_owned(),
            key: part("key", key, key_base64)?,
            value: part("value", value, value_base64)?,
        }),
        (None, Some(counts), Some(state_hash))
            if key.is_none() && key_base64.is_none() && value.is_none() && value_base64.is_none() =>
        {
            Ok(Line::Trailer(Trailer { counts, state_hash }))
        }
        _ => Err("it is neither an entry nor a trailer".to_owned()),
    }
}

fn part(name: &str, text: Option<String>, base64: Option<Cow<'_, str>>) -> Result<Bytes, String> {
    match (text, base64) {
        (Some(text), None) => Ok(text.into()),
        (None, Some(base64)) => {
            let bytes = STANDARD.decode(&*base64).map_err(|error| format!("`{name}_base64` is none: {error}"))?;
            Ok(bytes.into())
        }
        _ => Err(format!("it needs one of `{name}` and `{name}_base64`")),
    }
}

/// Cuts what comes in pieces of any length into lines.
#[derive(Debug, Default)]
pub(super) struct Splitter {
    rest: BytesMut,
    /// How much of the rest is known to have no end of a line.
    seen: usize,
    /// The number of the last line.
    pub(super) line: u64,
}

impl Splitter {
    pub(super) fn push(&mut self, piece: &[u8]) {
        self.rest.extend_from_slice(piece);
    }

    /// The next whole line, without its end.
    pub(super) fn next(&mut self) -> Result<Option<BytesMut>> {
        let Some(end) = self.rest[self.seen..].iter().position(|byte| *byte == b'\n') else {
            self.seen = self.rest.len();
            if self.seen > LINE_BYTES_MAX {
                let reason = format!("it is longer than {LINE_BYTES_MAX} bytes");
                return Err(Error::Line { line: self.line + 1, reason });
            }
            return Ok(None);
        };
        let mut line = self.rest.split_to(self.seen + end + 1);
        line.truncate(line.len() - 1);
        self.seen = 0;
        self.line += 1;
        Ok(Some(line))
    }

    /// What there is after the last end of a line.
    pub(super) fn last(&mut self) -> Option<BytesMut> {
        let line = std::mem::take(&mut self.rest);
        self.line += u64::from(!line.is_empty());
        (!line.is_empty()).then_some(line)
    }
}

/// What a fuzzer checks: it does not matter in which pieces lines come, and whatever is accepted is read the same once it
/// was written again.
#[cfg(feature = "test-util")]
pub(crate) fn check_lines(bytes: &[u8]) {
    let lines = split([bytes].into_iter());
    let piece_bytes = bytes.first().map_or(1, |byte| usize::from(*byte).max(1));
    assert_eq!(split(bytes.chunks(piece_bytes)), lines);
    for line in lines {
        if let Ok(header) = decode_header(&line) {
            let again = encode(&header);
            assert_eq!(decode_header(&again).map(|header| encode(&header)), Ok(again));
        }
        let Ok(decoded) = decode(&line) else { continue };
        let again = match &decoded {
            Line::Entry { collection, key, value } => encode_entry(collection, key, value),
            Line::Trailer(trailer) => encode(trailer),
        };
        assert_eq!(decode(&again), Ok(decoded));
    }
}

#[cfg(feature = "test-util")]
fn split<'a>(pieces: impl Iterator<Item = &'a [u8]>) -> Vec<BytesMut> {
    let mut splitter = Splitter::default();
    let mut lines = Vec::new();
    for piece in pieces {
        splitter.push(piece);
        while let Ok(Some(line)) = splitter.next() {
            lines.push(line);
        }
    }
    lines.extend(splitter.last());
    assert_eq!(splitter.line, lines.len() as u64);
    lines
}
