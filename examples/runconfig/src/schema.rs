//! What do editors have to know to complete and check a definition? Its JSON Schema.
//!
//! The keys come from the tables that the parser reads by, so that a key cannot be in one and not in the other. The two
//! versions have different keys and values: every map is defined twice, and `version` decides which of them counts.

use serde_json::{Map, Value, json};

use crate::{
    definition::Version,
    parse::{auth, depends, extra, fields::Known, run, runtime, scalar, step, task, when},
};

/// The JSON Schema (draft 7, which editors know best) of a definition in YAML or JSON; `examples/runconfig/schema.json`
/// is the same, checked in.
///
/// It is stricter than the parser where `v0` only warns: what it accepts is read without an error, but for what no schema
/// can say (unique names, sound graphs, patterns that can be compiled, a `"yes"` in quotes).
///
/// ```
/// let schema = runyard_runconfig::schema();
/// assert_eq!(schema["title"], "Runyard run definition");
/// ```
pub fn schema() -> Value {
    let mut definitions = Map::new();
    for version in [Version::V0, Version::V1] {
        Writer { version }.define(&mut definitions);
    }
    json!({
        "$schema": "http://json-schema.org/draft-07/schema#",
        "title": "Runyard run definition",
        "description": "What a repository says about its runs: .runyard/config.yml or .runyard/config.json",
        "if": {"type": "object", "properties": {"version": {"const": "v1"}}, "required": ["version"]},
        "then": {"$ref": "#/definitions/v1_definition"},
        "else": {"$ref": "#/definitions/v0_definition"},
        "definitions": definitions,
    })
}

/// Writes the definitions of one version.
struct Writer {
    version: Version,
}

impl Writer {
    fn v1(&self) -> bool {
        self.version == Version::V1
    }

    /// A reference to a map of this version.
    fn map(&self, name: &str) -> Value {
        let prefix = if self.v1() { "v1" } else { "v0" };
        json!({"$ref": format!("#/definitions/{prefix}_{name}")})
    }

    fn define(&self, definitions: &mut Map<String, Value>) {
        let prefix = if self.v1() { "v1" } else { "v0" };
        let mut add = |name: &str, schema: Value| definitions.insert(format!("{prefix}_{name}"), schema);
        let mut top = self.object("definition", run::TOP, &["runs"]);
        if !self.v1() {
            // Where people keep what their anchors are for; a warning in this version, an error in the next.
            top["patternProperties"] = json!({"^x-": {}});
        }
        add("definition", top);
        add("run", self.object("run", run::RUN, &["name"]));
        add("task", self.object("task", task::TASK, &["name", "runtime"]));
        add("runtime", self.object("runtime", runtime::RUNTIME, &["containers"]));
        add("container", self.object("container", runtime::CONTAINER, &[]));
        add("volume", self.object("volume", runtime::VOLUME, &["path", "tmpfs"]));
        add("tmpfs", self.object("tmpfs", runtime::TMPFS, &[]));
        add("auth", self.auth());
        add(
            "environment",
            json!({"type": "object", "propertyNames": {"pattern": "^[^=]+$"}, "additionalProperties": self.value()}),
        );
        add("when", self.object("when", when::WHEN, &[]));
        add("conditions", one_of([text(), list(text()), self.object("conditions", when::CONDITIONS, &[])]));
        add("dependency", self.dependency());
        add("contents", self.object("contents", step::CONTENTS, &[]));
        add("step", self.step());
        if self.v1() {
            add("resources", self.object("resources", runtime::RESOURCES, &[]));
            add("concurrency", self.object("concurrency", extra::CONCURRENCY, &[]));
            add("schedule", one_of([text(), self.object("schedule", extra::SCHEDULE, &["cron"])]));
            add("input", self.object("input", extra::INPUT, &[]));
            add("retry", self.object("retry", extra::RETRY, &["max"]));
        }
        add("approval", one_of([self.boolean(), self.object("approval", task::APPROVAL, &[])]));
    }

    /// A map with the keys of a table.
    fn object(&self, owner: &str, known: Known, required: &[&str]) -> Value {
        let keys = known.always.iter().chain(if self.v1() { known.v1 } else { &[] });
        let properties: Map<String, Value> = keys
            .map(|key| {
                let schema = self.property(owner, key);
                let schema = if required.contains(key) { schema } else { or_null(schema) };
                let described = describe(schema, description(owner, key));
                ((*key).to_owned(), described)
            })
            .collect();
        let mut object = json!({"type": "object", "properties": properties, "additionalProperties": false});
        if !required.is_empty() {
            object["required"] = json!(required);
        }
        object
    }

    /// What a key of a map may hold.
    fn property(&self, owner: &str, key: &str) -> Value {
        match (owner, key) {
            ("definition", "version") => json!({"enum": ["v0", "v1"]}),
            ("definition", "runs") => json!({"type": "array", "items": self.map("run"), "minItems": 1}),
            ("run", "tasks") => list(self.map("task")),
            ("run", "schedule") => one_of([self.map("schedule"), list(self.map("schedule"))]),
            ("run", "inputs") => map_of(or_null(self.map("input"))),
            ("task", "steps") => list(self.map("step")),
            ("task", "depends") => list(self.map("dependency")),
            ("task", "labels") => map_of(text()),
            ("task", "approval" | "retry" | "runtime") | ("run", "concurrency") | ("volume", "tmpfs") => self.map(key),
            ("container", "resources") => self.map(key),
            ("runtime", "type") => json!({"enum": ["pod", ""]}),
            ("runtime", "arch") => json!({"enum": ["amd64", "arm64", "arm", "386", 386, ""]}),
            ("runtime", "containers") => json!({"type": "array", "items": self.map("container"), "minItems": 1}),
            ("container", "volumes") => list(self.map("volume")),
            ("tmpfs", "size") | ("resources", _) => quantity(),
            ("auth", "username" | "password" | "auth") => self.value(),
            ("when", _) => self.map("conditions"),
            ("conditions", _) => one_of([text(), list(text())]),
            ("dependency", "conditions") => conditions(),
            ("approval", "approvers") | ("contents", "paths") => list(text()),
            ("approval", "minimum") | ("clone", "depth") => json!({"type": "integer", "minimum": 1}),
            ("retry", "max") => json!({"type": "integer", "minimum": 0}),
            ("retry", "on") => list(words(extra::CLASSES.map(|(word, _)| word))),
            ("concurrency", "policy") => words(extra::POLICIES.map(|(word, _)| word)),
            ("input", "type") => words(extra::KINDS.map(|(word, _)| word)),
            ("save_cache" | "save_to_workspace", "contents") => list(self.map("contents")),
            ("restore_cache", "keys") => json!({"type": "array", "items": name_text(), "minItems": 1}),
            ("save_cache", "key") => name_text(),
            (_, "name") | ("concurrency", "group") => {
                json!({"type": ["string", "number", "boolean"], "minLength": 1, "maxLength": 100})
            }
            (_, "when" | "environment") => self.map(key),
            (_, "docker_registries_auth") => map_of(self.map("auth")),
            (_, "task_timeout_interval" | "timeout") => duration(),
            (_, "privileged" | "ignore_failure" | "recurse_submodules" | "tty" | "required") => self.boolean(),
            _ => text(),
        }
    }

    fn boolean(&self) -> Value {
        let words = ["yes", "Yes", "YES", "y", "Y", "on", "On", "ON", "no", "No", "NO", "n", "N", "off", "Off", "OFF"];
        if self.v1() {
            json!({"type": "boolean"})
        } else {
            one_of([json!({"type": "boolean"}), json!({"enum": words})])
        }
    }

    fn value(&self) -> Value {
        let plain = if self.v1() { text() } else { json!({"type": "string"}) };
        one_of([plain, self.object("value", scalar::VALUE, &["from_variable"])])
    }

    fn auth(&self) -> Value {
        let mut basic = self.object("auth", auth::AUTH, &[]);
        basic["minProperties"] = json!(1);
        basic["properties"]["type"] = json!({"enum": ["basic", "", null]});
        remove(&mut basic, "auth");
        let mut encoded = self.object("auth", auth::AUTH, &["type"]);
        encoded["properties"]["type"] = json!({"const": "encodedauth"});
        remove(&mut encoded, "username");
        remove(&mut encoded, "password");
        one_of([basic, encoded])
    }

    fn dependency(&self) -> Value {
        let short = json!({"type": "object", "minProperties": 1, "maxProperties": 1, "additionalProperties": or_null(conditions())});
        one_of([text(), self.object("dependency", depends::DEPENDENCY, &["task"]), short])
    }

    fn step(&self) -> Value {
        let kinds = step::KINDS.into_iter().flat_map(|kind| {
            let required: &[&str] = match kind {
                "run" => &["command"],
                "save_cache" => &["key"],
                "restore_cache" => &["keys"],
                _ => &[],
            };
            let mut inner = self.object(kind, step::known(kind), required);
            remove(&mut inner, "type");
            let mut beside = inner.clone();
            beside["properties"]["type"] = json!({"const": kind});
            beside["required"] = [&["type"], required].concat().into();
            let inner = match kind {
                "run" => one_of([text(), inner]),
                "clone" | "restore_workspace" => or_null(inner),
                _ => inner,
            };
            let below = describe(inner, description("step", kind));
            let below = json!({"type": "object", "properties": {kind: below}, "required": [kind], "additionalProperties": false});
            [below, beside]
        });
        one_of(kinds)
    }
}

fn remove(object: &mut Value, key: &str) {
    if let Some(properties) = object["properties"].as_object_mut() {
        properties.remove(key);
    }
}

/// A text; numbers and booleans are their spelling.
fn text() -> Value {
    json!({"type": ["string", "number", "boolean"]})
}

fn name_text() -> Value {
    json!({"type": ["string", "number", "boolean"], "minLength": 1})
}

fn list(items: Value) -> Value {
    json!({"type": "array", "items": items})
}

fn map_of(values: Value) -> Value {
    json!({"type": "object", "additionalProperties": values})
}

fn words<const N: usize>(words: [&str; N]) -> Value {
    json!({"enum": words.as_slice()})
}

fn conditions() -> Value {
    list(words(depends::CONDITIONS.map(|(word, _)| word)))
}

fn duration() -> Value {
    json!({
        "type": ["string", "integer"],
        "minimum": 0,
        "pattern": "^\\+?([0-9]+|(([0-9]+(\\.[0-9]*)?|\\.[0-9]+)(ns|us|µs|μs|ms|s|m|h))+)$",
    })
}

fn quantity() -> Value {
    json!({
        "type": ["string", "number"],
        "minimum": 0,
        "pattern": "^\\+?([0-9]+(\\.[0-9]*)?|\\.[0-9]+)([numkMGTPE]|[KMGTPE]i|[eE][+-]?[0-9]+)?$",
    })
}

fn one_of(schemas: impl IntoIterator<Item = Value>) -> Value {
    json!({"anyOf": schemas.into_iter().collect::<Vec<_>>()})
}

/// A key without a value is a key that is not there.
fn or_null(schema: Value) -> Value {
    one_of([schema, json!({"type": "null"})])
}

fn describe(schema: Value, description: &str) -> Value {
    if description.is_empty() {
        return schema;
    }
    // Beside a reference, draft 7 reads nothing else.
    let mut schema = if schema.get("$ref").is_some() { json!({"allOf": [schema]}) } else { schema };
    schema["description"] = json!(description);
    schema
}

/// What an editor shows beside a key; empty where the key says it all.
fn description(owner: &str, key: &str) -> &'static str {
    match (owner, key) {
        ("definition", "version") => "v0: as it always was (the default). v1: stricter, with more keys.",
        ("definition", "runs") => "The runs; each that matches is created, in this order.",
        ("run" | "task", "name") => "Required, unique, at most 100 bytes.",
        ("step", "clone") => "Fetches the commit into the working directory.",
        ("step", "run") => "Runs a command.",
        ("step", "save_to_workspace") => "Stores files for the tasks that depend on this one.",
        ("step", "restore_workspace") => "Unpacks what all tasks before this one saved.",
        ("step", "save_cache") => "Stores files for later runs; a key that exists is left alone.",
        ("step", "restore_cache") => "Unpacks what an earlier run stored; finding nothing is fine.",
        ("run", "when") => "On which refs the run is created; none: on all.",
        ("run", "cache_group") => "The namespace of its caches, instead of the project's.",
        ("run", "concurrency") => "What happens to other runs of the group.",
        ("run", "schedule") => "When the clock creates it: cron expressions.",
        ("run", "inputs") => "What a user is asked for who starts it by hand; each becomes a variable.",
        ("concurrency", "policy") => {
            "queue: wait for the others. cancel_queued: cancel those that wait. cancel_running: stop the one that runs, too. parallel: do not wait."
        }
        ("task", "when") => "On which refs the task is executed; elsewhere it is skipped.",
        ("task", "runtime") => "The containers; the first runs the steps.",
        ("task", "depends") => "The tasks that come before, and on which of their ends this one starts.",
        ("task", "ignore_failure") => "The run goes on as if nothing was when the task fails.",
        ("task", "approval") => "It waits for people before it starts.",
        ("task", "retry") => "Which failures start another attempt, and how many.",
        ("task", "labels") => "What the executor must be labelled with.",
        ("task", "working_dir") => "Where steps run; ~/project if nothing is said.",
        ("task", "shell") => "The program that reads a command; /bin/sh -e if nothing is said.",
        ("task" | "run" | "container", "environment") => {
            "Variables: a text, or {from_variable: name}. Quote numbers and booleans."
        }
        ("runtime", "arch") => "The processor architecture; none: any.",
        ("container", "privileged") => "Whether it asks for the host's privileges.",
        ("tmpfs", "size") => "As 64Mi or in bytes; 0 or nothing: no limit.",
        ("run", "tty") => "Whether the output is a terminal.",
        ("contents", "paths") => "Globs with **, relative to source_dir.",
        ("save_cache", "key") => "A template, such as deps-{{ sha256sum \"Cargo.lock\" }}.",
        ("restore_cache", "keys") => "Tried in order: the exact one, else the newest that begins with it.",
        ("conditions", "exclude") => "None of these may match.",
        ("conditions", "include") | ("when", _) => "A name, /re/ or #re#, or a list of them.",
        (_, "docker_registries_auth") => "Registry -> credentials; replaced registry by registry by what is nearer.",
        (_, "task_timeout_interval" | "timeout") => "A duration such as 15m; the nearest counts.",
        _ => "",
    }
}
