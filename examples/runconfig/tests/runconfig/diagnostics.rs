//! What is said about a broken definition, where, and all at once.

use std::{fs, path::Path};

use regex::Regex;
use runyard_runconfig::{Format, parse};

fn check(text: &str) -> String {
    let parsed = parse("config.yml", Format::Yaml, text);
    let has_error = parsed.diagnostics.iter().any(|diagnostic| diagnostic.is_error());
    assert_eq!(parsed.definition.is_none(), has_error);
    parsed.diagnostics.iter().map(|diagnostic| format!("{diagnostic}\n")).collect()
}

#[test]
fn every_error_is_reported_at_once_with_its_place() {
    let text = "\
runs:
  - name: build
    tasks:
      - name: test
        runtime:
          type: vm
          arch: mips
          containers:
            - image: rust
              privileged: maybe
              environment: {A: 1, B: true, C: yes, D: null, E: [x]}
              volumes:
                - path: /tmp
                - {path: /ram, tmpfs: {size: 1GB}}
        task_timeout_interval: soon
        steps:
          - run: a
            name: b
          - rum: cargo test
          - type: clone
            depth: 0
          - save_cache: {contents: []}
          - restore_cache: {keys: x}
          - clone
      - runtime: {containers: []}
        approval: {minimum: 2, approvers: [ann]}
      - name: test
        runtime: {containers: [{image: x}]}
        depends: [tset, deploy, deploy]
  - name: build
  - when: {branch: '/(/'}
docker_registries_auth:
  a: {}
  b: {type: token, username: u}
  c: {auth: abc}
";
    let expected = "\
config.yml:6:17: error: runs[0].tasks[0].runtime.type: the runtime `vm` is not known (hint: write `pod`)
config.yml:7:17: error: runs[0].tasks[0].runtime.arch: the architecture `mips` is not known (hint: write 386, amd64, arm or arm64, or leave it out for any)
config.yml:10:27: error: runs[0].tasks[0].runtime.containers[0].privileged: expected a boolean, found `maybe` (hint: write `true` or `false`)
config.yml:11:32: error: runs[0].tasks[0].runtime.containers[0].environment.A: expected a string, found a number `1` (hint: put it in quotes: \"1\")
config.yml:11:38: error: runs[0].tasks[0].runtime.containers[0].environment.B: expected a string, found a boolean `true` (hint: put it in quotes: \"true\")
config.yml:11:55: error: runs[0].tasks[0].runtime.containers[0].environment.D: expected a string or `from_variable`, found nothing (hint: an empty value is written \"\")
config.yml:11:64: error: runs[0].tasks[0].runtime.containers[0].environment.E: expected a string or `from_variable`, found a list (hint: an empty value is written \"\")
config.yml:13:19: error: runs[0].tasks[0].runtime.containers[0].volumes[0]: the volume has no `tmpfs` (hint: add `tmpfs: {}`, the only kind of volume there is)
config.yml:14:46: error: runs[0].tasks[0].runtime.containers[0].volumes[1].tmpfs.size: `1GB` cannot be a quantity: it is not a quantity such as `512Mi`, `1.5Gi`, `2G` or a number (hint: write for example `512Mi`, `2G` or `1048576`)
config.yml:15:32: error: runs[0].tasks[0].task_timeout_interval: `soon` cannot be a duration: it is not a duration such as `15s`, `1h30m` or `500ms` (hint: write for example `90s`, `15m` or `1h30m`)
config.yml:17:13: error: runs[0].tasks[0].steps[0]: a step without `type` has one key, and this one has 2 (hint: write `- type: run` with its keys beside it, or indent them below `run:`)
config.yml:19:13: error: runs[0].tasks[0].steps[1]: the step `rum` is not known (hint: did you mean `run`?)
config.yml:21:20: error: runs[0].tasks[0].steps[2].depth: expected a whole number from 1 to 4294967295, found `0` (hint: write a number without quotes, such as 1)
config.yml:22:25: error: runs[0].tasks[0].steps[3].save_cache: the step has no `key` (hint: add `key`, the name of the cache entry)
config.yml:22:25: warning: runs[0].tasks[0].steps[3].save_cache: the step has no `contents` and stores nothing (hint: add `contents: [{paths: [...]}]`)
config.yml:23:35: error: runs[0].tasks[0].steps[4].restore_cache.keys: expected a list, found a string (hint: begin every item with `- `)
config.yml:24:13: error: runs[0].tasks[0].steps[5]: expected a step, found a string (hint: write `- run: <command>` or `- clone:`)
config.yml:25:9: error: runs[0].tasks[1]: the task has no name (hint: add `name`)
config.yml:25:31: error: runs[0].tasks[1].runtime.containers: the runtime has no containers (hint: add `containers: [{image: ...}]`)
config.yml:26:19: error: runs[0].tasks[1].approval: 2 approvals are required, and 1 users may approve (hint: lower `minimum` or name more `approvers`)
config.yml:27:9: error: runs[0].tasks[2]: another task is called `test` too (hint: rename one of them)
config.yml:29:33: error: runs[0].tasks[2].depends[2]: `deploy` occurs twice in `depends` (hint: name each task once, with a list of conditions)
config.yml:30:5: error: runs[1]: another run is called `build` too (hint: rename one of them)
config.yml:31:5: error: runs[2]: the run has no name (hint: add `name`)
config.yml:31:20: error: runs[2].when.branch: the pattern `/(/` cannot be read: unclosed group (hint: mend the regular expression (as in Go), or take the delimiters away to compare the name as it is)
config.yml:33:6: error: docker_registries_auth.a: the credentials are empty (hint: add `username` and `password`)
config.yml:34:6: error: docker_registries_auth.b: the type of credentials `token` is not known (hint: write `basic` or `encodedauth`)
config.yml:35:6: error: docker_registries_auth.c: `auth` has no meaning in credentials of type `basic` (hint: add `type: encodedauth`, or write `username` and `password`)
";
    assert_eq!(check(text), expected);
}

#[test]
fn cycles_name_every_task_on_them_and_unknown_parents_are_guessed() {
    let task = |name: &str, depends: &str| {
        format!("      - {{name: {name}, runtime: {{containers: [{{image: x}}]}}, depends: [{depends}]}}\n")
    };
    let tasks = [task("a", "c"), task("b", "a"), task("c", "b"), task("d", "c, buidl"), task("build", "")].concat();
    let expected = "\
config.yml:4:7: error: runs[0].tasks: these tasks depend on each other in a cycle: `a`, `b`, `c` (hint: take a dependency away that closes the cycle)
config.yml:7:69: error: runs[0].tasks[3].depends[1]: the task `buidl` does not exist in this run (hint: did you mean `build`?)
";
    assert_eq!(check(&format!("runs:\n  - name: r\n    tasks:\n{tasks}")), expected);
}

const LAPSES: &str = "\
runs:
  - name: r
    Tasks:
      - name: t
        runtime: {containers: [{image: a, image: b, imagePullPolicy: x}]}
        workingDir: /src
        retry: {max: 1}
        depends: []
        steps:
          - run: {command: '', when: {branch: x}}
          - save_to_workspace: {contents: [{source_dir: .}]}
          - {type: run, command: x, tty: on}
    when: {branch: {exclude: main}}
  - name: s
    when: {}
    tasks:
      - name: one
        runtime: {containers: [{}]}
      - name: two
        runtime: {containers: [{image: x}]}
        depends: [{one: [on_succes]}]
docker_registries_auth: {r: {username: u}}
";

#[test]
fn version_0_warns_of_what_it_tolerates() {
    let expected = "\
config.yml:3:5: warning: runs[0]: the key `Tasks` is written with other capitals (hint: write `tasks`)
config.yml:5:43: warning: runs[0].tasks[0].runtime.containers[0]: the key `image` occurs twice (hint: the last one counts: remove the other)
config.yml:5:53: warning: runs[0].tasks[0].runtime.containers[0]: unknown key `imagePullPolicy` (hint: known here: image, environment, user, privileged, entrypoint, volumes)
config.yml:6:9: warning: runs[0].tasks[0]: unknown key `workingDir` (hint: did you mean `working_dir`?)
config.yml:7:9: warning: runs[0].tasks[0]: unknown key `retry` (hint: this key needs `version: v1` at the top of the file)
config.yml:10:18: warning: runs[0].tasks[0].steps[0].run: the command of the step is empty (hint: write what to run)
config.yml:10:18: warning: runs[0].tasks[0].steps[0].run: `when` on a step is ignored (hint: say `version: v1`, where it is honoured)
config.yml:11:44: warning: runs[0].tasks[0].steps[1].save_to_workspace.contents[0]: without `paths`, nothing is stored (hint: add `paths: [\"**\"]` for everything)
config.yml:13:20: warning: runs[0].when.branch: an `exclude` without an `include` never matches (hint: add `include: /.*/`, or say `version: v1`, where it means all but these)
config.yml:15:11: warning: runs[1].when: an empty `when` never matches (hint: leave it out to match always)
config.yml:18:32: warning: runs[1].tasks[0].runtime.containers[0]: the container has no image, and only executors without containers can run it (hint: add `image`)
config.yml:21:26: warning: runs[1].tasks[1].depends[0].one[0]: the condition `on_succes` is not known and never matches (hint: did you mean `on_success`?)
config.yml:22:29: warning: docker_registries_auth.r: the credentials have no `password` (hint: add `password`)
";
    assert_eq!(check(LAPSES), expected);
}

#[test]
fn version_1_refuses_it() {
    let expected = "\
config.yml:4:5: error: runs[0]: unknown key `Tasks` (hint: did you mean `tasks`?)
config.yml:16:11: warning: runs[1].when: an empty `when` never matches (hint: leave it out to match always)
config.yml:19:32: warning: runs[1].tasks[0].runtime.containers[0]: the container has no image, and only executors without containers can run it (hint: add `image`)
config.yml:22:26: error: runs[1].tasks[1].depends[0].one[0]: the condition `on_succes` is not known and never matches (hint: did you mean `on_success`?)
config.yml:23:29: error: docker_registries_auth.r: the credentials have no `password` (hint: add `password`)
";
    assert_eq!(check(&format!("version: v1\n{LAPSES}")), expected);
    let expected = "\
config.yml:6:43: error: runs[0].tasks[0].runtime.containers[0]: the key `image` occurs twice (hint: the last one counts: remove the other)
config.yml:6:53: error: runs[0].tasks[0].runtime.containers[0]: unknown key `imagePullPolicy` (hint: known here: image, environment, user, privileged, entrypoint, volumes, resources)
config.yml:7:9: error: runs[0].tasks[0]: unknown key `workingDir` (hint: did you mean `working_dir`?)
config.yml:11:18: error: runs[0].tasks[0].steps[0].run: the command of the step is empty (hint: write what to run)
config.yml:12:44: warning: runs[0].tasks[0].steps[1].save_to_workspace.contents[0]: without `paths`, nothing is stored (hint: add `paths: [\"**\"]` for everything)
config.yml:13:42: error: runs[0].tasks[0].steps[2].tty: expected a boolean, found `on` (hint: write `true` or `false`)
";
    let said = check(&format!("version: v1\n{}", LAPSES.replace("Tasks", "tasks")));
    assert!(said.starts_with(expected), "{said}");
}

#[test]
fn files_that_are_no_definition_at_all_are_refused() {
    for (text, expected) in [
        (
            "",
            "config.yml:1:1: error: expected a map, found nothing (hint: write `key: value` lines, indented below the key that they belong to)\n",
        ),
        (
            "- a\n",
            "config.yml:1:1: error: expected a map, found a list (hint: write `key: value` lines, indented below the key that they belong to)\n",
        ),
        ("{}", "config.yml:1:1: error: the definition has no runs (hint: add `runs:` with at least one run)\n"),
        ("runs: []", "config.yml:1:7: error: runs: the definition has no runs (hint: add at least one run)\n"),
        (
            "{version: v2, runs: [{name: a}]}",
            "config.yml:1:11: error: version: the version `v2` is not known (hint: write `v0` or `v1`)\n",
        ),
    ] {
        assert_eq!(check(text), expected, "{text}");
    }
    let star = parse("config.star", Format::Starlark, "def main(ctx): return {}");
    assert_eq!(
        star.diagnostics[0].to_string(),
        "config.star: error: this language cannot be evaluated here (hint: write the definition as `config.yml` or `config.json`, or evaluate it first)"
    );
}

#[test]
fn names_are_measured_in_bytes() {
    let with = |name: &str| check(&format!("runs: [{{name: '{name}'}}]"));
    assert_eq!(with(&"x".repeat(100)), "");
    assert_eq!(with(&"é".repeat(50)), "");
    assert!(with(&"é".repeat(51)).contains("runs[0].name: the name has 102 bytes, and 100 are the most"));
    assert!(with("").contains("runs[0].name: the name is empty"));
}

#[test]
fn a_broken_anchor_is_reported_once() {
    let task = |name: &str| format!("{{name: {name}, runtime: {{containers: [{{image: x}}]}}, steps: *steps}}");
    let text = format!(
        "runs:\n- name: r\n  tasks:\n  - name: a\n    runtime: {{containers: [{{image: x}}]}}\n    steps: &steps\n    - \
         rum: x\n  - {}\n  - {}\n",
        task("b"),
        task("c")
    );
    let expected =
        "config.yml:7:7: error: runs[0].tasks[0].steps[0]: the step `rum` is not known (hint: did you mean `run`?)\n";
    assert_eq!(check(&text), expected);
}

#[test]
fn hostile_definitions_take_neither_the_memory_nor_the_day() {
    // A key that every path below it would repeat.
    let conditions = vec!["x"; 40_000].join(", ");
    let text = format!(
        "runs: [{{name: r, tasks: [{{name: t, depends: [{{\"{}\": [{conditions}]}}]}}]}}]",
        "k".repeat(500_000)
    );
    assert!(check(&text).len() < 20_000_000);

    let tasks = |count: usize, depends: fn(usize) -> String| {
        let task = |index| format!("{{name: t{index}, runtime: *r, depends: [{}]}}", depends(index));
        let tasks: Vec<_> = (1..count).map(task).collect();
        let first = "{name: t0, runtime: &r {containers: [{image: x}]}}";
        format!("runs: [{{name: r, tasks: [{first}, {}]}}]", tasks.join(", "))
    };
    let said = check(&tasks(300, |index| format!("t{}", index + 1)));
    assert!(said.contains("the task `t300` does not exist") && said.lines().count() == 1, "{said}");
    let said = check(&tasks(5000, |_| String::new()));
    assert!(said.contains("the run has 5000 tasks, and 2000 are the most"), "{said}");
    // Each depends on fifty others, in circles.
    let said = check(&tasks(1000, |index| {
        let parents = (1..=50).map(|step| format!("t{}", 1 + (index + step) % 999));
        parents.collect::<Vec<_>>().join(", ")
    }));
    assert!(said.contains("in a cycle: `t1`, `t10`") && said.lines().count() == 1, "{said}");
}

#[test]
fn a_step_that_would_run_nothing_is_an_error_in_every_version() {
    for version in ["v0", "v1"] {
        let said = check(&format!(
            "version: {version}\nruns:\n- name: a\n  tasks:\n  - name: b\n    runtime: {{containers: [{{image: i}}]}}\n    \
             steps:\n    - run: {{name: x, cmd: exit 1}}\n"
        ));
        assert!(said.contains("error: runs[0].tasks[0].steps[0].run: the step has no command"), "{said}");
    }
}

/// What `diagnostics.snap` holds: name, definition, what is said.
fn snapshots(text: &str) -> Vec<(&str, &str, &str)> {
    text.split("\n=== ")
        .skip(1)
        .map(|case| {
            let (name, rest) = case.split_once('\n').expect("a name");
            let (definition, said) = rest.split_once("\n>>>\n").expect("what is said");
            (name, definition, said)
        })
        .collect()
}

fn said(name: &str, definition: &str) -> String {
    let (file, format) =
        if name.ends_with(".json") { ("config.json", Format::Json) } else { ("config.yml", Format::Yaml) };
    let parsed = parse(file, format, definition);
    for diagnostic in &parsed.diagnostics {
        assert!(diagnostic.hint.as_ref().is_some_and(|hint| !hint.is_empty()), "{name}: no hint: {diagnostic}");
        assert!(diagnostic.position.line > 0 && diagnostic.position.column > 0, "{name}: no place: {diagnostic}");
    }
    parsed.diagnostics.iter().map(|diagnostic| format!("{diagnostic}\n")).collect()
}

#[test]
fn every_diagnostic_is_as_its_snapshot_with_place_path_and_hint() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/diagnostics.snap");
    let text = fs::read_to_string(&path).expect("reads");
    let (head, _) = text.split_once("\n=== ").expect("a head");
    if std::env::var_os("RUNYARD_BLESS").is_some() {
        let mut blessed = format!("{head}\n");
        for (name, definition, _) in snapshots(&text) {
            blessed.push_str(&format!("=== {name}\n{definition}\n>>>\n{}\n", said(name, definition)));
        }
        fs::write(&path, format!("{}\n", blessed.trim_end_matches('\n'))).expect("writes");
    }
    let text = fs::read_to_string(&path).expect("reads");
    let snapshots = snapshots(&text);
    for (name, definition, expected) in &snapshots {
        let said = said(name, definition);
        assert!(!said.is_empty(), "{name}: nothing is said");
        assert_eq!(said.trim_end(), expected.trim_end(), "{name}");
    }
    assert!(snapshots.len() >= 100, "only {} snapshots", snapshots.len());
}

/// The texts of a source file that are meant for people: those with a blank, outside of comments and expectations.
fn texts(source: &str) -> Vec<String> {
    let source = source.split("#[cfg(test)]").next().unwrap_or_default().replace("'\"'", "");
    let literal = Regex::new(r#"(?s)(expect\()?"((?:[^"\\]|\\.)*)""#).expect("an expression");
    let code: String =
        source.lines().filter(|line| !line.trim_start().starts_with("//")).collect::<Vec<_>>().join("\n");
    literal
        .captures_iter(&code)
        .filter(|found| found.get(1).is_none())
        .map(|found| found[2].replace("\\\"", "\"").replace("\\\\", "\\"))
        .filter(|text| text.contains(' ') && text.chars().any(|char| char.is_ascii_lowercase()))
        .collect()
}

#[test]
fn no_message_and_no_hint_of_the_parser_is_without_a_snapshot() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let snapshots = fs::read_to_string(root.join("tests/diagnostics.snap")).expect("reads");
    let mut files: Vec<_> =
        fs::read_dir(root.join("src/parse")).expect("lists").map(|entry| entry.expect("lists").path()).collect();
    files.push(root.join("src/yaml/mod.rs"));
    let placeholder = Regex::new(r"\{[a-zA-Z_]*(:[^}]*)?\}").expect("an expression");
    let mut checked = 0;
    let mut missing = Vec::new();
    for file in files {
        for text in texts(&fs::read_to_string(&file).expect("reads")) {
            // What tests elsewhere make: a megabyte of text, thousands of tasks, a language that cannot be evaluated.
            if text.contains("{INPUT_BYTES_MAX}")
                || text.contains("cannot be evaluated")
                || text.contains("{TASKS_MAX}")
                || text.contains("into several runs")
                || text.contains("move long scripts")
                || text.contains("as `config.yml` or")
                || text.contains(" at line ")
            {
                continue;
            }
            // `{{` is a brace that is written.
            let text = text.replace("{{", "\u{1}").replace("}}", "\u{2}");
            let parts: Vec<_> = placeholder.split(&text).map(regex::escape).collect();
            let pattern = parts.join(".*").replace('\u{1}', r"\{").replace('\u{2}', r"\}");
            checked += 1;
            if !Regex::new(&pattern).expect("an expression").is_match(&snapshots) {
                missing.push(format!("{}: {text}", file.display()));
            }
        }
    }
    assert!(missing.is_empty(), "{missing:#?}");
    assert!(checked >= 80, "only {checked} texts were found");
}
