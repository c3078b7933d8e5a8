//! Which files below a directory match, and which directories need not be looked into?

use std::path::{Component, Path, PathBuf};

use globset::{GlobBuilder, GlobSet, GlobSetBuilder};

use super::Error;

/// The patterns of one source directory.
pub(super) struct Patterns {
    set: GlobSet,
    /// What each pattern begins with before its first wildcard.
    literal_starts: Vec<PathBuf>,
}

impl Patterns {
    pub(super) fn parse(patterns: &[String]) -> Result<Self, Error> {
        let mut set = GlobSetBuilder::new();
        let mut literal_starts = Vec::new();
        for pattern in patterns {
            let bad = |message: String| Error::BadPattern { pattern: pattern.clone(), message };
            let relative = pattern.trim_start_matches("./").trim_end_matches('/');
            if relative.starts_with('/') || relative.split('/').any(|component| component == "..") {
                return Err(bad("it must be relative to the source directory and stay below it".into()));
            }
            let mut add = |glob: &str| {
                let built = GlobBuilder::new(glob)
                    .literal_separator(true)
                    .backslash_escape(true)
                    .empty_alternates(true)
                    .build();
                built.map(|glob| set.add(glob)).map(|_| ()).map_err(|error| bad(error.kind().to_string()))
            };
            add(relative)?;
            // `**` stands for no directory at all too: `a/**` is `a` and all below it.
            if let Some(start) = relative.strip_suffix("/**") {
                add(start)?;
            }
            let literal = relative.split('/').take_while(|component| !component.contains(['*', '?', '[', '{', '\\']));
            literal_starts.push(literal.collect());
        }
        let set = set.build().map_err(|error| Error::BadPattern {
            pattern: error.glob().unwrap_or_default().to_owned(),
            message: error.kind().to_string(),
        })?;
        Ok(Self { set, literal_starts })
    }

    pub(super) fn matches(&self, path: &Path) -> bool {
        self.set.is_match(path)
    }

    /// Whether anything below `dir` can match.
    pub(super) fn may_match_below(&self, dir: &Path) -> bool {
        self.literal_starts.iter().any(|start| start.starts_with(dir) || dir.starts_with(start))
    }
}

/// `path` without `.` and a leading `/`; `None` if it contains `..`.
pub(super) fn relative(path: &Path) -> Option<PathBuf> {
    let mut relative = PathBuf::new();
    for component in path.components() {
        match component {
            Component::Normal(name) => relative.push(name),
            Component::CurDir | Component::RootDir => {}
            Component::ParentDir | Component::Prefix(_) => return None,
        }
    }
    Some(relative)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn globs_match_as_doublestar_does() {
        let table = [
            ("*", &["a", ".hidden"][..], &["a/b"][..]),
            ("**", &["a", "a/b/c"], &[]),
            ("a/*", &["a/b"], &["a", "a/b/c", "b"]),
            ("a/**", &["a", "a/b", "a/b/c"], &["ab", "b/a"]),
            ("**/x", &["x", "a/x", "a/b/x"], &["ax", "x/a"]),
            ("a/**/x", &["a/x", "a/b/x", "a/b/c/x"], &["x", "a/bx"]),
            ("**/*.jar", &["a.jar", "t/a.jar"], &["a.jar/b"]),
            ("?.txt", &["a.txt"], &["ab.txt", "/.txt", ".txt"]),
            ("[a-c]x", &["ax", "cx"], &["dx"]),
            ("[^a]x", &["bx"], &["ax"]),
            ("[!a]x", &["bx"], &["ax"]),
            ("{a,b/*}.c", &["a.c", "b/x.c"], &["b.c"]),
            ("a{,.gz}", &["a", "a.gz"], &["a.bz"]),
            (r"a\*", &["a*"], &["ab"]),
            ("./dir/", &["dir"], &["dir/a"]),
        ];
        for (pattern, matching, others) in table {
            let patterns = Patterns::parse(&[pattern.to_owned()]).unwrap();
            for path in matching {
                assert!(patterns.matches(Path::new(path)), "`{pattern}` is to match `{path}`");
                for dir in Path::new(path).ancestors().skip(1) {
                    assert!(patterns.may_match_below(dir), "`{pattern}` is to be looked for in `{}`", dir.display());
                }
            }
            for path in others {
                assert!(!patterns.matches(Path::new(path)), "`{pattern}` is not to match `{path}`");
            }
        }
    }

    #[test]
    fn directories_that_no_pattern_reaches_are_not_looked_into() {
        let patterns = Patterns::parse(&["a/b/*.c".into(), "d".into()]).unwrap();
        let reached = ["", "a", "a/b"].map(|dir| patterns.may_match_below(Path::new(dir)));
        let not_reached = ["b", "a/c"].map(|dir| patterns.may_match_below(Path::new(dir)));
        assert_eq!((reached, not_reached), ([true; 3], [false; 2]));
    }

    #[test]
    fn a_pattern_that_is_broken_or_leaves_is_named() {
        for pattern in ["../x", "a/../../x", "/etc", "[a", "{a"] {
            let error = Patterns::parse(&[pattern.to_owned()]).err().map(|error| error.to_string());
            assert!(error.is_some_and(|error| error.contains(pattern)), "{pattern}");
        }
    }
}
