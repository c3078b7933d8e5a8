//! What has to be known of a commit to compile a definition for it?

use std::{collections::BTreeMap, fmt};

use runyard_executor_core::contract::Value;
use runyard_runservice_core::model::GroupPath;

use crate::when::{RefNames, RefType};

/// The commit that runs are created for, and what its project hands to them.
#[derive(Clone)]
pub struct CompileContext {
    /// The group of the runs: the project and its branch, tag or pull request.
    pub group: GroupPath,
    /// What the runs are created for.
    pub ref_type: RefType,
    /// The whole reference, such as `refs/heads/main`.
    pub git_ref: String,
    /// The branch; empty for tags and pull requests.
    pub branch: String,
    /// The tag; empty for branches and pull requests.
    pub tag: String,
    /// The pull request; empty for branches and tags.
    pub pull_request_id: String,
    /// The commit.
    pub commit_sha: String,
    /// Where the repository is cloned from.
    pub repository_url: String,
    /// The host of the repository, for ssh.
    pub git_host: String,
    /// The port of the host, for ssh. Empty: 22.
    pub git_port: String,
    /// The private key that may read the repository. Only tasks that clone get it, and none of a fork's.
    pub ssh_private_key: Option<String>,
    /// The line of `known_hosts` for the host.
    pub ssh_host_key: String,
    /// Whether any host key is taken.
    pub skip_ssh_host_key_check: bool,
    /// Whether the commit comes from a fork's pull request, whose author the project does not know.
    pub from_fork: bool,
    /// What a definition's `cache_group` lies below, such as the owner of several projects; none: the project, so that
    /// no definition reaches into the caches of another project.
    pub cache_scope: Option<GroupPath>,
    /// What a user gave for the inputs, if the runs are started by hand; none: they are not, and defaults count.
    pub inputs: Option<BTreeMap<String, String>>,
    /// What `from_variable` finds. The caller leaves out what a fork may not have.
    pub variables: BTreeMap<String, Value>,
}

impl CompileContext {
    /// A context in which all but the group is empty.
    pub fn new(group: GroupPath) -> Self {
        Self {
            group,
            ref_type: RefType::default(),
            git_ref: String::new(),
            branch: String::new(),
            tag: String::new(),
            pull_request_id: String::new(),
            commit_sha: String::new(),
            repository_url: String::new(),
            git_host: String::new(),
            git_port: String::new(),
            ssh_private_key: None,
            ssh_host_key: String::new(),
            skip_ssh_host_key_check: false,
            from_fork: false,
            cache_scope: None,
            inputs: None,
            variables: BTreeMap::new(),
        }
    }

    pub(super) fn names(&self) -> RefNames<'_> {
        RefNames { ref_type: self.ref_type, branch: &self.branch, tag: &self.tag, git_ref: &self.git_ref }
    }
}

impl fmt::Debug for CompileContext {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Without the key.
        f.debug_struct("CompileContext")
            .field("group", &self.group)
            .field("ref_type", &self.ref_type)
            .field("git_ref", &self.git_ref)
            .field("commit_sha", &self.commit_sha)
            .field("from_fork", &self.from_fork)
            .field("variables", &self.variables)
            .finish_non_exhaustive()
    }
}
