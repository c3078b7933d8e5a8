//! Which projects are there, and how are they named?

use std::fmt;

use runyard_datamanager::{Collection, DataManagerExt, Direction, KeyRange};
use serde::{Deserialize, Serialize};

use super::{ConfigData, Error, RefName, Result};
use crate::ids::{Ids, is_uuid};

const PROJECTS: Collection<Project> = Collection::new("projects");

/// The id of the project that has a name; its existence is what makes names unique.
const PROJECT_NAMES: Collection<ProjectId> = Collection::new("projectnames");

/// The longest project name, in bytes.
const NAME_BYTES_MAX: usize = 100;

/// Something that has a repository and runs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Project {
    /// Never changes.
    pub(crate) id: ProjectId,
    /// Unique on the server.
    pub(crate) name: ProjectName,
    /// What `HEAD` of the repository points at; none before the first branch was pushed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) default_branch: Option<RefName>,
}

/// Names a project for ever: a UUID.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub(crate) struct ProjectId(String);

impl ProjectId {
    pub(crate) fn generate(ids: &Ids) -> Self {
        Self(ids.uuid())
    }

    /// Takes a text for an id if it has the form of one.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        is_uuid(text).then(|| Self(text.to_owned()))
    }

    pub(crate) fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for ProjectId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// What users call a project: 1 to 100 of `a-z`, `0-9`, `.`, `_` and `-`, and not to be taken for an id.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub(crate) struct ProjectName(String);

impl ProjectName {
    /// Checks a name against the rules.
    pub(crate) fn parse(name: &str) -> Result<Self> {
        match broken_rule(name) {
            None => Ok(Self(name.to_owned())),
            Some(reason) => {
                Err(Error::InvalidProjectName { name: name.chars().take(NAME_BYTES_MAX).collect(), reason })
            }
        }
    }

    pub(crate) fn as_str(&self) -> &str {
        &self.0
    }
}

fn broken_rule(name: &str) -> Option<&'static str> {
    let plain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
    if name.is_empty() {
        return Some("it is empty");
    }
    if name.len() > NAME_BYTES_MAX {
        return Some("it is longer than 100 bytes");
    }
    if !name.bytes().all(|byte| plain(byte) || matches!(byte, b'.' | b'_' | b'-')) {
        return Some("use only a-z, 0-9, `.`, `_` and `-`");
    }
    if !name.bytes().next().is_some_and(plain) {
        return Some("begin it with a letter or a digit");
    }
    if name.ends_with(".git") || name.ends_with('.') {
        return Some("it must not end with `.git` or a dot, as the address of its repository ends with `.git`");
    }
    is_uuid(name).then_some("it looks like an id, and a project can be asked for by either: choose a plainer name")
}

impl fmt::Display for ProjectName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Some projects, by name.
#[derive(Clone, Debug)]
pub(crate) struct ProjectPage {
    pub(crate) projects: Vec<Project>,
    /// Whether there are more after the last one here.
    pub(crate) more: bool,
}

impl ConfigData {
    /// Creates a project under a name that no other has.
    pub(crate) async fn create_project(&self, id: ProjectId, name: ProjectName) -> Result<Project> {
        let project = Project { id, name, default_branch: None };
        let (project, _) = self
            .data
            .transact(|tx| {
                let project = project.clone();
                async move {
                    if tx.get(&PROJECT_NAMES, project.name.as_str()).await?.is_some() {
                        return Err(Error::ProjectNameTaken { name: project.name });
                    }
                    tx.put(&PROJECT_NAMES, project.name.as_str(), &project.id).await?;
                    tx.put(&PROJECTS, project.id.as_str(), &project).await?;
                    Ok(project)
                }
            })
            .await?;
        Ok(project)
    }

    /// The project with this name or id.
    pub(crate) async fn find_project(&self, reference: &str) -> Result<Project> {
        let at = self.data.snapshot();
        let id = match is_uuid(reference) {
            true => Some(ProjectId(reference.to_owned())),
            false => self.data.read(&at, &PROJECT_NAMES, reference).await?,
        };
        let project = match id {
            Some(id) => self.data.read(&at, &PROJECTS, id.as_str()).await?,
            None => None,
        };
        project.ok_or_else(|| Error::ProjectNotFound { reference: reference.chars().take(NAME_BYTES_MAX).collect() })
    }

    /// Projects in the order of their names, those after a name, at most `limit`.
    pub(crate) async fn list_projects(&self, after: Option<&str>, limit: usize) -> Result<ProjectPage> {
        let at = self.data.snapshot();
        let range = after.map_or(KeyRange::all(), |after| KeyRange::all().after(after));
        let names = self.data.read_range(&at, &PROJECT_NAMES, range, Direction::Ascending, limit).await?;
        let mut projects = Vec::with_capacity(names.entries.len());
        for (_, id) in names.entries {
            projects.extend(self.data.read(&at, &PROJECTS, id.as_str()).await?);
        }
        Ok(ProjectPage { projects, more: names.more })
    }
}

/// The project as a transaction sees it, which conflicts with its change.
pub(super) async fn get_in(tx: &runyard_datamanager::Tx, id: &ProjectId) -> Result<Project> {
    let project = tx.get(&PROJECTS, id.as_str()).await?;
    project.ok_or_else(|| Error::ProjectNotFound { reference: id.to_string() })
}

/// Changes anything of a project but its name.
pub(super) async fn put_in(tx: &runyard_datamanager::Tx, project: &Project) -> Result<()> {
    Ok(tx.put(&PROJECTS, project.id.as_str(), project).await?)
}

/// The project as a snapshot holds it.
pub(super) async fn read_at(
    data: &std::sync::Arc<dyn runyard_datamanager::DataManager>,
    at: &runyard_datamanager::Snapshot,
    id: &ProjectId,
) -> Result<Project> {
    let project = data.read(at, &PROJECTS, id.as_str()).await?;
    project.ok_or_else(|| Error::ProjectNotFound { reference: id.to_string() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_project_name_is_refused_with_the_rule_that_it_breaks() {
        let long = "a".repeat(NAME_BYTES_MAX + 1);
        let id = Ids::seeded(7).uuid();
        for (name, reason) in [
            ("", "empty"),
            (long.as_str(), "longer"),
            ("Backend", "use only"),
            ("a/b", "use only"),
            ("..", "begin it"),
            ("-x", "begin it"),
            ("api.git", "`.git`"),
            (id.as_str(), "looks like an id"),
        ] {
            let error = ProjectName::parse(name).expect_err(name).to_string();
            assert!(error.contains(reason), "{name:?}: {error}");
        }
        for name in ["a", "0", "my-app_2.x", "git"] {
            ProjectName::parse(name).expect(name);
        }
    }
}
