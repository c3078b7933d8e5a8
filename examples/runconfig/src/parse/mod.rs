//! From a tree to a typed definition, with every error that there is, at once.
//!
//! Whatever cannot be read is reported and left out, and reading goes on beside it.

pub(crate) mod auth;
pub(crate) mod depends;
pub(crate) mod extra;
pub(crate) mod fields;
pub(crate) mod run;
pub(crate) mod runtime;
pub(crate) mod scalar;
pub(crate) mod step;
pub(crate) mod task;
pub(crate) mod when;

use std::{
    collections::HashSet,
    fmt::{self, Write as _},
    rc::Rc,
};

use crate::{
    Diagnostic, Severity,
    definition::{Definition, Version},
    discover::Format,
    node::{Node, Position},
    yaml,
};

/// What became of a definition.
#[derive(Clone, Debug)]
pub struct Parsed {
    /// The definition; absent if there is an error.
    pub definition: Option<Definition>,
    /// All errors and warnings, in the order of the file.
    pub diagnostics: Vec<Diagnostic>,
}

impl Parsed {
    fn failed(diagnostic: Diagnostic) -> Self {
        Self { definition: None, diagnostics: vec![diagnostic] }
    }

    /// The definition with the warnings, or all diagnostics if one of them is an error.
    ///
    /// # Errors
    /// The diagnostics, as [`setup_error_run`](crate::setup_error_run) takes them.
    pub fn into_result(self) -> Result<(Definition, Vec<Diagnostic>), Vec<Diagnostic>> {
        match self.definition {
            Some(definition) => Ok((definition, self.diagnostics)),
            None => Err(self.diagnostics),
        }
    }
}

/// Reads a definition. `file` is what diagnostics call it.
///
/// Starlark and Jsonnet have to be evaluated first; hand the result to [`parse_node`].
pub fn parse(file: &str, format: Format, text: &str) -> Parsed {
    match format {
        Format::Yaml | Format::Json => match yaml::parse_tree(file, text) {
            Ok(tree) => {
                let mut parsed = parse_node(file, &tree.root);
                parsed.diagnostics.extend(tree.warning);
                parsed
            }
            Err(diagnostic) => Parsed::failed(diagnostic),
        },
        Format::Starlark | Format::Jsonnet => Parsed::failed(
            Diagnostic::file_error(file, Position::default(), "this language cannot be evaluated here")
                .hint("write the definition as `config.yml` or `config.json`, or evaluate it first"),
        ),
    }
}

/// Reads a definition from a tree, whichever language made it.
pub fn parse_node(file: &str, root: &Node) -> Parsed {
    let mut reader = Reader { file, version: Version::V0, diagnostics: Vec::new() };
    let definition = run::definition(&mut reader, &At { node: root, path: Path::default() });
    let mut diagnostics = reader.diagnostics;
    diagnostics.sort_by_key(|diagnostic| diagnostic.position);
    // Aliases make one broken place be seen several times, with another path each: mending it once is enough.
    let mut seen = HashSet::new();
    diagnostics.retain(|diagnostic| {
        diagnostic.position == Position::default() || seen.insert((diagnostic.position, diagnostic.message.clone()))
    });
    let definition = definition.filter(|_| !diagnostics.iter().any(Diagnostic::is_error));
    Parsed { definition, diagnostics }
}

/// How much of a key a path repeats; no name of the language is longer.
const PATH_KEY_CHARS_MAX: usize = 100;

/// A node and the path that leads to it.
#[derive(Clone, Debug)]
struct At<'n> {
    node: &'n Node,
    path: Path<'n>,
}

/// The path to a node, `runs[0].tasks[2]`, as links that lead back to the root: nearly every path is never shown.
#[derive(Clone, Debug, Default)]
struct Path<'n>(Option<Rc<(Path<'n>, Segment<'n>)>>);

#[derive(Clone, Copy, Debug)]
enum Segment<'n> {
    Key(&'n str),
    Index(usize),
}

impl fmt::Display for Path<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Some((before, segment)) = self.0.as_deref() else { return Ok(()) };
        before.fmt(f)?;
        match segment {
            Segment::Index(index) => write!(f, "[{index}]"),
            Segment::Key(key) => {
                if before.0.is_some() {
                    f.write_str(".")?;
                }
                // A key may be as long as the file, and everything below it repeats the path.
                key.chars().take(PATH_KEY_CHARS_MAX).try_for_each(|char| f.write_char(char))
            }
        }
    }
}

impl<'n> At<'n> {
    fn key(&self, key: &'n str, node: &'n Node) -> Self {
        Self { node, path: Path(Some(Rc::new((self.path.clone(), Segment::Key(key))))) }
    }

    fn index(&self, index: usize, node: &'n Node) -> Self {
        Self { node, path: Path(Some(Rc::new((self.path.clone(), Segment::Index(index))))) }
    }
}

/// Reads nodes and collects what is wrong with them.
#[derive(Debug)]
struct Reader<'f> {
    file: &'f str,
    version: Version,
    diagnostics: Vec<Diagnostic>,
}

impl Reader<'_> {
    fn v1(&self) -> bool {
        self.version == Version::V1
    }

    fn report(&mut self, severity: Severity, position: Position, path: &Path<'_>, message: String, hint: &str) {
        self.diagnostics.push(Diagnostic {
            severity,
            file: self.file.to_owned(),
            position,
            path: path.to_string(),
            message,
            hint: Some(hint.to_owned()),
        });
    }

    /// Reports an error.
    fn error(&mut self, at: &At<'_>, message: impl fmt::Display, hint: &str) {
        self.report(Severity::Error, at.node.position, &at.path, message.to_string(), hint);
    }

    /// Reports a warning.
    fn warning(&mut self, at: &At<'_>, message: impl fmt::Display, hint: &str) {
        self.report(Severity::Warning, at.node.position, &at.path, message.to_string(), hint);
    }

    /// Reports what was tolerated in `v0`: a warning there, an error in `v1`.
    fn lapse(&mut self, position: Position, path: &Path<'_>, message: String, hint: &str) {
        let severity = if self.v1() { Severity::Error } else { Severity::Warning };
        self.report(severity, position, path, message, hint);
    }
}
