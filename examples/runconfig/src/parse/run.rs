//! Reading the whole definition and its runs.

use std::collections::BTreeSet;

use runyard_runservice_core::model::on_cycles;

use super::{At, Reader, depends::Dependencies, fields::Known};
use crate::{
    definition::{Definition, RunDefinition, TaskDefinition, Version},
    node::NodeKind,
    suggest,
};

pub(crate) const TOP: Known = Known::always(&["runs", "docker_registries_auth", "task_timeout_interval", "version"]);

pub(crate) const RUN: Known = Known {
    always: &["name", "tasks", "when", "docker_registries_auth", "task_timeout_interval"],
    v1: &["cache_group", "schedule", "inputs", "concurrency"],
};

/// The most tasks of a run.
const TASKS_MAX: usize = 2_000;

/// How many unknown parents are worth a search for what was meant.
const GUESSES_MAX: usize = 20;

/// Reads a whole definition. `None`: nothing of it could be read.
pub(super) fn definition(reader: &mut Reader<'_>, root: &At<'_>) -> Option<Definition> {
    // The version decides how all else is read, also how unknown keys are reported: it comes first.
    reader.version = version(reader, root);
    let fields = reader.fields(root, TOP)?;
    let mut definition = Definition {
        file: reader.file.to_owned(),
        version: reader.version,
        runs: Vec::new(),
        registries_auth: reader.registries_auth(&fields),
        task_timeout: reader.duration_field(&fields, "task_timeout_interval"),
    };
    match fields.get("runs") {
        Some(at) => {
            let items = reader.list(&at);
            if items.is_empty() && matches!(at.node.kind, NodeKind::List(_)) {
                reader.error(&at, "the definition has no runs", "add at least one run");
            }
            let mut names = BTreeSet::new();
            for item in items {
                let Some(run) = run(reader, &item) else { continue };
                if !names.insert(run.name.clone()) {
                    reader.error(&item, format_args!("another run is called `{}` too", run.name), "rename one of them");
                }
                definition.runs.push(run);
            }
        }
        None => reader.error(root, "the definition has no runs", "add `runs:` with at least one run"),
    }
    Some(definition)
}

fn version(reader: &mut Reader<'_>, root: &At<'_>) -> Version {
    let NodeKind::Map(entries) = &root.node.kind else { return Version::V0 };
    let Some((_, node)) = entries.iter().rev().find(|(key, _)| key.text.eq_ignore_ascii_case("version")) else {
        return Version::V0;
    };
    let at = root.key("version", node);
    if at.node.kind == NodeKind::Null {
        return Version::V0;
    }
    match reader.text(&at).as_deref() {
        Some("v0") | None => Version::V0,
        Some("v1") => Version::V1,
        Some(other) => {
            reader.error(&at, format_args!("the version `{other}` is not known"), "write `v0` or `v1`");
            Version::V0
        }
    }
}

fn run(reader: &mut Reader<'_>, at: &At<'_>) -> Option<RunDefinition> {
    let fields = reader.fields(at, RUN)?;
    let mut run = RunDefinition {
        name: reader.required_name(at, &fields, "run").unwrap_or_default(),
        position: at.node.position,
        tasks: Vec::new(),
        when: reader.when(&fields),
        registries_auth: reader.registries_auth(&fields),
        task_timeout: reader.duration_field(&fields, "task_timeout_interval"),
        cache_group: reader.text_field(&fields, "cache_group"),
        concurrency: reader.concurrency(&fields),
        schedules: reader.schedules(&fields),
        inputs: reader.inputs(&fields),
    };
    if run.cache_group.as_deref() == Some("") {
        reader.error(at, "the cache group is empty", "leave it out to use the project's");
    }
    let mut dependencies = Vec::new();
    if let Some(tasks) = fields.get("tasks") {
        let mut names = BTreeSet::new();
        let mut items = reader.list(&tasks);
        if items.len() > TASKS_MAX {
            let message = format!("the run has {} tasks, and {TASKS_MAX} are the most", items.len());
            reader.error(&tasks, message, "split it into several runs");
            items.truncate(TASKS_MAX);
        }
        for item in items {
            let Some((task, depends)) = reader.task(&item) else { continue };
            if !names.insert(task.name.clone()) {
                reader.error(&item, format_args!("another task is called `{}` too", task.name), "rename one of them");
                continue;
            }
            dependencies.push(depends);
            run.tasks.push(task);
        }
        check_graph(reader, &tasks, &run.tasks, &dependencies);
    }
    // A run without a name was reported; it must not be taken for the double of another one.
    (!run.name.is_empty()).then_some(run)
}

/// Reports dependencies on tasks that do not exist, and cycles.
fn check_graph(reader: &mut Reader<'_>, at: &At<'_>, tasks: &[TaskDefinition], dependencies: &[Dependencies<'_>]) {
    let names: BTreeSet<_> = tasks.iter().map(|task| &task.name).collect();
    let unknown = dependencies.iter().flatten().filter(|(parent, _)| !names.contains(parent));
    for (index, (parent, at)) in unknown.enumerate() {
        let known = names.iter().map(|name| name.as_str());
        let meant = (index < GUESSES_MAX).then(|| suggest::nearest(parent.as_str(), known)).flatten();
        let hint = meant
            .map(|name| format!("did you mean `{name}`?"))
            .unwrap_or_else(|| "add the task, or take the dependency away".to_owned());
        reader.error(at, format_args!("the task `{parent}` does not exist in this run"), &hint);
    }
    let depends = tasks.iter().map(|task| (&task.name, &task.depends));
    let cycle = on_cycles(&depends.collect());
    if !cycle.is_empty() {
        let names: Vec<_> = cycle.iter().map(|name| format!("`{name}`")).collect();
        let message = format!("these tasks depend on each other in a cycle: {}", names.join(", "));
        reader.error(at, message, "take a dependency away that closes the cycle");
    }
}
