//! Reading `depends`, in all its spellings.

use std::collections::{BTreeMap, BTreeSet};

use runyard_executor_core::contract::TaskName;
use runyard_runservice_core::model::Condition;

use super::{
    At, Reader,
    fields::{Fields, Known},
};
use crate::{node::NodeKind, suggest};

/// The parents of one task and where each is written.
pub(super) type Dependencies<'n> = Vec<(TaskName, At<'n>)>;

pub(crate) const CONDITIONS: [(&str, Condition); 3] =
    [("on_success", Condition::Success), ("on_failure", Condition::Failure), ("on_skipped", Condition::Skipped)];

pub(crate) const DEPENDENCY: Known = Known::always(&["task", "conditions"]);

impl Reader<'_> {
    /// Reads `depends`. A parent with an empty set of conditions never lets the task start.
    pub(super) fn depends<'n>(
        &mut self,
        fields: &Fields<'n>,
    ) -> (BTreeMap<TaskName, BTreeSet<Condition>>, Dependencies<'n>) {
        let (mut depends, mut places) = (BTreeMap::new(), Vec::new());
        let Some(at) = fields.get("depends") else { return (depends, places) };
        for item in self.list(&at) {
            let Some((name, conditions)) = self.dependency(&item) else { continue };
            let name = match TaskName::parse(name) {
                Ok(name) => name,
                Err(invalid) => {
                    self.error(
                        &item,
                        format_args!("the name of a task is wrong: {}", invalid.reason),
                        "name a task of this run",
                    );
                    continue;
                }
            };
            if depends.insert(name.clone(), conditions).is_some() {
                let hint = "name each task once, with a list of conditions";
                self.error(&item, format_args!("`{name}` occurs twice in `depends`"), hint);
                continue;
            }
            places.push((name, item));
        }
        (depends, places)
    }

    fn dependency(&mut self, at: &At<'_>) -> Option<(String, BTreeSet<Condition>)> {
        let success = BTreeSet::from([Condition::Success]);
        let NodeKind::Map(entries) = &at.node.kind else {
            return Some((self.text(at)?, success));
        };
        if let [(key, value)] = entries.as_slice() {
            let is_short = match value.kind {
                // A task may be called `task`.
                NodeKind::List(_) => true,
                _ => !key.text.eq_ignore_ascii_case("task"),
            };
            if is_short {
                return Some((key.text.clone(), self.conditions_of(&at.key(&key.text, value))));
            }
        }
        let fields = self.fields(at, DEPENDENCY)?;
        let conditions = fields.get("conditions").map_or(success, |at| self.conditions_of(&at));
        match fields.get("task") {
            Some(task) => Some((self.text(&task)?, conditions)),
            None => {
                let hint = "write `- <name>`, `- <name>: [on_success]` or `- task: <name>`";
                self.error(at, "the dependency names no task", hint);
                None
            }
        }
    }

    fn conditions_of(&mut self, at: &At<'_>) -> BTreeSet<Condition> {
        let items = if at.node.kind == NodeKind::Null { Vec::new() } else { self.list(at) };
        if items.is_empty() {
            return BTreeSet::from([Condition::Success]);
        }
        let mut conditions = BTreeSet::new();
        for item in items {
            let Some(text) = self.text(&item) else { continue };
            match CONDITIONS.iter().find(|(name, _)| *name == text) {
                Some((_, condition)) => {
                    conditions.insert(*condition);
                }
                None => {
                    let names = CONDITIONS.map(|(name, _)| name);
                    let hint = match suggest::nearest(&text, names) {
                        Some(name) => format!("did you mean `{name}`?"),
                        None => format!("known here: {}", names.join(", ")),
                    };
                    let message = format!("the condition `{text}` is not known and never matches");
                    self.lapse(item.node.position, &item.path, message, &hint);
                }
            }
        }
        conditions
    }
}
