//! Cache keys: text with actions of Go's text/template, rendered in a task's environment.
//!
//! - `md5sum "file"`, `sha256sum "file"`: hex, of a file relative to the working directory
//! - `env "NAME"`, `os`, `arch` (as Go spells them)
//! - `unixtime` (nanoseconds), `year`, `month`, `day` (two digits; UTC)
//! - `printf`, `eq`, `ne`, `and`, `or`, `not`, pipes, parentheses, `if` / `else if` / `else` / `end`, comments,
//!   `{{-` and `-}}`, quoted and raw strings
//!
//! Data (`.`), variables, `range`, `with` and `define` have no meaning in a key and are errors.

mod eval;
mod lex;
mod parse;
mod printf;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::SystemTime;

/// What a template can see.
#[derive(Debug, Clone)]
pub struct Context {
    /// Where relative files are.
    pub working_dir: PathBuf,
    /// The variables of `env`; one that is missing is empty.
    pub environment: BTreeMap<String, String>,
    /// The time of `unixtime`, `year`, `month` and `day`.
    pub now: SystemTime,
}

/// A template that cannot be rendered.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("cache key template `{template}`, line {line}, column {column}: {message}")]
pub struct RenderError {
    /// The whole template.
    pub template: String,
    /// Where, from 1.
    pub line: usize,
    /// Where in the line, in characters from 1.
    pub column: usize,
    /// What is wrong.
    pub message: String,
}

/// A mistake at a byte of the template.
#[derive(Debug)]
struct Mistake {
    offset: usize,
    message: String,
}

impl Mistake {
    fn new(offset: usize, message: impl Into<String>) -> Self {
        Self { offset, message: message.into() }
    }
}

/// Renders `template`. Text without `{{` stays as it is.
///
/// ```
/// use runyard_toolbox::cachekey::{Context, render};
///
/// let context = Context {
///     working_dir: "/".into(),
///     environment: [("LANG".to_owned(), "C".to_owned())].into(),
///     now: std::time::UNIX_EPOCH,
/// };
/// assert_eq!(render(r#"deps-{{ env "LANG" }}-{{ year }}"#, &context)?, "deps-C-1970");
/// # Ok::<(), runyard_toolbox::cachekey::RenderError>(())
/// ```
///
/// # Errors
/// [`RenderError`] with the place of the mistake.
pub fn render(template: &str, context: &Context) -> Result<String, RenderError> {
    let rendered = lex::lex(template).and_then(|pieces| parse::parse(&pieces)).and_then(|nodes| {
        let mut key = String::new();
        eval::Evaluator { context }.nodes(&nodes, &mut key)?;
        Ok(key)
    });
    rendered.map_err(|Mistake { offset, message }| {
        let before = &template[..offset];
        let line_start = before.rfind('\n').map_or(0, |newline| newline + 1);
        RenderError {
            template: template.to_owned(),
            line: before.matches('\n').count() + 1,
            column: before[line_start..].chars().count() + 1,
            message,
        }
    })
}

#[cfg(test)]
mod tests;
