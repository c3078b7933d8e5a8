//! How does what is in a database look to an operator? Pure.

use std::fmt::Write;

use runyard_datamanager::{Position, Report, Stats};
use serde_json::{Value, json};

use super::place::Database;

/// The line of an entry, for people.
pub(super) fn entry_text(collection: &str, key: &[u8], value: &[u8]) -> String {
    format!("{collection}  {}  {}\n", key_text(key), value_json(value))
}

/// The line of an entry, for programs.
pub(super) fn entry_json(collection: &str, key: &[u8], value: &[u8]) -> String {
    let entry = json!({ "collection": collection, "key": key_text(key), "value": value_json(value) });
    format!("{entry}\n")
}

/// Keys are text, positions or bytes.
fn key_text(key: &[u8]) -> String {
    let text = std::str::from_utf8(key).ok().filter(|text| !text.contains(char::is_control));
    match (text, Position::from_append_key(key)) {
        (Some(text), _) => text.to_owned(),
        (None, Some((position, number))) => format!("{position}#{number}"),
        (None, None) => hex(key),
    }
}

/// Values are JSON, or shown as if they were.
fn value_json(value: &[u8]) -> Value {
    match (serde_json::from_slice(value), std::str::from_utf8(value)) {
        (Ok(value), _) => value,
        (_, Ok(text)) => text.into(),
        _ => hex(value).into(),
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold("0x".to_owned(), |text, byte| format!("{text}{byte:02x}"))
}

pub(super) fn report_json(database: Database, report: &Report) -> Value {
    let damaged = report.damaged.iter();
    let damaged = damaged.map(|it| json!({ "object": it.object, "reason": it.reason, "advice": it.advice }));
    json!({
        "database": database.to_string(),
        "sound": report.is_sound(),
        "damaged": damaged.collect::<Vec<_>>(),
        "orphans": report.orphans,
        "foreign": report.foreign,
        "objects": report.objects,
        "bytes": report.bytes,
        "checkpoints": report.manifests,
        "batches": report.batches,
        "entries": report.entries,
        "position": report.position.map(|position| position.to_string()),
        "maintenance": report.maintenance,
        "state_hash": report.state_hash.map(|hash| hash.iter().map(|byte| format!("{byte:02x}")).collect::<String>()),
    })
}

pub(super) fn report_text(database: Database, report: &Report) -> String {
    let Report { objects, bytes, manifests, batches, .. } = report;
    let state = if report.is_sound() { "sound" } else { "DAMAGED" };
    let mut text = format!(
        "Database {database} is {state}: {objects} objects, {bytes} bytes; {manifests} checkpoints, {batches} batches of the log"
    );
    if let (Some(entries), Some(position)) = (report.entries, report.position) {
        let _ = write!(text, "; {entries} entries at position {position}");
    }
    if let Some(reason) = &report.maintenance {
        let _ = write!(text, "\n  in maintenance: {reason}");
    }
    for damaged in &report.damaged {
        let _ = write!(text, "\n  {}: {}\n    {}", damaged.object, damaged.reason, damaged.advice);
        if damaged.advice.contains("previous_manifest") {
            let _ = write!(text, ": `runyard data checkpoint --database {database} --from-previous`");
        }
    }
    for foreign in &report.foreign {
        let _ = write!(text, "\n  {foreign}: it is none of the database's, and nobody reads it");
    }
    text
}

pub(super) fn stats_json(database: Database, stats: &Stats) -> Value {
    let collections = stats.collections.iter().map(|(name, of)| {
        let of = json!({
            "entries": of.entries,
            "base_files": of.base_files,
            "delta_files": of.delta_files,
            "bytes": of.bytes,
        });
        (name.clone(), of)
    });
    json!({
        "database": database.to_string(),
        "position": stats.position.to_string(),
        "checkpoint": stats.checkpoint,
        "checkpoint_position": stats.checkpoint_position.to_string(),
        "collections": collections.collect::<serde_json::Map<_, _>>(),
        "log_objects": stats.log_objects,
        "log_bytes": stats.log_bytes,
        "uncovered_batches": stats.uncovered_batches,
        "uncovered_bytes": stats.uncovered_bytes,
        "floor": stats.floor,
        "maintenance": stats.maintenance,
    })
}

pub(super) fn stats_text(database: Database, stats: &Stats) -> String {
    let mut text = format!("Database {database} at position {}", stats.position);
    let _ = match stats.checkpoint {
        0 => write!(text, "\n  checkpoint   none yet"),
        number => write!(text, "\n  checkpoint   {number}, up to position {}", stats.checkpoint_position),
    };
    let Stats { log_objects, log_bytes, uncovered_batches, uncovered_bytes, .. } = stats;
    let _ = write!(
        text,
        "\n  log          {log_objects} objects, {log_bytes} bytes; {uncovered_batches} of them after the checkpoint, \
         {uncovered_bytes} bytes"
    );
    if stats.floor > 0 {
        let _ = write!(text, "\n  floor        what is below {} is deleted, or about to be", stats.floor);
    }
    if let Some(reason) = &stats.maintenance {
        let _ = write!(text, "\n  maintenance  {reason}");
    }
    let width = stats.collections.keys().map(String::len).max().unwrap_or_default();
    for (name, of) in &stats.collections {
        let (entries, base, deltas, bytes) = (of.entries, of.base_files, of.delta_files, of.bytes);
        let _ = write!(text, "\n  {name:width$}  {entries} entries, {base} files and {deltas} deltas, {bytes} bytes");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_entry_is_shown_readably_whatever_it_is() {
        let appended = Position { lsn: 7, index: 1 }.append_key(2);
        for (key, value, expected) in [
            (&b"p/1"[..], &br#"{"b":1}"#[..], "c  p/1  {\"b\":1}\n"),
            (b"\xff\x00", b"plain", "c  0xff00  \"plain\"\n"),
            (&appended, b"\xfe", "c  7.1#2  \"0xfe\"\n"),
            (b"empty", b"", "c  empty  \"\"\n"),
        ] {
            assert_eq!(entry_text("c", key, value), expected);
        }
        assert_eq!(entry_json("c", b"k", b"[1]"), "{\"collection\":\"c\",\"key\":\"k\",\"value\":[1]}\n");
    }
}
