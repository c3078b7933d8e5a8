//! Which runs does the directory define for this commit?

use std::{fs, io, path::Path};

use runyard_runconfig::{
    CompileContext, Compiled, Diagnostic, Format, compile,
    definition::{Definition, RunDefinition},
    discover, nearest, not_found,
};

use crate::evaluate::{self, Ctx};

/// Why there is nothing to run.
#[derive(Debug, thiserror::Error)]
pub(crate) enum DefinitionError {
    #[error("directory `{dir}` cannot be read")]
    Directory { dir: String, source: io::Error },
    #[error("`{0}` is not a directory: give the directory that has `.runyard/config.yml` in it")]
    NotADirectory(String),
    #[error("definition `{file}` cannot be read")]
    File { file: String, source: io::Error },
    /// Every diagnostic on a line of its own.
    #[error("{}", lines(.0))]
    Diagnostics(Vec<Diagnostic>),
    #[error("there is no run `{name}` in `{file}`{}; it has {runs}", meant(.nearest.as_deref()))]
    UnknownRun { name: String, file: String, nearest: Option<String>, runs: String },
    #[error("no run of `{file}` is for {reference}: choose one with --run ({runs}), or another branch with --branch")]
    NothingMatches { file: String, reference: String, runs: String },
}

fn lines(diagnostics: &[Diagnostic]) -> String {
    diagnostics.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n")
}

fn meant(nearest: Option<&str>) -> String {
    nearest.map(|nearest| format!(", did you mean `{nearest}`?")).unwrap_or_default()
}

/// The file that defines the runs of a directory.
#[derive(Clone, Debug)]
pub(crate) struct Found {
    pub(crate) file: String,
    format: Format,
    text: String,
    warnings: Vec<Diagnostic>,
}

impl Found {
    /// Reads the definition, with what a user should know of it.
    pub(crate) async fn read(self, ctx: &Ctx) -> Result<(Definition, Vec<Diagnostic>), DefinitionError> {
        let parsed = evaluate::read(&self.file, self.format, &self.text, ctx).await;
        let (definition, remarks) = parsed.into_result().map_err(DefinitionError::Diagnostics)?;
        Ok((definition, self.warnings.into_iter().chain(remarks).collect()))
    }
}

/// Finds the definition of a directory.
pub(crate) fn find(dir: &Path) -> Result<Found, DefinitionError> {
    let shown = dir.display().to_string();
    let unreadable = |source| DefinitionError::Directory { dir: shown.clone(), source };
    if !fs::metadata(dir).map_err(unreadable)?.is_dir() {
        return Err(DefinitionError::NotADirectory(shown));
    }
    fs::read_dir(dir).map_err(unreadable)?;
    let Some(found) = discover(|path| dir.join(path).exists()) else {
        let mut diagnostic = not_found();
        diagnostic.file = dir.join(diagnostic.file).display().to_string();
        return Err(DefinitionError::Diagnostics(vec![diagnostic]));
    };
    let path = dir.join(found.candidate.path);
    // What an editor or a terminal can jump to.
    let file = path.strip_prefix(".").unwrap_or(&path).display().to_string();
    let text = fs::read_to_string(&path).map_err(|source| DefinitionError::File { file: file.clone(), source })?;
    Ok(Found { file, format: found.candidate.format, text, warnings: found.warnings })
}

/// Compiles the runs that were asked for by name, whatever their `when` says, or else those that are for this commit.
pub(crate) fn select(
    mut definition: Definition,
    names: &[String],
    context: &CompileContext,
) -> Result<Compiled, DefinitionError> {
    let all = run_names(&definition.runs);
    let file = definition.file.clone();
    let known = |name: &str| definition.runs.iter().any(|run| run.name == name);
    if let Some(name) = names.iter().find(|name| !known(name)) {
        let nearest = nearest(name, definition.runs.iter().map(|run| run.name.as_str())).map(str::to_owned);
        return Err(DefinitionError::UnknownRun { name: name.clone(), file, nearest, runs: all });
    }
    if !names.is_empty() {
        definition.runs.retain(|run| names.contains(&run.name));
        definition.runs.iter_mut().for_each(|run| run.when = None);
    }
    let compiled = compile(&definition, context).map_err(DefinitionError::Diagnostics)?;
    if compiled.runs.is_empty() {
        return Err(DefinitionError::NothingMatches { file, reference: context.git_ref.clone(), runs: all });
    }
    Ok(compiled)
}

fn run_names(runs: &[RunDefinition]) -> String {
    runs.iter().map(|run| format!("`{}`", run.name)).collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use runyard_runconfig::parse;
    use runyard_runservice_core::model::GroupPath;

    use super::*;

    const TWO_RUNS: &str = "
runs:
  - name: build
    when: { branch: main }
    tasks: []
  - name: release
    when: { tag: '#v.*#' }
    tasks: []
";

    fn selected(names: &[&str], branch: &str) -> Result<Vec<String>, DefinitionError> {
        let (definition, _) = parse("c.yml", Format::Yaml, TWO_RUNS).into_result().expect("sound");
        let mut context = CompileContext::new(GroupPath::new("local", "x").expect("valid"));
        context.branch = branch.to_owned();
        context.git_ref = format!("refs/heads/{branch}");
        let names: Vec<_> = names.iter().map(|name| (*name).to_owned()).collect();
        Ok(select(definition, &names, &context)?.runs.into_iter().map(|run| run.name).collect())
    }

    #[test]
    fn runs_are_those_for_the_branch_or_those_that_are_named() {
        assert_eq!(selected(&[], "main").expect("one"), ["build"]);
        assert_eq!(selected(&["release"], "main").expect("named"), ["release"]);
        let none = selected(&[], "other").expect_err("nothing").to_string();
        assert!(none.contains("refs/heads/other") && none.contains("`release`"), "{none}");
    }

    #[test]
    fn a_mistyped_run_is_recognised() {
        let error = selected(&["relaese"], "main").expect_err("unknown").to_string();
        assert!(error.contains("did you mean `release`?"), "{error}");
    }

    #[test]
    fn a_directory_without_a_definition_says_what_was_looked_for() {
        let dir = tempfile::tempdir().expect("a directory");
        let error = find(dir.path()).expect_err("empty").to_string();
        assert!(error.contains(".runyard/config.yml"), "{error}");
        let error = find(&dir.path().join("none")).expect_err("missing").to_string();
        assert!(error.contains("none"), "{error}");
    }
}
