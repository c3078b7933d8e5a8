//! Reading tasks.

use std::collections::BTreeSet;

use runyard_executor_core::contract::TaskName;

use super::{
    At, Reader,
    depends::Dependencies,
    fields::{Fields, Known},
};
use crate::{
    definition::{Approval, TaskDefinition},
    node::NodeKind,
};

pub(crate) const TASK: Known = Known {
    always: &[
        "name",
        "runtime",
        "environment",
        "working_dir",
        "shell",
        "user",
        "steps",
        "depends",
        "ignore_failure",
        "approval",
        "when",
        "docker_registries_auth",
        "task_timeout_interval",
    ],
    v1: &["retry", "labels"],
};

pub(crate) const APPROVAL: Known = Known::always(&["minimum", "approvers"]);

impl Reader<'_> {
    /// Reads a task, and where its dependencies are written.
    pub(super) fn task<'n>(&mut self, at: &At<'n>) -> Option<(TaskDefinition, Dependencies<'n>)> {
        let fields = self.fields(at, TASK)?;
        let name = self.required_name(at, &fields, "task");
        let (arch, containers) = self.runtime(at, &fields);
        let steps = fields.get("steps").map(|at| self.list(&at)).unwrap_or_default();
        let steps = steps.iter().filter_map(|step| self.step(step)).collect();
        let (depends, places) = self.depends(&fields);
        let environment = self.environment(&fields);
        let working_dir = self.text_field(&fields, "working_dir").filter(|dir| !dir.is_empty());
        let shell = self.text_field(&fields, "shell").filter(|shell| !shell.is_empty());
        let user = self.text_field(&fields, "user").filter(|user| !user.is_empty());
        let ignore_failure = self.bool_field(&fields, "ignore_failure").unwrap_or(false);
        let approval = self.approval(&fields);
        let when = self.when(&fields);
        let registries_auth = self.registries_auth(&fields);
        let timeout = self.duration_field(&fields, "task_timeout_interval");
        let retry = self.retry(&fields);
        let labels = self.labels(&fields);
        let task = TaskDefinition {
            // Checked by `required_name`.
            name: TaskName::parse(name?).ok()?,
            position: at.node.position,
            arch,
            containers,
            environment,
            working_dir,
            shell,
            user,
            steps,
            depends,
            ignore_failure,
            approval,
            when,
            registries_auth,
            timeout,
            retry,
            labels,
        };
        Some((task, places))
    }

    fn approval(&mut self, fields: &Fields<'_>) -> Option<Approval> {
        let at = fields.get("approval")?;
        if !matches!(at.node.kind, NodeKind::Map(_)) {
            return self.bool(&at)?.then(|| Approval { minimum: 1, approvers: Vec::new() });
        }
        let fields = self.fields(&at, APPROVAL)?;
        let minimum = fields.get("minimum").map_or(Some(1), |at| self.number(&at, 1))?;
        let mut approvers = fields.get("approvers").map(|at| self.text_list(&at)).unwrap_or_default();
        // Who is named twice can approve once.
        let mut seen = BTreeSet::new();
        approvers.retain(|approver| seen.insert(approver.clone()));
        if !approvers.is_empty() && approvers.len() < usize::try_from(minimum).unwrap_or(usize::MAX) {
            let message = format!("{minimum} approvals are required, and {} users may approve", approvers.len());
            self.error(&at, message, "lower `minimum` or name more `approvers`");
        }
        Some(Approval { minimum, approvers })
    }
}
