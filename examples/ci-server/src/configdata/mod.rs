//! What does the server keep, beside the runs?
//!
//! Projects, the refs and packs of their git repositories, and the pushes that are still to become runs: typed
//! collections in one data manager. Only this folder knows their keys.

mod project;
mod push;
mod refs;
mod trigger;

use std::sync::Arc;

use runyard_datamanager::DataManager;

pub(crate) use project::{Project, ProjectId, ProjectName};
pub(crate) use push::{Push, RefChange};
pub(crate) use refs::{ObjectId, Pack, RefName, Repository};
pub(crate) use trigger::{Trigger, TriggerKey};

/// The result of reading or changing configuration data.
pub(crate) type Result<T, E = Error> = std::result::Result<T, E>;

/// Why configuration data could not be read or changed.
#[derive(Clone, Debug, thiserror::Error)]
pub(crate) enum Error {
    /// The name breaks a rule.
    #[error("`{name}` is not a project name: {reason}")]
    InvalidProjectName {
        /// The refused name, shortened.
        name: String,
        /// The rule, and what to do.
        reason: &'static str,
    },
    /// Another project has the name.
    #[error("a project named `{name}` exists already: choose another name")]
    ProjectNameTaken {
        /// The name.
        name: ProjectName,
    },
    /// No project has this name or id.
    #[error("project `{reference}` does not exist: `runyard project list` shows those that do")]
    ProjectNotFound {
        /// The name or id that was asked for.
        reference: String,
    },
    /// The data manager failed.
    #[error(transparent)]
    Data(#[from] runyard_datamanager::Error),
}

/// The configuration data of one server.
#[derive(Clone, Debug)]
pub(crate) struct ConfigData {
    data: Arc<dyn DataManager>,
}

impl ConfigData {
    /// The configuration data that a data manager holds.
    pub(crate) fn new(data: Arc<dyn DataManager>) -> Self {
        Self { data }
    }
}
