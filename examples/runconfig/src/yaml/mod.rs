//! YAML and JSON text into a tree with positions.
//!
//! One parser for both: JSON is a subset. Anchors and merge keys are resolved here; budgets bound what they may grow
//! to, so that a small file cannot become a large tree.

use std::collections::HashSet;

use serde::{Deserialize, Deserializer, de};
use serde_saphyr::{DuplicateKeyPolicy, Location, MergeKeyPolicy, Spanned, budget::BudgetBreach};

use crate::{
    Diagnostic, Severity,
    node::{Key, Node, NodeKind, Position, Scalar, ScalarKind},
};

/// The largest definition, in bytes.
pub const INPUT_BYTES_MAX: usize = 1024 * 1024;

/// The deepest nesting of lists and maps.
pub const DEPTH_MAX: usize = 24;

/// The most nodes of a tree, after aliases are replaced by what they stand for.
const NODES_MAX: usize = 200_000;

/// The most documents of a file, of which the first counts.
const DOCUMENTS_MAX: usize = 16;

/// What was read of a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tree {
    /// The first document.
    pub root: Node,
    /// Says that there are others.
    pub warning: Option<Diagnostic>,
}

/// Reads YAML or JSON.
///
/// # Errors
/// One diagnostic: a YAML parser cannot go on behind a broken place.
pub fn parse_tree(file: &str, text: &str) -> Result<Tree, Diagnostic> {
    if text.len() > INPUT_BYTES_MAX {
        let message = format!("the definition has {} bytes, and {INPUT_BYTES_MAX} are the most", text.len());
        return Err(Diagnostic::file_error(file, Position::default(), message)
            .hint("move long scripts into files of the repository"));
    }
    let options = serde_saphyr::options! {
        budget: serde_saphyr::budget! {
            max_depth: DEPTH_MAX,
            max_nodes: NODES_MAX,
            max_events: 4 * NODES_MAX,
            max_documents: DOCUMENTS_MAX,
            max_recorded_anchor_events: 4 * NODES_MAX,
            max_recorded_anchor_bytes: 8 * INPUT_BYTES_MAX,
            max_total_scalar_bytes: 8 * INPUT_BYTES_MAX,
            // One anchor that many tasks share is what anchors are for; the replay limits bound the bombs.
            enforce_alias_anchor_ratio: false,
        },
        alias_limits: serde_saphyr::alias_limits! { max_total_replayed_events: 4 * NODES_MAX },
        duplicate_keys: DuplicateKeyPolicy::PassThrough,
        // Merged below: the parser would remember every key of every map for it.
        merge_keys: MergeKeyPolicy::AsOrdinary,
        strict_booleans: true,
        non_finite_float_policy: serde_saphyr::NonFiniteFloatPolicy::AsString,
        ignore_binary_tag_for_string: true,
        with_snippet: false,
    };
    let documents: Vec<Placed> = serde_saphyr::from_multiple_with_options(text, options).map_err(|error| {
        let location = error.location().map(position).unwrap_or_default();
        Diagnostic::file_error(file, location, message(&error)).hint(hint(&error, text, location))
    })?;
    let mut documents = documents.into_iter();
    let root = match documents.next() {
        Some(raw) => node(text, raw).map_err(|(position, message)| {
            Diagnostic::file_error(file, position, message)
                .hint("write `key: value` here; a key is a word or in quotes, and `<<` takes a map")
        })?,
        None => Node { position: Position { line: 1, column: 1 }, kind: NodeKind::Null },
    };
    let warning = documents.next().map(|second| Diagnostic {
        severity: Severity::Warning,
        hint: Some("keep one document in the file".to_owned()),
        ..Diagnostic::file_error(file, second.position, "only the first document of the file is read")
    });
    Ok(Tree { root, warning })
}

/// What is wrong, without the place, which a diagnostic has of its own.
fn message(error: &serde_saphyr::Error) -> String {
    match error.without_snippet() {
        serde_saphyr::Error::AliasError { error, .. } => message(error),
        serde_saphyr::Error::Budget { breach: BudgetBreach::Depth { .. }, .. } => {
            format!("lists and maps are nested deeper than {DEPTH_MAX}")
        }
        serde_saphyr::Error::Budget { breach: BudgetBreach::Documents { .. }, .. } => {
            format!("the file has more than {DOCUMENTS_MAX} documents")
        }
        serde_saphyr::Error::Budget { .. } | serde_saphyr::Error::AliasReplayLimitExceeded { .. } => {
            format!("the definition has more than {NODES_MAX} values, counting what its aliases stand for")
        }
        other => {
            let text = other.to_string();
            let text = text.split_once(" at line ").map_or(text.as_str(), |(text, _)| text);
            format!("cannot be read as YAML or JSON: {text}")
        }
    }
}

/// What can be done about it.
fn hint(error: &serde_saphyr::Error, text: &str, place: Position) -> &'static str {
    match error.without_snippet() {
        serde_saphyr::Error::AliasError { error, .. } => return hint(error, text, place),
        serde_saphyr::Error::Budget { breach: BudgetBreach::Documents { .. }, .. } => {
            return "keep one document in the file";
        }
        serde_saphyr::Error::Budget { breach: BudgetBreach::Depth { .. }, .. } => {
            return "no definition needs to be so deep: look for brackets that are not closed";
        }
        serde_saphyr::Error::Budget { .. } | serde_saphyr::Error::AliasReplayLimitExceeded { .. } => {
            return "use fewer aliases, or split the definition into smaller runs";
        }
        _ => {}
    }
    // The parser may notice a tab only in the line behind it, and blame the line before for it.
    let line = usize::try_from(place.line).unwrap_or(usize::MAX);
    let is_tabbed = |line: &str| line.trim_start_matches(' ').starts_with('\t');
    if text.lines().take(line.saturating_add(1)).skip(line.saturating_sub(2)).any(is_tabbed) {
        "indent with spaces: YAML takes no tabs there"
    } else {
        "look here and at the line before for the indentation, quotes and brackets that are not closed"
    }
}

/// What the format takes a value for, before the source text is at hand.
enum Raw {
    Null,
    /// A boolean or a number: the kind, and a spelling for when the source has none.
    Typed(ScalarKind, String),
    Text(String),
    List(Vec<Placed>),
    Map(Vec<(Placed, Placed)>),
}

/// A value and where its text stands; behind an alias, that is where it is defined, which is what has to be mended.
///
/// As small as it can be: the deserializer moves each value some ten times.
struct Placed {
    raw: Raw,
    position: Position,
    /// Where the text begins and how long it is, in bytes; a length of 0: the parser does not say.
    begin: u32,
    length: u32,
}

impl<'de> Deserialize<'de> for Placed {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let Spanned { value, defined, .. } = Spanned::<Raw>::deserialize(deserializer)?;
        let span = defined.span();
        let bytes = span.byte_offset().zip(span.byte_len());
        // The input has at most a MiB.
        let small = |number: u64| u32::try_from(number).unwrap_or(0);
        let (begin, length) = bytes.map_or((0, 0), |(begin, length)| (small(begin), small(length)));
        Ok(Self { raw: value, position: position(defined), begin, length })
    }
}

impl<'de> Deserialize<'de> for Raw {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(RawVisitor)
    }
}

struct RawVisitor;

impl<'de> de::Visitor<'de> for RawVisitor {
    type Value = Raw;

    fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("a value")
    }

    fn visit_bool<E>(self, value: bool) -> Result<Raw, E> {
        Ok(Raw::Typed(ScalarKind::Bool, value.to_string()))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Raw, E> {
        Ok(Raw::Typed(ScalarKind::Number, value.to_string()))
    }

    fn visit_i128<E>(self, value: i128) -> Result<Raw, E> {
        Ok(Raw::Typed(ScalarKind::Number, value.to_string()))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Raw, E> {
        Ok(Raw::Typed(ScalarKind::Number, value.to_string()))
    }

    fn visit_u128<E>(self, value: u128) -> Result<Raw, E> {
        Ok(Raw::Typed(ScalarKind::Number, value.to_string()))
    }

    fn visit_f64<E>(self, value: f64) -> Result<Raw, E> {
        Ok(Raw::Typed(ScalarKind::Number, value.to_string()))
    }

    fn visit_str<E>(self, value: &str) -> Result<Raw, E> {
        Ok(Raw::Text(value.to_owned()))
    }

    fn visit_string<E>(self, value: String) -> Result<Raw, E> {
        Ok(Raw::Text(value))
    }

    fn visit_unit<E>(self) -> Result<Raw, E> {
        Ok(Raw::Null)
    }

    fn visit_none<E>(self) -> Result<Raw, E> {
        Ok(Raw::Null)
    }

    fn visit_some<D: Deserializer<'de>>(self, deserializer: D) -> Result<Raw, D::Error> {
        Raw::deserialize(deserializer)
    }

    fn visit_seq<A: de::SeqAccess<'de>>(self, mut access: A) -> Result<Raw, A::Error> {
        let mut items = Vec::new();
        while let Some(item) = access.next_element()? {
            items.push(item);
        }
        Ok(Raw::List(items))
    }

    fn visit_map<A: de::MapAccess<'de>>(self, mut access: A) -> Result<Raw, A::Error> {
        let mut entries = Vec::new();
        while let Some(entry) = access.next_entry()? {
            entries.push(entry);
        }
        Ok(Raw::Map(entries))
    }
}

fn position(location: Location) -> Position {
    let number = |value: u64| u32::try_from(value).unwrap_or(u32::MAX);
    Position { line: number(location.line()), column: number(location.column()) }
}

fn node(source: &str, placed: Placed) -> Result<Node, (Position, String)> {
    let at = placed.position;
    let slice = slice(source, &placed);
    let kind = match placed.raw {
        Raw::Null => NodeKind::Null,
        Raw::Typed(kind, spelling) => NodeKind::Scalar(Scalar { text: plain_text(slice).unwrap_or(spelling), kind }),
        // A number beyond all floats, such as the commit `12e4567`, arrives as infinity.
        Raw::Text(text) if matches!(text.as_str(), ".inf" | "-.inf" | ".nan") => {
            NodeKind::Scalar(Scalar { text: plain_text(slice).unwrap_or(text), kind: ScalarKind::Plain })
        }
        Raw::Text(text) => {
            let quoted = slice.is_none_or(|slice| slice.starts_with(['"', '\'']));
            NodeKind::Scalar(Scalar { text, kind: if quoted { ScalarKind::Quoted } else { ScalarKind::Plain } })
        }
        Raw::List(items) => NodeKind::List(items.into_iter().map(|item| node(source, item)).collect::<Result<_, _>>()?),
        Raw::Map(entries) => {
            let mut own = Vec::with_capacity(entries.len());
            let mut merged = Vec::new();
            for (key, value) in entries {
                let is_merge = matches!(&key.raw, Raw::Text(text) if text == "<<")
                    && self::slice(source, &key).is_some_and(|slice| slice.trim_end() == "<<");
                let (key, value) = (key_of(source, key)?, node(source, value)?);
                if is_merge { merge(value, &mut merged)? } else { own.push((key, value)) }
            }
            NodeKind::Map(with_merged(own, merged))
        }
    };
    Ok(Node { position: at, kind })
}

/// The entries that a merge key brings: those of a map, or of a list of maps.
fn merge(value: Node, merged: &mut Vec<(Key, Node)>) -> Result<(), (Position, String)> {
    match value.kind {
        NodeKind::Map(entries) => merged.extend(entries),
        NodeKind::List(items) => {
            for item in items {
                match item.kind {
                    NodeKind::Map(entries) => merged.extend(entries),
                    _ => return Err((item.position, format!("`<<` takes maps, and this is {}", item.describe()))),
                }
            }
        }
        NodeKind::Null => {}
        _ => return Err((value.position, format!("`<<` takes a map, and this is {}", value.describe()))),
    }
    Ok(())
}

/// The entries of a map with those that it merges: its own win, and of the merged ones the first.
fn with_merged(mut own: Vec<(Key, Node)>, merged: Vec<(Key, Node)>) -> Vec<(Key, Node)> {
    if !merged.is_empty() {
        let mut seen: HashSet<String> = own.iter().map(|(key, _)| key.text.clone()).collect();
        own.extend(merged.into_iter().filter(|(key, _)| seen.insert(key.text.clone())));
    }
    own
}

fn key_of(source: &str, placed: Placed) -> Result<Key, (Position, String)> {
    let node = node(source, placed)?;
    match node.kind {
        NodeKind::Scalar(scalar) => Ok(Key { position: node.position, text: scalar.text }),
        _ => Err((node.position, format!("a key must be a string, and this is {}", node.describe()))),
    }
}

fn slice<'s>(source: &'s str, placed: &Placed) -> Option<&'s str> {
    let begin = usize::try_from(placed.begin).ok()?;
    let length = usize::try_from(placed.length).ok().filter(|length| *length > 0)?;
    source.get(begin..begin.checked_add(length)?)
}

/// The text of a number or boolean as it is written: `1.10`, not `1.1`.
fn plain_text(slice: Option<&str>) -> Option<String> {
    let text = slice?.trim();
    let plain = |char: char| char.is_ascii_alphanumeric() || matches!(char, '+' | '-' | '.' | '_' | ':');
    (!text.is_empty() && text.chars().all(plain)).then(|| text.to_owned())
}

#[cfg(test)]
mod tests;
