//! Which runs go one after another, and which share numbers and caches?

use std::fmt;

use serde::{Deserialize, Serialize};

/// The longest group path, in bytes.
pub const GROUP_BYTES_MAX: usize = 1024;

/// The hierarchical path of a run group: pairs of a type and a name, `/project/42/branch/main`.
///
/// Names are escaped when a path is put together, so that no name can reach into another group. The engine reads
/// nothing but the first pair, the [root group](GroupPath::root), out of it.
///
/// ```
/// use runyard_runservice_core::model::GroupPath;
///
/// let group = GroupPath::new("project", "42")?.child("branch", "feature/a%b")?;
/// assert_eq!(group.as_str(), "/project/42/branch/feature%2Fa%25b");
/// assert_eq!(group.root().as_str(), "/project/42");
/// # Ok::<(), runyard_runservice_core::model::InvalidGroup>(())
/// ```
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "http", derive(schemars::JsonSchema), schemars(with = "String"))]
#[serde(try_from = "String", into = "String")]
pub struct GroupPath(String);

/// Why a string is not a group path.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{path}` is not a run group: {reason}")]
pub struct InvalidGroup {
    /// The refused path, shortened to its first 100 characters.
    pub path: String,
    /// The rule that it breaks, as a phrase.
    pub reason: &'static str,
}

impl GroupPath {
    /// A root group.
    ///
    /// # Errors
    /// [`InvalidGroup`] if a part is empty or the path becomes longer than 1,024 bytes.
    pub fn new(kind: &str, name: &str) -> Result<Self, InvalidGroup> {
        Self(String::new()).child(kind, name)
    }

    /// A group below this one.
    ///
    /// # Errors
    /// As for [`GroupPath::new`].
    pub fn child(&self, kind: &str, name: &str) -> Result<Self, InvalidGroup> {
        Self::parse(&format!("{}/{}/{}", self.0, escape(kind), escape(name)))
    }

    /// Reads a path whose parts are escaped already.
    ///
    /// # Errors
    /// [`InvalidGroup`] names the rule that is broken.
    pub fn parse(path: &str) -> Result<Self, InvalidGroup> {
        match broken_rule(path) {
            None => Ok(Self(path.to_owned())),
            Some(reason) => Err(InvalidGroup { path: path.chars().take(100).collect(), reason }),
        }
    }

    /// The first pair: it counts run numbers and is the default cache group.
    pub fn root(&self) -> Self {
        let end = self.0.match_indices('/').nth(2).map_or(self.0.len(), |(at, _)| at);
        Self(self.0[..end].to_owned())
    }

    /// The path as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

fn broken_rule(path: &str) -> Option<&'static str> {
    let Some(parts) = path.strip_prefix('/') else { return Some("it does not begin with a slash") };
    if path.len() > GROUP_BYTES_MAX {
        return Some("it is longer than 1,024 bytes");
    }
    if parts.split('/').any(str::is_empty) {
        return Some("it has an empty part");
    }
    if parts.split('/').count() % 2 != 0 {
        return Some("it has a type without a name at its end");
    }
    path.contains('\0').then_some("it contains a NUL byte")
}

fn escape(part: &str) -> String {
    part.replace('%', "%25").replace('/', "%2F").replace('\0', "%00")
}

impl fmt::Display for GroupPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for GroupPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "GroupPath({:?})", self.0)
    }
}

impl TryFrom<String> for GroupPath {
    type Error = InvalidGroup;

    fn try_from(path: String) -> Result<Self, InvalidGroup> {
        Self::parse(&path)
    }
}

impl From<GroupPath> for String {
    fn from(path: GroupPath) -> Self {
        path.0
    }
}

impl AsRef<[u8]> for GroupPath {
    fn as_ref(&self) -> &[u8] {
        self.0.as_bytes()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_name_reaches_into_another_group() {
        let project = GroupPath::new("project", "1").expect("valid");
        let sly = project.child("branch", "a/branch/b").expect("valid");
        let nested = project.child("branch", "a").and_then(|group| group.child("branch", "b")).expect("valid");
        assert_ne!(sly, nested);
        let percent = project.child("branch", "a%2Fb").expect("valid");
        let slash = project.child("branch", "a/b").expect("valid");
        assert_ne!(percent, slash);
        assert_eq!(sly.root(), project);
        assert_eq!(project.root(), project);
    }

    #[test]
    fn broken_paths_are_refused() {
        for path in ["", "project/1", "/project", "/project/", "//", "/project/1/branch", "/a/b//"] {
            GroupPath::parse(path).expect_err(path);
        }
    }
}
