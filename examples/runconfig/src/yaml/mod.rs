//! YAML and JSON text into a tree with positions.
//!
//! One parser for both: JSON is a subset. `build.rs` makes the tree of its events.

mod build;
mod merge;
mod scalar;

use crate::{
    Diagnostic, Severity,
    node::{Node, NodeKind, Position},
};

/// The largest definition, in bytes.
pub const INPUT_BYTES_MAX: usize = 1024 * 1024;

/// The deepest nesting of lists and maps.
pub const DEPTH_MAX: usize = 24;

/// The most nodes of a tree, after aliases are replaced by what they stand for.
const NODES_MAX: usize = 200_000;

/// The most bytes of text of a tree, after aliases are replaced by what they stand for.
const TEXT_BYTES_MAX: usize = 8 * INPUT_BYTES_MAX;

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
    let mut documents = build::documents(text).map_err(|failure| failure.diagnostic(file, text))?.into_iter();
    let root = documents.next().unwrap_or(Node { position: Position { line: 1, column: 1 }, kind: NodeKind::Null });
    let warning = documents.next().map(|second| Diagnostic {
        severity: Severity::Warning,
        hint: Some("keep one document in the file".to_owned()),
        ..Diagnostic::file_error(file, second.position, "only the first document of the file is read")
    });
    Ok(Tree { root, warning })
}

/// Why a file is not read.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Failure {
    /// It is no YAML.
    Broken {
        position: Position,
        message: String,
    },
    /// Something of it is no value where it stands.
    Misplaced {
        position: Position,
        message: String,
    },
    TooDeep {
        position: Position,
    },
    TooLarge {
        position: Position,
    },
    TooManyDocuments {
        position: Position,
    },
}

impl Failure {
    /// What is wrong, and what can be done about it.
    fn diagnostic(self, file: &str, text: &str) -> Diagnostic {
        let (position, message, hint) = match self {
            Self::Broken { position, message } => {
                (position, format!("cannot be read as YAML or JSON: {message}"), broken_hint(text, position))
            }
            Self::Misplaced { position, message } => {
                (position, message, "write `key: value` here; a key is a word or in quotes, and `<<` takes a map")
            }
            Self::TooDeep { position } => (
                position,
                format!("lists and maps are nested deeper than {DEPTH_MAX}"),
                "no definition needs to be so deep: look for brackets that are not closed",
            ),
            Self::TooLarge { position } => (
                position,
                format!("the definition has more than {NODES_MAX} values, counting what its aliases stand for"),
                "use fewer aliases, or split the definition into smaller runs",
            ),
            Self::TooManyDocuments { position } => {
                (position, format!("the file has more than {DOCUMENTS_MAX} documents"), "keep one document in the file")
            }
        };
        Diagnostic::file_error(file, position, message).hint(hint)
    }
}

fn broken_hint(text: &str, place: Position) -> &'static str {
    // The parser may notice a tab only in the line behind it, and blame the line before for it.
    let line = usize::try_from(place.line).unwrap_or(usize::MAX);
    let is_tabbed = |line: &str| line.trim_start_matches(' ').starts_with('\t');
    if text.lines().take(line.saturating_add(1)).skip(line.saturating_sub(2)).any(is_tabbed) {
        "indent with spaces: YAML takes no tabs there"
    } else {
        "look here and at the line before for the indentation, quotes and brackets that are not closed"
    }
}

#[cfg(test)]
mod tests;
