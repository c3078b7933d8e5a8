//! `runyard config ...`

use std::path::PathBuf;

use clap::{Args, Subcommand, ValueEnum};
use runyard_runconfig::Diagnostic;

use super::{Failure, output};
use crate::local::config::{self, Reference};

#[derive(Debug, Subcommand)]
pub(super) enum ConfigCommand {
    /// Say what is wrong with a definition
    #[command(
        after_help = "Examples:\n  runyard config check\n  runyard config check --tag v1.2.0 --format github\n\n\
        Exit status: 0 if there is no error; warnings are none."
    )]
    Check {
        #[command(flatten)]
        what: WhatArgs,
        /// How to print what is wrong
        #[arg(long, value_enum, default_value_t = Format::Text)]
        format: Format,
    },
    /// Print the runs that a definition comes to, as JSON
    #[command(after_help = "Examples:\n  runyard config show\n  runyard config show examples/hello --pull-request 17")]
    Show {
        #[command(flatten)]
        what: WhatArgs,
    },
    /// Print the JSON Schema of definitions, for editors
    #[command(after_help = "Example:\n  runyard config schema > runyard.schema.json")]
    Schema,
}

#[derive(Debug, Args)]
pub(super) struct WhatArgs {
    /// The directory with the definition
    #[arg(default_value = ".")]
    dir: PathBuf,
    /// As if this branch was pushed [default: the one that is checked out]
    #[arg(long, value_name = "BRANCH", conflicts_with_all = ["tag", "pull_request"])]
    branch: Option<String>,
    /// As if this tag was pushed
    #[arg(long, value_name = "TAG", conflicts_with = "pull_request")]
    tag: Option<String>,
    /// As if this pull request was opened
    #[arg(long, value_name = "ID")]
    pull_request: Option<String>,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
pub(super) enum Format {
    /// A line for each
    Text,
    /// Annotations of GitHub workflows
    Github,
}

impl WhatArgs {
    fn reference(&self) -> Reference {
        let given = |name: &Option<String>, reference: fn(String) -> Reference| name.clone().map(reference);
        given(&self.branch, Reference::Branch)
            .or_else(|| given(&self.tag, Reference::Tag))
            .or_else(|| given(&self.pull_request, Reference::PullRequest))
            .unwrap_or(Reference::Current)
    }
}

pub(super) async fn run(command: ConfigCommand, json: bool) -> Result<(), Failure> {
    match command {
        ConfigCommand::Schema => output::json(&runyard_runconfig::schema()),
        ConfigCommand::Check { what, format } => {
            let defined = config::read(&what.dir, &what.reference()).await?;
            for diagnostic in &defined.diagnostics {
                match format {
                    _ if json => output::json(&as_json(diagnostic))?,
                    Format::Text => output::line(format_args!("{diagnostic}"))?,
                    Format::Github => output::line(format_args!("{}", annotation(diagnostic)))?,
                }
            }
            refuse_errors(&defined.diagnostics)
        }
        ConfigCommand::Show { what } => {
            let defined = config::read(&what.dir, &what.reference()).await?;
            defined.diagnostics.iter().for_each(|diagnostic| eprintln!("{diagnostic}"));
            refuse_errors(&defined.diagnostics)?;
            output::json(&defined.runs)
        }
    }
}

fn refuse_errors(diagnostics: &[Diagnostic]) -> Result<(), Failure> {
    match diagnostics.iter().filter(|diagnostic| diagnostic.is_error()).count() {
        0 => Ok(()),
        1 => Err("the definition has an error".into()),
        errors => Err(format!("the definition has {errors} errors").into()),
    }
}

fn as_json(diagnostic: &Diagnostic) -> serde_json::Value {
    let Diagnostic { severity, file, position, path, message, hint } = diagnostic;
    serde_json::json!({
        "severity": severity.to_string(), "file": file, "line": position.line, "column": position.column,
        "path": path, "message": message, "hint": hint,
    })
}

/// A line that GitHub shows beside the file (docs.github.com, "Workflow commands", "Setting an error message").
fn annotation(diagnostic: &Diagnostic) -> String {
    let Diagnostic { severity, file, position, path, message, hint } = diagnostic;
    let property = |text: &str| data(text).replace(':', "%3A").replace(',', "%2C");
    let mut line = format!("::{severity} file={}", property(file));
    if position.line > 0 {
        line += &format!(",line={},col={}", position.line, position.column.max(1));
    }
    if !path.is_empty() {
        line += &format!(",title={}", property(path));
    }
    let hint = hint.as_ref().map(|hint| format!("\n{hint}")).unwrap_or_default();
    line + "::" + &data(&format!("{message}{hint}"))
}

fn data(text: &str) -> String {
    text.replace('%', "%25").replace('\r', "%0D").replace('\n', "%0A")
}

#[cfg(test)]
mod tests {
    use runyard_runconfig::{Position, Severity};

    use super::*;

    #[test]
    fn what_github_would_misread_is_escaped() {
        let diagnostic = Diagnostic {
            severity: Severity::Error,
            file: "a,b:c.yml".into(),
            position: Position { line: 3, column: 0 },
            path: "runs[0]".into(),
            message: "100 % wrong".into(),
            hint: Some("mend it".into()),
        };
        let expected = "::error file=a%2Cb%3Ac.yml,line=3,col=1,title=runs[0]::100 %25 wrong%0Amend it";
        assert_eq!(annotation(&diagnostic), expected);
    }
}
