//! All spellings of steps, dependencies and values, and what they come down to.

use std::{collections::BTreeMap, time::Duration};

use runyard_executor_core::contract::{RegistryAuth, RunStep, Step, TaskName, Value};
use runyard_runconfig::{CompileContext, Compiled, Format, compile, parse};
use runyard_runservice_core::model::{GroupPath, TaskConfig};
use serde_json::{Value as Json, json};

fn context() -> CompileContext {
    let group = GroupPath::new("project", "1").and_then(|group| group.child("branch", "main")).expect("valid");
    let mut context = CompileContext::new(group);
    context.git_ref = "refs/heads/main".into();
    context.branch = "main".into();
    context
}

fn compiled_in(text: &str, context: &CompileContext) -> Compiled {
    let (definition, _) = parse("t.yml", Format::Yaml, text)
        .into_result()
        .unwrap_or_else(|diagnostics| panic!("{text}: {}", diagnostics[0]));
    compile(&definition, context).expect("a sound graph")
}

/// A task with these further keys, in a version.
fn task(version: &str, keys: &str) -> TaskConfig {
    let text = format!(
        "{{version: {version}, runs: [{{name: r, tasks: [{{name: a, {RUNTIME}}}, {{name: task, {RUNTIME}}}, {{name: t, \
         {keys}}}]}}]}}"
    );
    let mut compiled = compiled_in(&text, &context());
    compiled.runs[0].tasks.remove(&TaskName::parse("t").expect("valid")).expect("it is there")
}

const RUNTIME: &str = "runtime: {containers: [{image: x}]}";

fn step(version: &str, step: &str) -> Json {
    let task = task(version, &format!("{RUNTIME}, steps: [{step}]"));
    assert_eq!(task.steps.0.len(), 1, "{step}");
    serde_json::to_value(&task.steps.0[0]).expect("encodes")
}

#[test]
fn a_run_step_has_three_spellings() {
    let expected = json!({"type": "run", "name": "make", "command": "make", "environment": {}, "tty": true});
    for spelling in ["{run: make}", "{run: {command: make}}", "{type: run, command: make}"] {
        assert_eq!(step("v0", spelling), expected, "{spelling}");
        assert_eq!(step("v1", spelling)["tty"], json!(false), "{spelling}");
    }
    let keys = "name: n, command: 'a\n\n  b', environment: {A: x}, working_dir: /w, shell: bash -e, user: 1000, \
                tty: off, timeout: 90s";
    let expected = json!({
        "type": "run", "name": "n", "command": "a\nb", "environment": {"A": "x"}, "working_dir": "/w",
        "shell": "bash -e", "user": "1000", "tty": false, "timeout": {"secs": 90, "nanos": 0},
    });
    for spelling in [format!("{{run: {{{keys}}}}}"), format!("{{type: run, {keys}}}"), format!("{{RUN: {{{keys}}}}}")] {
        assert_eq!(step("v0", &spelling), expected, "{spelling}");
    }
}

#[test]
fn the_name_of_a_command_is_its_first_line_cut_on_a_character() {
    let long = "é".repeat(60);
    for (command, name) in [
        ("make", "make".to_owned()),
        (r"one\ntwo", "one".to_owned()),
        (r"one\r\ntwo", "one".to_owned()),
        (r"\none", "run".to_owned()),
        (&long, "é".repeat(50)),
        (&format!("x{long}"), format!("x{}", "é".repeat(49))),
    ] {
        assert_eq!(step("v0", &format!("{{run: \"{command}\"}}"))["name"], json!(name), "{command}");
    }
    assert_eq!(step("v0", "{run: 42}")["command"], json!("42"));
}

#[test]
fn a_clone_step_has_its_spellings_and_becomes_a_command() {
    let plain = ["{clone: }", "{clone: {}}", "{clone: null}", "{type: clone}"];
    for spelling in plain {
        let step = step("v0", spelling);
        assert_eq!((&step["type"], &step["name"]), (&json!("run"), &json!("clone")), "{spelling}");
        let command = step["command"].as_str().expect("text");
        assert!(command.starts_with("clone_depth=\nclone_submodules=\n"), "{spelling}");
        assert_eq!(step["shell"], json!("/bin/sh -e"));
    }
    for spelling in
        ["{clone: {depth: 3, recurse_submodules: yes}}", "{type: clone, depth: 3, recurse_submodules: true, name: get}"]
    {
        let step = step("v0", spelling);
        let command = step["command"].as_str().expect("text");
        assert!(command.starts_with("clone_depth=3\nclone_submodules=1\n"), "{spelling}");
    }
}

#[test]
fn workspace_and_cache_steps_have_two_spellings() {
    for (kind, keys, expected) in [
        (
            "save_to_workspace",
            "contents: [{source_dir: /a, dest_dir: b, paths: ['**', x]}, {paths: [y]}]",
            json!({"name": "save_to_workspace", "contents": [
                {"source_dir": "/a", "dest_dir": "b", "paths": ["**", "x"]},
                {"source_dir": "", "dest_dir": "", "paths": ["y"]},
            ]}),
        ),
        ("restore_workspace", "dest_dir: .", json!({"name": "restore_workspace", "dest_dir": "."})),
        (
            "save_cache",
            "name: n, key: 'go-{{ arch }}', contents: [{source_dir: /go}]",
            json!({"name": "n", "key": "go-{{ arch }}", "contents": [
                {"source_dir": "/go", "dest_dir": "", "paths": ["**"]},
            ]}),
        ),
        (
            "restore_cache",
            "keys: [a, 1], dest_dir: /go",
            json!({"name": "restore_cache", "keys": ["a", "1"], "dest_dir": "/go"}),
        ),
    ] {
        let mut expected = expected;
        expected["type"] = json!(kind);
        for spelling in [format!("{{{kind}: {{{keys}}}}}"), format!("{{type: {kind}, {keys}}}")] {
            assert_eq!(step("v0", &spelling), expected, "{spelling}");
        }
    }
}

#[test]
fn dependencies_have_their_spellings() {
    for (spelling, expected) in [
        ("a", json!({"a": ["on_success"]})),
        ("{a: [on_success]}", json!({"a": ["on_success"]})),
        ("{a: [on_failure, on_skipped]}", json!({"a": ["on_failure", "on_skipped"]})),
        ("{a: []}", json!({"a": ["on_success"]})),
        ("{a: }", json!({"a": ["on_success"]})),
        ("{task: a}", json!({"a": ["on_success"]})),
        ("{task: a, conditions: [on_failure]}", json!({"a": ["on_failure"]})),
        ("{task: a, conditions: []}", json!({"a": ["on_success"]})),
        ("{conditions: [on_skipped], task: a}", json!({"a": ["on_skipped"]})),
        ("task", json!({"task": ["on_success"]})),
        ("{task: [on_failure]}", json!({"task": ["on_failure"]})),
        ("{task: task}", json!({"task": ["on_success"]})),
        ("{a: [on_success, on_fire]}", json!({"a": ["on_success"]})),
    ] {
        let task = task("v0", &format!("{RUNTIME}, depends: [{spelling}]"));
        assert_eq!(serde_json::to_value(&task.depends).expect("encodes"), expected, "{spelling}");
        assert_eq!((task.level, task.skip), (1, false), "{spelling}");
    }
    // No condition of it is known: it never starts.
    assert!(task("v0", &format!("{RUNTIME}, depends: [{{a: [on_fire]}}]")).skip);
}

#[test]
fn booleans_and_texts_are_what_the_field_expects() {
    for (word, value) in [
        ("yes", true),
        ("Yes", true),
        ("on", true),
        ("y", true),
        ("TRUE", true),
        ("no", false),
        ("off", false),
        ("N", false),
        ("false", false),
    ] {
        assert_eq!(task("v0", &format!("{RUNTIME}, ignore_failure: {word}")).ignore_failure, value, "{word}");
    }
    let task = task("v0", &format!("{RUNTIME}, user: 1000, shell: yes, working_dir: 1.10, environment: {{A: on}}"));
    assert_eq!(task.user.as_deref(), Some("1000"));
    assert_eq!(task.shell.as_deref(), Some("yes"));
    assert_eq!(task.working_dir.as_deref(), Some("1.10"));
    assert_eq!(task.environment["A"], Value::from("on"));
}

#[test]
fn version_1_reads_bare_numbers_as_text_and_knows_its_own_keys() {
    let task = task(
        "v1",
        "runtime: {arch: 386, containers: [{image: x, resources: {cpu: 500m, memory: 1Gi}}]}, \
         environment: {A: 1.10, B: true}, retry: {max: 2, on: [lost, timeout]}, labels: {gpu: true, n: 2}, \
         approval: {minimum: 2, approvers: [ann, bob]}",
    );
    assert_eq!(task.environment, BTreeMap::from([("A".into(), "1.10".into()), ("B".into(), "true".into())]));
    assert_eq!(serde_json::to_value(&task.retry).expect("encodes"), json!({"max": 2, "on": ["lost", "timeout"]}));
    assert_eq!(task.labels, BTreeMap::from([("gpu".into(), "true".into()), ("n".into(), "2".into())]));
    assert_eq!((task.needs_approval, task.approvers_min), (true, 2));
    assert_eq!(task.runtime.arch.map(|arch| arch.to_string()).as_deref(), Some("386"));
    let resources = serde_json::to_value(task.runtime.containers[0].resources).expect("encodes");
    assert_eq!(resources, json!({"milli_cpus": 500, "memory_max": 1_073_741_824}));
}

#[test]
fn version_1_honours_when_on_a_step() {
    let steps = "steps: [{type: run, command: a, when: {branch: main}}, {run: {command: b, when: {branch: x}}}]";
    let names = |version| {
        let task = task(version, &format!("{RUNTIME}, {steps}"));
        task.steps.0.iter().map(|step| step.name().to_owned()).collect::<Vec<_>>()
    };
    assert_eq!(names("v1"), ["a"]);
    assert_eq!(names("v0"), ["a", "b"]);
}

#[test]
fn runtime_and_volumes_are_read_to_the_byte() {
    let task = task(
        "v0",
        "runtime: {type: pod, arch: arm64, containers: [{image: a, privileged: yes, user: 0, entrypoint: sh -c, \
         environment: {A: x}, volumes: [{path: /a, tmpfs: {}}, {path: /b, tmpfs: {size: 1Gi}}, \
         {path: /c, tmpfs: {size: 1024}}, {path: /d, tmpfs: {size: 0}}]}, {image: b}]}",
    );
    assert_eq!(
        serde_json::to_value(&task.runtime).expect("encodes"),
        json!({"arch": "arm64", "containers": [
            {"image": "a", "environment": {"A": "x"}, "user": "0", "privileged": true, "entrypoint": "sh -c",
             "volumes": [{"path": "/a", "size_max": 0}, {"path": "/b", "size_max": 1_073_741_824},
                         {"path": "/c", "size_max": 1024}, {"path": "/d", "size_max": 0}]},
            {"image": "b", "environment": {}, "user": null, "privileged": false, "entrypoint": null, "volumes": []},
        ]})
    );
}

#[test]
fn the_nearest_timeout_counts_and_zero_is_none() {
    let timeout = |top: &str, run: &str, task: &str| {
        let text = format!(
            "{{task_timeout_interval: {top}, runs: [{{name: r, task_timeout_interval: {run}, tasks: [{{name: t, \
             {RUNTIME}, task_timeout_interval: {task}}}]}}]}}"
        );
        let compiled = compiled_in(&text, &context());
        compiled.runs[0].tasks.values().next().expect("one").timeout
    };
    assert_eq!(timeout("1h", "30m", "10s"), Some(Duration::from_secs(10)));
    assert_eq!(timeout("1h", "30m", "0"), Some(Duration::from_secs(1800)));
    assert_eq!(timeout("1h", "~", "~"), Some(Duration::from_secs(3600)));
    assert_eq!(timeout("0s", "~", "0"), None);
    assert_eq!(timeout("5000000000", "~", "~"), Some(Duration::from_secs(5)));
}

#[test]
fn credentials_are_replaced_registry_by_registry() {
    let text = format!(
        "
docker_registries_auth:
  a: {{username: top, password: {{from_variable: SECRET}}}}
  b: {{username: top, password: p}}
  c: {{type: encodedauth, auth: dTpwOnE=}}
runs:
  - name: r
    docker_registries_auth: {{b: {{type: basic, username: run, password: p}}}}
    tasks:
      - {{name: t, {RUNTIME}, docker_registries_auth: {{c: {{username: task, password: p}}}}}}
"
    );
    let mut context = context();
    context.variables.insert("SECRET".into(), Value::secret("s"));
    let compiled = compiled_in(&text, &context);
    let basic = |user: &str, password: Value| RegistryAuth::Basic { username: user.into(), password };
    assert_eq!(
        compiled.runs[0].tasks.values().next().expect("one").registries_auth,
        BTreeMap::from([
            ("a".into(), basic("top", Value::secret("s"))),
            ("b".into(), basic("run", "p".into())),
            ("c".into(), basic("task", "p".into())),
        ])
    );
    let encoded = text.replace("{c: {username: task, password: p}}", "{}");
    let compiled = compiled_in(&encoded, &context);
    let auth = &compiled.runs[0].tasks.values().next().expect("one").registries_auth["c"];
    assert_eq!(*auth, RegistryAuth::EncodedAuth { auth: "dTpwOnE=".into() });
}

#[test]
fn json_means_the_same() {
    let text = r#"{"runs":[{"name":"r","tasks":[{"name":"t","runtime":{"containers":[{"image":"x"}]},
        "steps":[{"type":"run","command":"a\nb"},{"clone":{}}]}]}]}"#;
    let (definition, warnings) = parse("c.json", Format::Json, text).into_result().expect("no errors");
    assert_eq!(warnings, []);
    let compiled = compile(&definition, &context()).expect("a sound graph");
    let steps = &compiled.runs[0].tasks.values().next().expect("one").steps.0;
    let Step::Run(RunStep { command, .. }) = &steps[0] else { panic!("a command") };
    assert_eq!(command, "a\nb");
}
