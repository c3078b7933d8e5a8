//! Does a `when` match what a run is created for?

use std::fmt;

use globset::{GlobBuilder, GlobMatcher};
use regex::bytes::Regex;

use crate::{definition::Version, go_regex};

/// What a run is created for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum RefType {
    /// A push to a branch.
    #[default]
    Branch,
    /// A pushed tag.
    Tag,
    /// A pull request.
    PullRequest,
}

impl RefType {
    /// The type as the environment of a task spells it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Branch => "branch",
            Self::Tag => "tag",
            Self::PullRequest => "pull_request",
        }
    }
}

impl fmt::Display for RefType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// What a `when` is compared with. What is empty never matches.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RefNames<'a> {
    /// What the run is created for.
    pub ref_type: RefType,
    /// The name of the branch; counts only for branches.
    pub branch: &'a str,
    /// The name of the tag; counts only for tags.
    pub tag: &'a str,
    /// The whole reference, `refs/heads/main`; always counts.
    pub git_ref: &'a str,
}

/// On which references something happens. Without conditions: never.
#[derive(Clone, Debug, Default)]
pub struct When {
    /// Which branches.
    pub branch: Option<Conditions>,
    /// Which tags.
    pub tag: Option<Conditions>,
    /// Which references of any kind.
    pub git_ref: Option<Conditions>,
    /// Whether excludes alone mean "all but these" (`v1`) or never match (`v0`).
    pub excludes_stand_alone: bool,
}

/// Which names match and which do not.
#[derive(Clone, Debug, Default)]
pub struct Conditions {
    /// One of these must match.
    pub include: Vec<Pattern>,
    /// None of these may match.
    pub exclude: Vec<Pattern>,
}

/// What a name is compared with.
#[derive(Clone, Debug)]
pub enum Pattern {
    /// It is this.
    Exact(String),
    /// It contains a match of this.
    Regex(Regex),
    /// It is, as a whole, a match of this.
    Glob(Box<GlobMatcher>),
}

impl Pattern {
    /// Reads a pattern: `/re/` or `#re#` is a regular expression; in `v1`, `release/*` is a glob; anything else is
    /// exact.
    ///
    /// ```
    /// use runyard_runconfig::{Pattern, definition::Version};
    ///
    /// assert!(Pattern::parse("/^v[0-9]+/", Version::V0)?.matches("v12"));
    /// assert!(Pattern::parse("release/*", Version::V1)?.matches("release/7"));
    /// assert!(!Pattern::parse("release/*", Version::V0)?.matches("release/7"));
    /// # Ok::<(), String>(())
    /// ```
    ///
    /// # Errors
    /// What is wrong with the expression.
    pub fn parse(text: &str, version: Version) -> Result<Self, String> {
        for delimiter in ['/', '#'] {
            let inner = text.strip_prefix(delimiter).and_then(|text| text.strip_suffix(delimiter));
            if let Some(inner) = inner.filter(|inner| !inner.is_empty()) {
                return go_regex::compile(inner).map(Self::Regex);
            }
        }
        if version == Version::V1 && text.contains(['*', '?', '[', '{']) {
            let glob = GlobBuilder::new(text).literal_separator(true).backslash_escape(true).build();
            let glob = glob.map_err(|error| error.kind().to_string())?;
            return Ok(Self::Glob(Box::new(glob.compile_matcher())));
        }
        Ok(Self::Exact(text.to_owned()))
    }

    /// Whether a name matches.
    pub fn matches(&self, name: &str) -> bool {
        match self {
            Self::Exact(text) => text == name,
            Self::Regex(regex) => regex.is_match(name.as_bytes()),
            Self::Glob(glob) => glob.is_match(name),
        }
    }
}

impl Conditions {
    fn includes(&self, name: &str) -> bool {
        self.include.iter().any(|pattern| pattern.matches(name))
    }

    fn excludes(&self, name: &str) -> bool {
        self.exclude.iter().any(|pattern| pattern.matches(name))
    }
}

impl When {
    /// Whether it matches.
    ///
    /// The keys are taken in the order branch, tag, ref: an include that matches sets, an exclude that matches clears.
    /// Where excludes stand alone and there is no include at all, it matches if at least one key counts and no exclude
    /// does.
    pub fn matches(&self, names: &RefNames<'_>) -> bool {
        let branch = if names.ref_type == RefType::Branch { names.branch } else { "" };
        let tag = if names.ref_type == RefType::Tag { names.tag } else { "" };
        let keys = [(&self.branch, branch), (&self.tag, tag), (&self.git_ref, names.git_ref)];
        let all = [&self.branch, &self.tag, &self.git_ref];
        let without_include = all.into_iter().flatten().all(|conditions| conditions.include.is_empty());
        let counting =
            || keys.iter().filter_map(|(key, name)| Some((key.as_ref()?, *name))).filter(|(_, n)| !n.is_empty());
        if self.excludes_stand_alone && without_include {
            let mut excluding = counting().filter(|(key, _)| !key.exclude.is_empty()).peekable();
            return excluding.peek().is_some() && !excluding.any(|(key, name)| key.excludes(name));
        }
        counting().fold(false, |matched, (key, name)| (matched || key.includes(name)) && !key.excludes(name))
    }
}

/// Whether a `when` that may be absent matches: without one, always.
pub fn when_matches(when: Option<&When>, names: &RefNames<'_>) -> bool {
    when.is_none_or(|when| when.matches(names))
}
