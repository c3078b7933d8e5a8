//! Reading steps, in all their spellings.

use runyard_executor_core::contract::{Contents, NAME_BYTES_MAX};

use super::{
    At, Reader,
    fields::{Fields, Known},
};
use crate::{
    definition::{Action, CloneOptions, CommandStep, StepDefinition},
    node::NodeKind,
    suggest,
};

pub(crate) const KINDS: [&str; 6] =
    ["clone", "run", "save_to_workspace", "restore_workspace", "save_cache", "restore_cache"];

/// The keys of a step of a kind.
pub(crate) fn known(kind: &str) -> Known {
    Known::always(match kind {
        "clone" => &["type", "name", "when", "depth", "recurse_submodules"],
        "run" => &["type", "name", "when", "command", "environment", "working_dir", "shell", "user", "tty", "timeout"],
        "save_to_workspace" => &["type", "name", "when", "contents"],
        "restore_workspace" => &["type", "name", "when", "dest_dir"],
        "save_cache" => &["type", "name", "when", "key", "contents"],
        _ => &["type", "name", "when", "keys", "dest_dir"],
    })
}

pub(crate) const CONTENTS: Known = Known::always(&["source_dir", "dest_dir", "paths"]);

impl Reader<'_> {
    pub(super) fn step(&mut self, at: &At<'_>) -> Option<StepDefinition> {
        let NodeKind::Map(entries) = &at.node.kind else {
            let hint = "write `- run: <command>` or `- clone:`";
            self.error(at, format_args!("expected a step, found {}", at.node.describe()), hint);
            return None;
        };
        let v1 = self.v1();
        let is_type = |text: &str| text == "type" || (!v1 && text.eq_ignore_ascii_case("type"));
        if let Some((_, value)) = entries.iter().find(|(key, _)| is_type(&key.text)) {
            let type_at = at.key("type", value);
            let kind = self.text(&type_at)?;
            let kind = self.kind(&type_at, &kind)?;
            return self.step_of(kind, at);
        }
        let [(key, value)] = entries.as_slice() else {
            let message = match entries.len() {
                0 => "the step is empty".to_owned(),
                count => format!("a step without `type` has one key, and this one has {count}"),
            };
            self.error(at, message, "write `- type: run` with its keys beside it, or indent them below `run:`");
            return None;
        };
        let kind = self.kind(at, &key.text)?;
        let inner = at.key(kind, value);
        match (&value.kind, kind) {
            (NodeKind::Scalar(_), "run") => {
                let command = self.text(&inner)?;
                self.check_command(&inner, &command);
                Some(self.named(&inner, None, Action::Run(CommandStep { command, tty: !v1, ..CommandStep::default() })))
            }
            (NodeKind::Null, "run") => {
                self.error(&inner, "the step has no command", "write it behind `run:`");
                None
            }
            (NodeKind::Null, "clone") => Some(StepDefinition {
                name: kind.to_owned(),
                when: None,
                action: Action::Clone(CloneOptions::default()),
            }),
            (NodeKind::Null, "restore_workspace") => Some(StepDefinition {
                name: kind.to_owned(),
                when: None,
                action: Action::RestoreWorkspace { dest_dir: String::new() },
            }),
            _ => self.step_of(kind, &inner),
        }
    }

    fn kind(&mut self, at: &At<'_>, text: &str) -> Option<&'static str> {
        let v1 = self.v1();
        let found = KINDS.into_iter().find(|kind| *kind == text || (!v1 && kind.eq_ignore_ascii_case(text)));
        if found.is_none() {
            let hint = match suggest::nearest(text, KINDS) {
                Some(kind) => format!("did you mean `{kind}`?"),
                None => format!("known here: {}", KINDS.join(", ")),
            };
            self.error(at, format_args!("the step `{text}` is not known"), &hint);
        }
        found
    }

    fn step_of(&mut self, kind: &'static str, at: &At<'_>) -> Option<StepDefinition> {
        let fields = self.fields(at, known(kind))?;
        let action = match kind {
            "clone" => Action::Clone(CloneOptions {
                depth: fields.get("depth").and_then(|at| self.number(&at, 1)),
                recurse_submodules: self.bool_field(&fields, "recurse_submodules").unwrap_or(false),
            }),
            "run" => Action::Run(self.command(at, &fields)),
            "save_to_workspace" => Action::SaveToWorkspace { contents: self.contents(at, &fields, &[]) },
            "restore_workspace" => {
                Action::RestoreWorkspace { dest_dir: self.text_field(&fields, "dest_dir").unwrap_or_default() }
            }
            "save_cache" => {
                let key = self.text_field(&fields, "key").unwrap_or_default();
                if key.is_empty() {
                    self.error(at, "the step has no `key`", "add `key`, the name of the cache entry");
                }
                Action::SaveCache { key, contents: self.contents(at, &fields, &["**"]) }
            }
            _ => Action::RestoreCache {
                keys: self.keys(at, &fields),
                dest_dir: self.text_field(&fields, "dest_dir").unwrap_or_default(),
            },
        };
        Some(self.named(at, Some(&fields), action))
    }

    fn named(&mut self, at: &At<'_>, fields: Option<&Fields<'_>>, action: Action) -> StepDefinition {
        let name = fields.and_then(|fields| fields.get("name")).and_then(|at| self.name(&at));
        let mut when = fields.and_then(|fields| self.when(fields));
        if when.is_some() && !self.v1() {
            self.warning(at, "`when` on a step is ignored", "say `version: v1`, where it is honoured");
            when = None;
        }
        let name = name.unwrap_or_else(|| default_name(&action));
        StepDefinition { name, when, action }
    }

    fn command(&mut self, at: &At<'_>, fields: &Fields<'_>) -> CommandStep {
        let command = self.text_field(fields, "command").unwrap_or_default();
        if fields.get("command").is_none() {
            // In every version: a check that never runs must not look as if it had passed.
            self.error(at, "the step has no command", "add `command`");
        } else {
            self.check_command(at, &command);
        }
        CommandStep {
            command,
            environment: self.environment(fields),
            working_dir: self.text_field(fields, "working_dir").filter(|dir| !dir.is_empty()),
            shell: self.text_field(fields, "shell").filter(|shell| !shell.is_empty()),
            user: self.text_field(fields, "user").filter(|user| !user.is_empty()),
            tty: self.bool_field(fields, "tty").unwrap_or(!self.v1()),
            timeout: self.duration_field(fields, "timeout"),
        }
    }

    fn check_command(&mut self, at: &At<'_>, command: &str) {
        if command.is_empty() {
            self.lapse(at.node.position, &at.path, "the command of the step is empty".to_owned(), "write what to run");
        }
    }

    fn contents(&mut self, step: &At<'_>, fields: &Fields<'_>, default_paths: &[&str]) -> Vec<Contents> {
        let items = fields.get("contents").map(|at| self.list(&at)).unwrap_or_default();
        if items.is_empty() {
            self.warning(step, "the step has no `contents` and stores nothing", "add `contents: [{paths: [...]}]`");
        }
        items.iter().filter_map(|item| self.content(item, default_paths)).collect()
    }

    fn content(&mut self, at: &At<'_>, default_paths: &[&str]) -> Option<Contents> {
        let fields = self.fields(at, CONTENTS)?;
        let mut paths = fields.get("paths").map(|at| self.text_list(&at)).unwrap_or_default();
        if paths.is_empty() {
            paths = default_paths.iter().map(|path| (*path).to_owned()).collect();
        }
        if paths.is_empty() {
            self.warning(at, "without `paths`, nothing is stored", "add `paths: [\"**\"]` for everything");
        }
        Some(Contents {
            source_dir: self.text_field(&fields, "source_dir").unwrap_or_default(),
            dest_dir: self.text_field(&fields, "dest_dir").unwrap_or_default(),
            paths,
        })
    }

    fn keys(&mut self, step: &At<'_>, fields: &Fields<'_>) -> Vec<String> {
        let Some(at) = fields.get("keys") else {
            self.error(step, "the step has no `keys`", "add `keys`, a list of names of cache entries");
            return Vec::new();
        };
        let items = self.list(&at);
        if items.is_empty() && matches!(at.node.kind, NodeKind::List(_)) {
            self.error(&at, "there is no key", "add at least one name of a cache entry");
        }
        let mut keys = Vec::new();
        for item in items {
            let Some(key) = self.text(&item) else { continue };
            if key.is_empty() {
                self.error(&item, "the key is empty", "write the name of a cache entry, or the beginning of one");
            }
            keys.push(key);
        }
        keys
    }
}

/// The first line of a command, as much of it as a name may have; for other steps, what they do.
fn default_name(action: &Action) -> String {
    let name = match action {
        Action::Run(step) => {
            let line = step.command.lines().next().unwrap_or_default();
            let end = (0..=NAME_BYTES_MAX.min(line.len())).rev().find(|end| line.is_char_boundary(*end));
            &line[..end.unwrap_or(0)]
        }
        Action::Clone(_) => "clone",
        Action::SaveToWorkspace { .. } => "save_to_workspace",
        Action::RestoreWorkspace { .. } => "restore_workspace",
        Action::SaveCache { .. } => "save_cache",
        Action::RestoreCache { .. } => "restore_cache",
    };
    if name.is_empty() { "run".to_owned() } else { name.to_owned() }
}
