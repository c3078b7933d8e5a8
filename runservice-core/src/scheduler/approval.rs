//! Who approved a task, and is that enough?

use std::collections::BTreeMap;

use crate::model::TaskConfig;

/// The annotation that holds the approvers, unless a policy names another.
pub const APPROVERS_ANNOTATION: &str = "approvers";

/// Which annotation of a task holds its approvers: a JSON list of user ids, in the order in which they approved.
///
/// The list approves nothing by itself: [`plan`](super::Scheduler::plan) compares it with what the task asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ApprovalPolicy {
    annotation: String,
}

/// How many approvers a task has and needs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Approvals {
    /// Different users that approved.
    pub have: u32,
    /// How many it takes, at least 1.
    pub need: u32,
}

impl Default for ApprovalPolicy {
    fn default() -> Self {
        Self { annotation: APPROVERS_ANNOTATION.to_owned() }
    }
}

impl ApprovalPolicy {
    /// Reads approvers from the annotation of that name.
    pub fn new(annotation: impl Into<String>) -> Self {
        Self { annotation: annotation.into() }
    }

    /// The annotation that holds the approvers.
    pub fn annotation(&self) -> &str {
        &self.annotation
    }

    /// The users that approved, each once. An annotation that is not a list of strings holds nobody.
    pub fn approvers(&self, annotations: &BTreeMap<String, String>) -> Vec<String> {
        let stored = annotations.get(&self.annotation);
        let listed = stored.and_then(|json| serde_json::from_str::<Vec<String>>(json).ok()).unwrap_or_default();
        let mut approvers: Vec<String> = Vec::new();
        for approver in listed {
            if !approvers.contains(&approver) {
                approvers.push(approver);
            }
        }
        approvers
    }

    /// The value of the annotation with one more approver, or none if the user is among them already.
    pub fn with_approver(&self, annotations: &BTreeMap<String, String>, approver: &str) -> Option<String> {
        let mut approvers = self.approvers(annotations);
        if approvers.iter().any(|known| known == approver) {
            return None;
        }
        approvers.push(approver.to_owned());
        Some(serde_json::Value::from(approvers).to_string())
    }

    /// Compares the approvers with what the task asks for.
    pub fn count(&self, config: &TaskConfig, annotations: &BTreeMap<String, String>) -> Approvals {
        let have = u32::try_from(self.approvers(annotations).len()).unwrap_or(u32::MAX);
        Approvals { have, need: config.approvers_min.max(1) }
    }
}

impl Approvals {
    /// Whether it takes no more approvers.
    pub fn are_enough(self) -> bool {
        self.have >= self.need
    }
}
