//! Is the schema that is checked in the one that the crate makes, and does it tell good definitions from bad ones?
//!
//! `RUNYARD_BLESS=1` writes `schema.json` anew.

use std::{fs, path::Path};

use regex::Regex;
use runyard_runconfig::{Node, NodeKind, ScalarKind, parse_tree, schema};
use serde_json::{Map, Value, json};

/// What YAML becomes for a schema.
fn value(node: &Node) -> Value {
    match &node.kind {
        NodeKind::Null => Value::Null,
        NodeKind::Scalar(scalar) => match scalar.kind {
            ScalarKind::Bool => json!(scalar.text.eq_ignore_ascii_case("true")),
            ScalarKind::Number => serde_json::from_str(&scalar.text).unwrap_or_else(|_| json!(scalar.text)),
            ScalarKind::Plain | ScalarKind::Quoted => json!(scalar.text),
        },
        NodeKind::List(items) => items.iter().map(value).collect(),
        NodeKind::Map(entries) => {
            Value::Object(entries.iter().map(|(key, item)| (key.text.clone(), value(item))).collect::<Map<_, _>>())
        }
    }
}

/// The part of JSON Schema that the schema uses; any other keyword is a panic, so that none is ignored. (A whole validator
/// would bring some thirty crates.)
fn accepts(root: &Value, schema: &Value, value: &Value) -> bool {
    let Value::Object(schema) = schema else { panic!("a schema is a map: {schema}") };
    schema.iter().all(|(keyword, wanted)| {
        let any = |schemas: &Value| schemas.as_array().expect("a list").iter().any(|one| accepts(root, one, value));
        match keyword.as_str() {
            "$schema" | "title" | "description" | "definitions" | "then" | "else" => true,
            "$ref" => {
                let name = wanted.as_str().and_then(|text| text.strip_prefix("#/definitions/")).expect("a reference");
                accepts(root, root["definitions"].get(name).unwrap_or_else(|| panic!("{name} is not defined")), value)
            }
            "if" => accepts(root, &schema[if accepts(root, wanted, value) { "then" } else { "else" }], value),
            "anyOf" => any(wanted),
            "allOf" => wanted.as_array().expect("a list").iter().all(|one| accepts(root, one, value)),
            "const" => value == wanted,
            "enum" => wanted.as_array().expect("a list").contains(value),
            "type" => match wanted {
                Value::Array(types) => types.iter().any(|one| is(one, value)),
                one => is(one, value),
            },
            "minimum" => value.as_f64().is_none_or(|number| number >= wanted.as_f64().expect("a number")),
            "pattern" => value
                .as_str()
                .is_none_or(|text| Regex::new(wanted.as_str().expect("text")).expect("an expression").is_match(text)),
            "minLength" => value.as_str().is_none_or(|text| text.chars().count() as u64 >= wanted.as_u64().expect("n")),
            "maxLength" => value.as_str().is_none_or(|text| text.chars().count() as u64 <= wanted.as_u64().expect("n")),
            "minItems" => value.as_array().is_none_or(|items| items.len() as u64 >= wanted.as_u64().expect("n")),
            "items" => value.as_array().is_none_or(|items| items.iter().all(|item| accepts(root, wanted, item))),
            "minProperties" => value.as_object().is_none_or(|map| map.len() as u64 >= wanted.as_u64().expect("n")),
            "maxProperties" => value.as_object().is_none_or(|map| map.len() as u64 <= wanted.as_u64().expect("n")),
            "required" => value.as_object().is_none_or(|map| {
                wanted.as_array().expect("a list").iter().all(|key| map.contains_key(key.as_str().expect("text")))
            }),
            "propertyNames" => {
                value.as_object().is_none_or(|map| map.keys().all(|key| accepts(root, wanted, &json!(key))))
            }
            "properties" => value.as_object().is_none_or(|map| {
                map.iter().all(|(key, item)| wanted.get(key).is_none_or(|schema| accepts(root, schema, item)))
            }),
            "patternProperties" => true,
            "additionalProperties" => value.as_object().is_none_or(|map| {
                let pattern = schema.get("patternProperties").map(|_| "x-");
                let listed = |key: &str| {
                    schema.get("properties").is_some_and(|properties| properties.get(key).is_some())
                        || pattern.is_some_and(|pattern| key.starts_with(pattern))
                };
                map.iter().filter(|(key, _)| !listed(key)).all(|(_, item)| match wanted {
                    Value::Bool(allowed) => *allowed,
                    schema => accepts(root, schema, item),
                })
            }),
            other => panic!("the keyword {other} is not understood here"),
        }
    })
}

fn is(kind: &Value, value: &Value) -> bool {
    match kind.as_str().expect("text") {
        "object" => value.is_object(),
        "array" => value.is_array(),
        "string" => value.is_string(),
        "boolean" => value.is_boolean(),
        "null" => value.is_null(),
        "number" => value.is_number(),
        "integer" => value.is_i64() || value.is_u64(),
        other => panic!("the type {other} is not understood here"),
    }
}

fn accepted(root: &Value, text: &str) -> bool {
    let tree = parse_tree("t.yml", text).unwrap_or_else(|error| panic!("{error}:\n{text}"));
    accepts(root, root, &value(&tree.root))
}

#[test]
fn the_schema_that_is_checked_in_is_up_to_date() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("schema.json");
    let made = format!("{:#}\n", schema());
    if std::env::var_os("RUNYARD_BLESS").is_some() {
        fs::write(&path, &made).expect("writes");
    }
    assert!(fs::read_to_string(&path).expect("reads") == made, "RUNYARD_BLESS=1 writes it anew");
}

#[test]
fn it_accepts_the_definitions_of_real_projects() {
    let root = schema();
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/definitions");
    let mut checked = 0;
    for entry in fs::read_dir(dir).expect("lists") {
        let path = entry.expect("lists").path();
        if path.extension().is_some_and(|extension| extension == "expected") {
            continue;
        }
        let text = fs::read_to_string(&path).expect("reads");
        // It is full of what version 0 only warns of.
        let is_good = !path.ends_with("old-yaml.yml");
        assert_eq!(accepted(&root, &text), is_good, "{}", path.display());
        checked += 1;
    }
    assert!(checked >= 30, "only {checked} definitions were found");
}

#[test]
fn it_refuses_typical_mistakes_and_accepts_what_was_meant() {
    let root = schema();
    let task = |version: &str, keys: &str| {
        format!(
            "{{version: {version}, runs: [{{name: r, tasks: [{{name: t, runtime: {{containers: [{{image: x}}]}}, {keys}}}]}}]}}"
        )
    };
    for (version, bad, good) in [
        ("v0", "step: []", "steps: []"),
        ("v0", "steps: make", "steps: [run: make]"),
        ("v0", "steps: [make]", "steps: [{run: make}]"),
        ("v0", "steps: [{rum: make}]", "steps: [{type: run, command: make}]"),
        ("v0", "steps: [{run: make, name: x}]", "steps: [{run: {command: make, name: x}}]"),
        ("v0", "steps: [{run: {name: x}}]", "steps: [{run: {name: x, command: y}}]"),
        ("v0", "steps: [{type: run}]", "steps: [{type: run, command: 1}]"),
        ("v0", "steps: [{type: rum, command: x}]", "steps: [{type: clone}]"),
        ("v0", "steps: [{clone: {dept: 1}}]", "steps: [{clone: {depth: 1}}]"),
        ("v0", "steps: [{clone: {depth: 0}}]", "steps: [{clone: }]"),
        ("v0", "steps: [{save_cache: {contents: []}}]", "steps: [{save_cache: {key: a, contents: []}}]"),
        ("v0", "steps: [{restore_cache: {keys: x}}]", "steps: [{restore_cache: {keys: [x], dest_dir: y}}]"),
        ("v0", "steps: [{restore_cache: {keys: []}}]", "steps: [{restore_workspace: }]"),
        ("v0", "environment: {A: 1}", "environment: {A: '1'}"),
        ("v0", "environment: {A: {from_var: x}}", "environment: {A: {from_variable: x}}"),
        ("v0", "environment: {'A=B': x}", "environment: {AB: x}"),
        ("v0", "retry: {max: 1}", "user: 1000"),
        ("v1", "retry: {on: [lost]}", "retry: {max: 1, on: [lost]}"),
        ("v1", "retry: {max: 1, on: [fire]}", "retry: {max: 0}"),
        ("v1", "ignore_failure: yes", "ignore_failure: true"),
        ("v0", "ignore_failure: sure", "ignore_failure: yes"),
        ("v0", "approval: {minimum: 0}", "approval: {minimum: 2, approvers: [a, b]}"),
        ("v0", "task_timeout_interval: 10 minutes", "task_timeout_interval: 10m30s"),
        ("v0", "task_timeout_interval: -1", "task_timeout_interval: 1000000000"),
        ("v0", "depends: build", "depends: [build]"),
        ("v0", "depends: [{a: on_success}]", "depends: [{a: [on_success]}, {task: b}, {c: }]"),
        ("v0", "depends: [{a: [success]}]", "depends: [{task: a, conditions: [on_skipped]}]"),
        ("v0", "when: {branches: main}", "when: {branch: main}"),
        ("v0", "when: {branch: {only: x}}", "when: {branch: {include: [x], exclude: /y/}, tag: [a, 1]}"),
        ("v0", "when: main", "when: ~"),
        ("v0", "docker_registries_auth: {r: {}}", "docker_registries_auth: {r: {username: a, password: b}}"),
        ("v0", "docker_registries_auth: {r: {auth: x}}", "docker_registries_auth: {r: {type: encodedauth, auth: x}}"),
        ("v0", "Steps: []", "working_dir: /x"),
        ("v1", "labels: [a]", "labels: {gpu: true}"),
    ] {
        assert!(!accepted(&root, &task(version, bad)), "{version}: {bad} is accepted");
        assert!(accepted(&root, &task(version, good)), "{version}: {good} is refused");
    }
    for (bad, good) in [
        ("{}", "{runs: [{name: a}]}"),
        ("{runs: []}", "{runs: [{name: a, tasks: }]}"),
        ("[]", "{runs: [{name: a, tasks: []}], task_timeout_interval: 0}"),
        ("{runs: {name: a}}", "{version: v0, runs: [{name: 1}]}"),
        ("{version: v2, runs: [{name: a}]}", "{version: v1, runs: [{name: a, concurrency: {policy: parallel}}]}"),
        ("{runs: [{name: ''}]}", "{version: v1, runs: [{name: a, schedule: 0 3 * * *}]}"),
        ("{runs: [{tasks: []}]}", "{version: v1, runs: [{name: a, schedule: [{cron: 0 3 * * *, timezone: UTC}]}]}"),
        (
            "{runs: [{name: a, tasks: [{name: t}]}]}",
            "{version: v1, runs: [{name: a, inputs: {x: , y: {type: boolean}}}]}",
        ),
        ("{version: v1, x-a: 1, runs: [{name: a}]}", "{x-a: 1, runs: [{name: a}]}"),
        ("{runs: [{name: a, cache_group: g}]}", "{version: v1, runs: [{name: a, cache_group: g}]}"),
    ] {
        assert!(!accepted(&root, bad), "{bad} is accepted");
        assert!(accepted(&root, good), "{good} is refused");
    }
    let container =
        |keys: &str| format!("{{runs: [{{name: r, tasks: [{{name: t, runtime: {{containers: [{{{keys}}}]}}}}]}}]}}");
    for (bad, good) in [
        ("image: x, imagePullPolicy: y", "image: x, privileged: on"),
        ("image: x, volumes: [{path: /a}]", "image: x, volumes: [{path: /a, tmpfs: {}}]"),
        ("image: x, volumes: [{path: /a, tmpfs: {size: 1GB}}]", "image: x, volumes: [{path: /a, tmpfs: {size: 1Gi}}]"),
        ("image: [x]", "image: x, volumes: [{path: /a, tmpfs: {size: 1024}}]"),
    ] {
        assert!(!accepted(&root, &container(bad)), "{bad} is accepted");
        assert!(accepted(&root, &container(good)), "{good} is refused");
    }
}
