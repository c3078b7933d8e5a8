//! What does the repository of a project consist of? Refs, and the packs that hold its objects.

use std::{fmt, str::FromStr};

use runyard_datamanager::{Collection, DataManagerExt, KeyRange};
use serde::{Deserialize, Serialize};

use super::{ConfigData, Project, ProjectId, Result, project};

/// By project and ref name, see [`key`].
pub(super) const REFS: Collection<ObjectId> = Collection::new("refs");

/// By project and checksum, see [`key`].
pub(super) const PACKS: Collection<Pack> = Collection::new("packs");

/// The longest ref name, in bytes: escaped, it still fits in the group of its runs.
const REF_NAME_BYTES_MAX: usize = 255;

/// The key of something that belongs to a project. The id has a fixed length, so no project reaches into another.
pub(super) fn key(project: &ProjectId, name: &str) -> String {
    format!("{project}/{name}")
}

/// The ref name inside a [`key`].
pub(super) fn ref_of_key(project: &ProjectId, row: &[u8]) -> Result<RefName> {
    let name = row.get(project.as_str().len() + 1..).and_then(|name| std::str::from_utf8(name).ok());
    RefName::parse(name.unwrap_or_default()).map_err(|error| {
        let object = format!("refs of project {project}");
        runyard_datamanager::Error::Corrupt { object, reason: error.to_string() }.into()
    })
}

/// The name of a git object: its SHA-1, as 40 lower-case hexadecimal digits.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub(crate) struct ObjectId(String);

impl ObjectId {
    /// The object id that git writes for "no object".
    pub(crate) const ZERO: &str = "0000000000000000000000000000000000000000";

    pub(crate) fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for ObjectId {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        Self::try_from(text.to_owned())
    }
}

impl TryFrom<String> for ObjectId {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        let hex = |byte: u8| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte);
        if text.len() == 40 && text.bytes().all(hex) && text != Self::ZERO {
            return Ok(Self(text));
        }
        Err(format!("`{}` is not a git object id", text.chars().take(80).collect::<String>()))
    }
}

impl From<ObjectId> for String {
    fn from(id: ObjectId) -> Self {
        id.0
    }
}

impl fmt::Display for ObjectId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for ObjectId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A full ref name, `refs/heads/main`, that keeps the rules of `git check-ref-format`.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub(crate) struct RefName(String);

/// Why a text is not a ref name.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{name}` is not a ref name: {reason}")]
pub(crate) struct InvalidRefName {
    name: String,
    reason: &'static str,
}

impl RefName {
    /// Checks a name against the rules.
    pub(crate) fn parse(name: &str) -> Result<Self, InvalidRefName> {
        match broken_rule(name) {
            None => Ok(Self(name.to_owned())),
            Some(reason) => Err(InvalidRefName { name: name.chars().take(80).collect(), reason }),
        }
    }

    /// The full name.
    pub(crate) fn as_str(&self) -> &str {
        &self.0
    }

    /// The short name, if it is a branch.
    pub(crate) fn branch(&self) -> Option<&str> {
        self.0.strip_prefix("refs/heads/")
    }

    /// The short name, if it is a tag.
    pub(crate) fn tag(&self) -> Option<&str> {
        self.0.strip_prefix("refs/tags/")
    }
}

/// The rules of `git check-ref-format`, for a name below `refs/`.
fn broken_rule(name: &str) -> Option<&'static str> {
    if name.len() > REF_NAME_BYTES_MAX {
        return Some("it is longer than 255 bytes");
    }
    if !name.starts_with("refs/") || name.split('/').count() < 3 {
        return Some("it is not of the form refs/<kind>/<name>");
    }
    if name.split('/').any(|part| part.is_empty() || part.starts_with('.') || part.ends_with(".lock")) {
        return Some("a part of it is empty, begins with a dot or ends with `.lock`");
    }
    let refused =
        |char: char| char.is_ascii_control() || matches!(char, ' ' | '~' | '^' | ':' | '?' | '*' | '[' | '\\');
    if name.contains(refused) {
        return Some("it has a space, a control character or one of ~^:?*[\\");
    }
    (name.contains("..") || name.contains("@{") || name.ends_with('.'))
        .then_some("it has `..` or `@{`, or ends with a dot")
}

impl TryFrom<String> for RefName {
    type Error = InvalidRefName;

    fn try_from(name: String) -> Result<Self, InvalidRefName> {
        Self::parse(&name)
    }
}

impl From<RefName> for String {
    fn from(name: RefName) -> Self {
        name.0
    }
}

impl fmt::Display for RefName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for RefName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A pack in the object storage.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Pack {
    /// Names its object. It belongs to one push alone, so an object without a row can be removed at any time.
    pub(crate) id: String,
    /// What git calls it: the checksum at its end.
    pub(crate) checksum: ObjectId,
    /// Its size in bytes.
    pub(crate) size: u64,
}

/// All of a repository, as one moment has it.
#[derive(Clone, Debug)]
pub(crate) struct Repository {
    pub(crate) project: Project,
    /// In the order of their names.
    pub(crate) refs: Vec<(RefName, ObjectId)>,
    pub(crate) packs: Vec<Pack>,
}

impl ConfigData {
    /// Reads the refs and packs of a project, consistent with each other.
    pub(crate) async fn repository(&self, project: &ProjectId) -> Result<Repository> {
        let at = self.data.snapshot();
        let range = KeyRange::prefix(key(project, ""));
        let refs = self.data.read_all(&at, &REFS, range.clone()).await?;
        let packs = self.data.read_all(&at, &PACKS, range).await?;
        Ok(Repository {
            project: project::read_at(&self.data, &at, project).await?,
            refs: refs
                .into_iter()
                .map(|(row, object)| Ok((ref_of_key(project, &row)?, object)))
                .collect::<Result<_>>()?,
            packs: packs.into_iter().map(|(_, pack)| pack).collect(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ref_names_keep_the_rules_of_git() {
        let good = ["refs/heads/main", "refs/heads/feature/a-b_c", "refs/tags/v1.0", "refs/notes/x@y", "refs/heads/ü"];
        let bad = [
            "main",
            "refs/main",
            "HEAD",
            "refs/heads/",
            "refs/heads//x",
            "refs/heads/.x",
            "refs/heads/x.lock",
            "refs/heads/x.lock/y",
            "refs/heads/a..b",
            "refs/heads/a b",
            "refs/heads/a~1",
            "refs/heads/a^",
            "refs/heads/a:b",
            "refs/heads/a\\b",
            "refs/heads/a*",
            "refs/heads/a\x7f",
            "refs/heads/a@{1}",
            "refs/heads/a.",
            "refs/heads/../../x",
        ];
        // Git itself is the judge of the table.
        let git_accepts = |name: &str| {
            let status = std::process::Command::new("git").args(["check-ref-format", name]).status();
            status.expect("git runs").success()
        };
        for name in good {
            assert_eq!(RefName::parse(name).map_err(|error| error.to_string()).expect(name).as_str(), name);
            assert!(git_accepts(name), "{name}");
        }
        for name in bad {
            RefName::parse(name).expect_err(name);
            assert!(!git_accepts(name) || name == "refs/main", "{name}");
        }
    }

    #[test]
    fn an_object_id_is_forty_digits_and_not_zero() {
        "0123456789abcdef0123456789abcdef01234567".parse::<ObjectId>().expect("valid");
        for bad in ["", "abc", ObjectId::ZERO, "0123456789ABCDEF0123456789abcdef01234567"] {
            bad.parse::<ObjectId>().expect_err(bad);
        }
    }
}
