//! Where may a repository keep its definition, and which of those files counts?
//!
//! Pure: callers look into a directory, a git tree or an archive, whichever they have.

use crate::{Diagnostic, Severity, node::Position};

/// The languages that a definition may be written in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Format {
    /// A program that defines `main(ctx)`.
    Starlark,
    /// A program that is an object, or a function of `ctx`.
    Jsonnet,
    /// Plain data.
    Json,
    /// Plain data.
    Yaml,
}

impl Format {
    /// The format that the name of a file promises, if it is one of these.
    pub fn of_path(path: &str) -> Option<Self> {
        let (_, extension) = path.rsplit_once('.')?;
        Some(match extension {
            "star" => Self::Starlark,
            "jsonnet" => Self::Jsonnet,
            "json" => Self::Json,
            "yml" | "yaml" => Self::Yaml,
            _ => return None,
        })
    }
}

/// A path at which a definition may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Candidate {
    /// The path below the root of the repository.
    pub path: &'static str,
    /// What is expected there.
    pub format: Format,
}

const fn candidate(path: &'static str, format: Format) -> Candidate {
    Candidate { path, format }
}

/// Every path at which a definition may be; the first that exists counts.
pub const CANDIDATES: [Candidate; 10] = [
    candidate(".runyard/config.star", Format::Starlark),
    candidate(".runyard/config.jsonnet", Format::Jsonnet),
    candidate(".runyard/config.json", Format::Json),
    candidate(".runyard/config.yml", Format::Yaml),
    candidate(".runyard/config.yaml", Format::Yaml),
    candidate(".agola/config.star", Format::Starlark),
    candidate(".agola/config.jsonnet", Format::Jsonnet),
    candidate(".agola/config.json", Format::Json),
    candidate(".agola/config.yml", Format::Yaml),
    candidate(".agola/config.yaml", Format::Yaml),
];

/// The file that counts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Discovered {
    /// Where it is and what it is written in.
    pub candidate: Candidate,
    /// Says that other files exist, which do not count.
    pub warnings: Vec<Diagnostic>,
}

/// Chooses the file that counts, given which paths exist. None exists: `None`.
///
/// ```
/// use runyard_runconfig::discover;
///
/// let files = [".agola/config.yml", ".runyard/config.yml"];
/// let found = discover(|path| files.contains(&path)).expect("there is one");
/// assert_eq!(found.candidate.path, ".runyard/config.yml");
/// assert_eq!(found.warnings.len(), 1);
/// ```
pub fn discover(exists: impl Fn(&str) -> bool) -> Option<Discovered> {
    let mut present = CANDIDATES.into_iter().filter(|candidate| exists(candidate.path));
    let candidate = present.next()?;
    let warnings = present
        .map(|other| Diagnostic {
            severity: Severity::Warning,
            file: other.path.to_owned(),
            position: Position::default(),
            path: String::new(),
            message: format!("this file is not read, because `{}` exists", candidate.path),
            hint: Some("keep one of the two".to_owned()),
        })
        .collect();
    Some(Discovered { candidate, warnings })
}

/// What to tell a user whose repository has no definition.
pub fn not_found() -> Diagnostic {
    Diagnostic::file_error(".runyard", Position::default(), "the repository has no run definition")
        .hint("add `.runyard/config.yml`, or config.yaml or config.json there")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn path_of(files: &[&str]) -> Option<&'static str> {
        discover(|path| files.contains(&path)).map(|found| found.candidate.path)
    }

    #[test]
    fn programs_come_before_data_and_runyard_before_agola() {
        assert_eq!(path_of(&[]), None);
        assert_eq!(path_of(&[".agola/config.yaml"]), Some(".agola/config.yaml"));
        assert_eq!(path_of(&[".agola/config.star", ".runyard/config.yaml"]), Some(".runyard/config.yaml"));
        assert_eq!(path_of(&[".agola/config.yml", ".agola/config.json"]), Some(".agola/config.json"));
        assert_eq!(path_of(&[".runyard/config.yml", ".runyard/config.star"]), Some(".runyard/config.star"));
    }

    #[test]
    fn every_candidate_has_the_format_of_its_name() {
        for candidate in CANDIDATES {
            assert_eq!(Format::of_path(candidate.path), Some(candidate.format), "{}", candidate.path);
        }
        assert_eq!(Format::of_path("config.toml"), None);
        assert_eq!(Format::of_path("config"), None);
    }
}
