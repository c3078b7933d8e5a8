//! The databases of a server, as its operator looks after them.

use std::{
    path::{Path, PathBuf},
    process::{Command, Output},
};

use serde_json::Value;

use crate::support::{Server, Work, wait_for_end, wait_for_run};

const DEFINITION: &str = "
runs:
  - name: build
    tasks:
      - name: compile
        runtime:
          containers: [{image: any}]
        steps:
          - run: echo compiled
";

/// `runyard data` on a directory.
fn data(directory: &Path, args: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_runyard"));
    command.arg("data").args(args).arg("--data").arg(directory).output().expect("runyard runs")
}

fn ok(directory: &Path, args: &[&str]) -> String {
    let output = data(directory, args);
    assert!(output.status.success(), "{args:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).expect("text")
}

fn json(directory: &Path, args: &[&str]) -> Value {
    serde_json::from_str(&ok(directory, &[args, &["--json"]].concat())).expect("JSON")
}

fn refused(directory: &Path, args: &[&str], expected: &[&str]) {
    let output = data(directory, args);
    assert_eq!(output.status.code(), Some(1), "{args:?}: {output:?}");
    let said = String::from_utf8(output.stderr).expect("text");
    for part in expected {
        assert!(said.contains(part), "{args:?}: `{part}` is not in: {said}");
    }
}

/// A data directory that a server is using, in which there was a run.
fn used_server(directory: &tempfile::TempDir) -> (PathBuf, Server) {
    let root = directory.path().join("data");
    let server = Server::start(&root);
    server.ok(&["project", "create", "hello"]);
    let work = Work::new(directory);
    work.commit(DEFINITION, "words");
    work.git(&["push", "-q", &server.git_url(), "main"]);
    wait_for_run(&server, "1");
    wait_for_end(&server, "1");
    (root, server)
}

#[test]
fn what_only_reads_works_beside_a_running_server_and_what_writes_says_that_it_has_to_be_stopped() {
    let directory = tempfile::tempdir().expect("a directory");
    let (root, server) = used_server(&directory);
    for report in json(&root, &["verify"]).as_array().expect("both databases") {
        assert_eq!((&report["sound"], &report["damaged"]), (&true.into(), &Value::Array(Vec::new())), "{report}");
        assert!(report["entries"].as_u64().expect("a number") > 0, "{report}");
    }
    let projects = ok(&root, &["dump", "--database", "config", "--collection", "projects"]);
    assert!(projects.starts_with("projects  ") && projects.contains("\"name\":\"hello\""), "{projects}");
    let none = ok(&root, &["dump", "--database", "config", "--collection", "projectnames", "--prefix", "hellp"]);
    assert_eq!(none, "");
    let names = ok(&root, &["dump", "--database", "config", "--prefix", "hel", "--json"]);
    let name: Value = serde_json::from_str(names.lines().next().expect("an entry")).expect("JSON");
    assert_eq!((&name["collection"], &name["key"]), (&"projectnames".into(), &"hello".into()));
    refused(&root, &["dump", "--database", "run", "--collection", "pods"], &["`pods`", "runs", "tasks"]);
    let stats = json(&root, &["stats", "--database", "run"]);
    assert!(stats[0]["log_objects"].as_u64().expect("a number") > 0, "{stats}");
    let export = ok(&root, &["export", "--database", "run"]);
    assert!(export.starts_with("{\"format\":\"runyard-export\"") && export.ends_with("\"}\n"), "{export}");

    let in_use = format!("in use by process {}: stop that one", server.pid());
    refused(&root, &["checkpoint"], &[&in_use]);
    refused(&root, &["import", "--database", "run", "/dev/null"], &[&in_use]);
    // Nobody has disturbed it.
    server.ok(&["runs", "show", "1", "--project", "hello"]);
    server.end();
    let made = json(&root, &["checkpoint"]);
    assert_eq!(made.as_array().map(Vec::len), Some(2), "{made}");
    assert_eq!(ok(&root, &["export", "--database", "run"]).lines().count(), export.lines().count());
    let stats = ok(&root, &["stats"]);
    assert!(stats.contains("Database run at position") && stats.contains("up to position"), "{stats}");
    assert!(stats.contains("projects"), "{stats}");
}

#[test]
fn an_export_of_both_databases_is_a_server_elsewhere_and_a_wrong_one_changes_nothing() {
    let directory = tempfile::tempdir().expect("a directory");
    let (root, server) = used_server(&directory);
    let shown = server.json(&["runs", "show", "1", "--project", "hello"]);
    server.end();
    let (file, cut) = (directory.path().join("export.jsonl"), directory.path().join("cut.jsonl"));
    let [file_name, cut_name] = [&file, &cut].map(|path| path.to_str().expect("text"));
    let elsewhere = directory.path().join("elsewhere");
    for database in ["config", "run"] {
        let export = ok(&root, &["export", "--database", database]);
        std::fs::write(&file, &export).expect("written");
        std::fs::write(&cut, &export[..export.len() / 2]).expect("written");
        let other = if database == "run" { "config" } else { "run" };
        let not_of = [&format!("export of database {database}")[..], &format!("--database {database}")];
        refused(&elsewhere, &["import", "--database", other, file_name], &not_of);
        let line = format!("line {} ", export[..export.len() / 2].lines().count());
        refused(&elsewhere, &["import", "--database", database, cut_name], &[&line, "elsewhere"]);
        let said = ok(&elsewhere, &["import", "--database", database, file_name]);
        let entries = format!("Imported {} entries", export.lines().count() - 2);
        assert!(said.contains(&entries), "{said}");
        // But for the header, which has the id and the position of the store.
        let again = ok(&elsewhere, &["export", "--database", database]);
        assert_eq!(again.lines().skip(1).collect::<Vec<_>>(), export.lines().skip(1).collect::<Vec<_>>());
        refused(&elsewhere, &["import", "--database", database, file_name], &["without entries", "new store"]);
    }
    refused(&elsewhere, &["import", "--database", "run", "/no/such/file"], &["`/no/such/file` cannot be read"]);
    let moved = Server::start(&elsewhere);
    assert_eq!(moved.json(&["runs", "show", "1", "--project", "hello"]), shown);
    moved.ok(&["project", "create", "another"]);
    moved.end();
    ok(&elsewhere, &["verify"]);
}

#[test]
fn damage_is_named_with_what_to_do_and_a_directory_without_databases_is_refused_and_not_made() {
    let directory = tempfile::tempdir().expect("a directory");
    let nowhere = directory.path().join("nowhere");
    for args in [&["verify"][..], &["stats"], &["checkpoint"], &["export", "--database", "run"]] {
        refused(&nowhere, args, &["there is no database in", "nowhere", "--data"]);
    }
    assert!(!nowhere.exists());
    let (root, server) = used_server(&directory);
    server.end();
    ok(&root, &["checkpoint"]);
    let runs = std::fs::read_dir(root.join("objects/rundata/data/runs")).expect("data files");
    let file = runs.map(|file| file.expect("listable").path()).next().expect("a data file");
    let mut bytes = std::fs::read(&file).expect("readable");
    bytes[3] ^= 1;
    std::fs::write(&file, &bytes).expect("written");
    let output = data(&root, &["verify"]);
    assert_eq!(output.status.code(), Some(1));
    let (said, name) = (String::from_utf8_lossy(&output.stdout), file.file_name().expect("a name").to_string_lossy());
    assert!(said.contains("Database config is sound") && said.contains("Database run is DAMAGED"), "{said}");
    assert!(said.contains(&format!("rundata/data/runs/{name}: ")) && said.contains("backup"), "{said}");
    refused(&root, &["verify", "--json"], &["1 object is damaged"]);
    refused(&root, &["dump", "--database", "run", "--collection", "runs"], &[&name]);

    // Mended as a backup does, and then its newest checkpoint is damaged, which says how to go back.
    bytes[3] ^= 1;
    std::fs::write(&file, &bytes).expect("written");
    let exported = ok(&root, &["export", "--database", "run"]);
    let manifests = std::fs::read_dir(root.join("objects/rundata/manifest")).expect("checkpoints");
    let newest = manifests.map(|file| file.expect("listable").path()).max().expect("a checkpoint");
    std::fs::write(&newest, b"no manifest").expect("written");
    let go_back = ["checkpoint", "--database", "run", "--from-previous"];
    let said = String::from_utf8(data(&root, &["verify"]).stdout).expect("text");
    assert!(said.contains(&go_back.join(" ")), "{said}");
    ok(&root, &go_back);
    ok(&root, &["verify"]);
    assert_eq!(ok(&root, &["export", "--database", "run"]), exported);
}
