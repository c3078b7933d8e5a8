//! What is wrong with a definition, where, and what can be done about it.

use std::fmt;

use crate::node::Position;

/// How bad it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Severity {
    /// The definition can be used all the same.
    Warning,
    /// The definition cannot be used.
    Error,
}

/// One remark on a definition. Its `Display` is one line, in the style of compilers.
///
/// ```
/// use runyard_runconfig::{Diagnostic, Position, Severity};
///
/// let diagnostic = Diagnostic {
///     severity: Severity::Error,
///     file: ".runyard/config.yml".into(),
///     position: Position { line: 3, column: 5 },
///     path: "runs[0].tasks".into(),
///     message: "expected a list, found a map".into(),
///     hint: Some("begin every task with `- name:`".into()),
/// };
/// assert_eq!(
///     diagnostic.to_string(),
///     ".runyard/config.yml:3:5: error: runs[0].tasks: expected a list, found a map (hint: begin every task with `- name:`)"
/// );
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Diagnostic {
    /// How bad it is.
    pub severity: Severity,
    /// The file, as the caller named it.
    pub file: String,
    /// Line and column; zeros where the format has none.
    pub position: Position,
    /// Which value it is about, `runs[0].tasks[2].steps[1]`; empty: the whole file.
    pub path: String,
    /// What is wrong.
    pub message: String,
    /// What can be done about it.
    pub hint: Option<String>,
}

impl Diagnostic {
    /// Whether the definition cannot be used because of it.
    pub fn is_error(&self) -> bool {
        self.severity == Severity::Error
    }

    /// An error about a whole file.
    pub fn file_error(file: &str, position: Position, message: impl Into<String>) -> Self {
        Self {
            severity: Severity::Error,
            file: file.to_owned(),
            position,
            path: String::new(),
            message: message.into(),
            hint: None,
        }
    }

    /// The same, with what to do about it.
    #[must_use]
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }
}

impl fmt::Display for Severity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Warning => "warning",
            Self::Error => "error",
        })
    }
}

impl fmt::Display for Diagnostic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.file)?;
        if self.position.line > 0 {
            write!(f, ":{}", self.position)?;
        }
        write!(f, ": {}: ", self.severity)?;
        if !self.path.is_empty() {
            write!(f, "{}: ", self.path)?;
        }
        // A message may quote the definition, and a quoted line break would break the one line.
        f.write_str(&one_line(&self.message))?;
        match &self.hint {
            Some(hint) => write!(f, " (hint: {})", one_line(hint)),
            None => Ok(()),
        }
    }
}

fn one_line(text: &str) -> String {
    text.chars().map(|char| if char.is_control() { ' ' } else { char }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_diagnostic_without_a_position_and_with_line_breaks_is_still_one_line() {
        let diagnostic = Diagnostic::file_error("a.yml", Position::default(), "one\ntwo").hint("three\r\nfour");
        assert_eq!(diagnostic.to_string(), "a.yml: error: one two (hint: three  four)");
    }
}
