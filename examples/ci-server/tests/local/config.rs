//! What does the program say of a definition, in each of the four languages?

#![expect(clippy::unwrap_used, reason = "helpers of tests, in a file that holds nothing else")]

use std::{
    fs,
    process::{Command, Output},
};

use serde_json::{Value, json};

use crate::Fixture;

fn config(fixture: &Fixture, args: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_runyard"));
    command.current_dir(fixture.repo()).arg("config").args(args).output().unwrap()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// A repository whose only definition is this one.
fn defined(file: &str, definition: &str) -> Fixture {
    let fixture = Fixture::new();
    fixture.write(file, definition);
    fixture
}

const YAML: &str = r#"
runs:
  - name: build of main
    tasks:
      - name: test go 1.24
        runtime: { containers: [{ image: "golang:1.24" }] }
        steps: [{ clone: }, { run: go test ./... }]
      - name: test go 1.25
        runtime: { containers: [{ image: "golang:1.25" }] }
        steps: [{ clone: }, { run: go test ./... }]
"#;

const JSONNET: &str = r#"
local test(version) = {
  name: 'test go ' + version,
  runtime: { containers: [{ image: 'golang:' + version }] },
  steps: [{ clone: {} }, { run: 'go test ./...' }],
};
function(ctx) {
  runs: [{ name: 'build of ' + ctx.branch, tasks: [test(version) for version in ['1.24', '1.25']] }],
}
"#;

const STARLARK: &str = r#"
def test(version):
    return {
        "name": "test go " + version,
        "runtime": {"containers": [{"image": "golang:" + version}]},
        "steps": [{"clone": {}}, {"run": "go test ./..."}],
    }

def main(ctx):
    print("nobody reads this")
    return {"runs": [{"name": "build of " + ctx["branch"], "tasks": [test(version) for version in ["1.24", "1.25"]]}]}
"#;

#[test]
fn the_same_graph_in_three_languages_is_the_same_run() {
    let shown = |file, definition| -> Value {
        let fixture = defined(file, definition);
        let output = config(&fixture, &["show", "--branch", "main"]);
        assert!(output.status.success(), "{file}: {}", text(&output.stderr));
        let mut runs: Value = serde_json::from_slice(&output.stdout).unwrap();
        // It follows from the directory.
        runs[0]["group"] = Value::Null;
        runs[0]["cache_group"] = Value::Null;
        runs
    };
    let yaml = shown(".runyard/config.yml", YAML);
    assert_eq!(yaml[0]["name"], "build of main");
    assert_eq!(yaml[0]["tasks"].as_object().unwrap().len(), 2);
    assert_eq!(shown(".runyard/config.jsonnet", JSONNET), yaml);
    assert_eq!(shown(".runyard/config.star", STARLARK), yaml);
}

#[test]
fn a_program_is_told_of_the_commit_that_it_is_for() {
    let all = "function(ctx) { runs: [{ name: 'r', tasks: [{ name: 't', runtime: { containers: [{ image: 'x' }] }, \
               environment: { CTX: std.manifestJsonMinified(ctx) } }] }] }";
    let fixture = defined(".runyard/config.jsonnet", all);
    for (args, expected) in [
        (["--branch", "next"], json!({"ref_type": "branch", "ref": "refs/heads/next", "branch": "next"})),
        (["--tag", "v1"], json!({"ref_type": "tag", "ref": "refs/tags/v1", "tag": "v1"})),
        (
            ["--pull-request", "17"],
            json!({"ref_type": "pull_request", "ref": "refs/pull/17/head", "pull_request_id": "17"}),
        ),
    ] {
        let output = config(&fixture, &["show", args[0], args[1]]);
        let runs: Value = serde_json::from_slice(&output.stdout).unwrap();
        let ctx = runs[0]["tasks"]["t"]["environment"]["CTX"].as_str().unwrap();
        let ctx: Value = serde_json::from_str(ctx).unwrap();
        for key in ["ref_type", "ref", "branch", "tag", "pull_request_id", "commit_sha"] {
            assert_eq!(ctx[key], expected.get(key).cloned().unwrap_or(json!("")), "{key} of {args:?}");
        }
    }
}

#[test]
fn a_program_that_goes_wrong_says_where_and_one_that_takes_too_much_is_ended() {
    let jsonnet = [
        ("local x = ; 1", "config.jsonnet:1:11: error: expected expression"),
        ("{ runs: y }", "config.jsonnet:1:9: error: unknown identifier `y`"),
        (
            "{\n  a: importstr '/etc/passwd',\n}",
            "config.jsonnet:2:6: error: a definition is one file, and imports nothing",
        ),
        ("local f(n) = f(n + 1) + 1; f(0)", "stack overflow"),
        ("local f(n) = if n > 1e12 then 0 else f(n + 1) tailstrict; f(0)", "takes more than 5 s of a processor"),
        ("{ runs: std.repeat('x', 3000000) }", "comes to more than 1 MiB"),
        ("std.foldl(function(a, _) a + a, std.range(1, 60), 'x')", "needs more than 1024 MiB of memory"),
        ("{ runs: 7 }", "runs: expected a list"),
    ];
    let starlark = [
        ("x = (", "config.star:1:6: error: Parse error"),
        ("def main(ctx): return y", "config.star:1:23: error: Variable `y` not found"),
        (
            "def f(n): return f(n + 1)\ndef main(ctx): return f(0)",
            "config.star:1:18: error: Starlark call stack overflow",
        ),
        (
            "def main(ctx):\n  for i in range(1000000000): \n    ctx = ctx\n  return {}",
            "takes more than 5 s of a processor",
        ),
        ("def main(ctx): return {\"runs\": \"x\" * 3000000}", "comes to more than 1 MiB"),
        (
            "def main(ctx):\n  x = [0]\n  for i in range(60): x = x + x\n  return {}",
            "needs more than 1024 MiB of memory",
        ),
        ("load(\"//x\", \"y\")", "config.star:1:1: error: `load` is not allowed"),
        ("def other(ctx): return {}", "has no function `main(ctx)`"),
        ("def main(ctx): return 7", "error: expected a map"),
    ];
    let cases =
        jsonnet.map(|case| ("config.jsonnet", case)).into_iter().chain(starlark.map(|case| ("config.star", case)));
    for (file, (program, expected)) in cases {
        let fixture = defined(&format!(".runyard/{file}"), program);
        let output = config(&fixture, &["check"]);
        let said = text(&output.stdout);
        assert!(
            said.contains(expected) && output.status.code() == Some(1),
            "{program}\n{said}{}",
            text(&output.stderr)
        );
        assert_eq!(said.lines().count(), 1, "{said}");
    }
}

#[test]
fn a_check_tells_everything_at_once_to_people_and_to_programs() {
    let fixture =
        defined(".runyard/config.yml", "runs:\n  - name: a\n    tasks: [{ name: b, stps: [] }]\n    wen: {}\n");
    let output = config(&fixture, &["check"]);
    let said = text(&output.stdout);
    assert_eq!(output.status.code(), Some(1));
    assert!(said.contains("did you mean `steps`") && said.contains("did you mean `when`"), "{said}");
    let github = text(&config(&fixture, &["check", "--format", "github"]).stdout);
    assert!(
        github.lines().any(|line| line.starts_with("::warning file=.runyard/config.yml,line=4,col=5,")),
        "{github}"
    );
    assert!(github.lines().any(|line| line.starts_with("::error file=.runyard/config.yml,line=3,")), "{github}");
    let json = text(&config(&fixture, &["check", "--json"]).stdout);
    let first: Value = serde_json::from_str(json.lines().next().unwrap()).unwrap();
    assert!(first["line"].as_u64().is_some_and(|line| line > 0), "{first}");

    fixture.write(".runyard/config.yml", "runs: [{ name: a, tasks: [] }]");
    assert!(config(&fixture, &["check"]).status.success());
    fs::remove_file(fixture.repo().join(".runyard/config.yml")).unwrap();
    let missing = config(&fixture, &["check"]);
    assert!(text(&missing.stdout).contains("no run definition") && !missing.status.success());
    let schema: Value = serde_json::from_slice(&config(&fixture, &["schema"]).stdout).unwrap();
    assert!(schema["$schema"].as_str().is_some_and(|url| url.contains("json-schema.org")), "{schema}");
}

#[test]
fn a_definition_in_jsonnet_is_run() {
    let program = "function(ctx) { runs: [{ name: 'r', tasks: [{ name: 't', runtime: { containers: [{ image: 'x' }] }, \
                   steps: [{ run: 'echo on ' + ctx.branch }] }] }] }";
    let fixture = defined(".runyard/config.jsonnet", program);
    fixture.commit_all();
    fixture.run(&["--branch", "next"]).ends_with(0).says("[t] on next\n");
}
