//! The binary as users have it: serve, push, look at the runs, end, and start again.

use crate::support::{Server, Work, wait_for_end, wait_for_run};

const DEFINITION: &str = "
runs:
  - name: build
    tasks:
      - name: compile
        runtime:
          containers: [{image: any}]
        steps:
          - clone:
          - run: cat message
          - run: test -n \"$RUNYARD_RUN_COUNTER\" && echo run $RUNYARD_RUN_COUNTER of $RUNYARD_GIT_BRANCH
      - name: check
        runtime:
          containers: [{image: any}]
        depends: [compile]
        steps:
          - run: echo checked
";

/// It comes before `config.yml`.
const PROGRAM: &str = "
def main(ctx):
    task = {\"name\": \"t\", \"runtime\": {\"containers\": [{\"image\": \"any\"}]}, \"steps\": [{\"run\": \"true\"}]}
    return {\"runs\": [{\"name\": \"on \" + ctx[\"branch\"], \"tasks\": [task]}]}
";

#[test]
fn a_push_runs_and_the_server_can_be_restarted() {
    let directory = tempfile::tempdir().expect("a directory");
    let data = directory.path().join("data");
    let server = Server::start(&data);
    let work = Work::new(&directory);
    assert_eq!(server.json(&["project", "create", "hello"])["name"], "hello");
    let commit = work.commit(DEFINITION, "first words");
    work.git(&["push", "-q", &server.git_url(), "main"]);
    wait_for_run(&server, "1");
    let log = server.ok(&["logs", "1", "--project", "hello", "--follow"]);
    assert!(log.contains("first words") && log.contains("run 1 of main") && log.contains("checked"), "{log}");
    // The log of the last task ended; the run ends with its report.
    let run = wait_for_end(&server, "1");
    assert_eq!((&run["phase"], &run["result"]), (&"finished".into(), &"success".into()), "{run}");
    assert_eq!(run["annotations"]["commit"], commit.as_str());
    assert_eq!(run["annotations"]["author"], "A Tester <tester@example.org>");

    let ended = server.end();
    assert!(ended.contains("Ended; "), "{ended}");
    let rests = |text: &str| stored(&data.join("objects/rundata"), text);
    assert!(rests("GIT_CONFIG_VALUE_0") && !rests("Authorization: Basic"), "the token to clone with rests in clear");
    let server = Server::start(&data);
    assert_eq!(server.ok(&["logs", "1", "--project", "hello"]), log);

    // What is wrong with a definition is seen at a run.
    work.commit("runs: 7\n", "a broken definition");
    work.git(&["push", "-q", &server.git_url(), "main", "main:second"]);
    wait_for_run(&server, "3");
    let list = server.json(&["runs", "list", "--project", "hello"]);
    let phases: Vec<_> = list.as_array().expect("a list").iter().map(|run| run["phase"].clone()).collect();
    assert_eq!(phases, ["setuperror", "setuperror", "finished"]);
    let shown = server.ok(&["runs", "show", "2", "--project", "hello"]);
    assert!(shown.contains(".runyard/config.yml:1"), "{shown}");
    // One that asks for no runs gets none.
    work.commit(DEFINITION, "nothing to see [ci skip]");
    work.git(&["push", "-q", &server.git_url(), "main"]);
    work.git(&["tag", "v1", "HEAD~2"]);
    work.git(&["push", "-q", &server.git_url(), "v1"]);
    wait_for_run(&server, "4");
    assert_eq!(wait_for_end(&server, "4")["annotations"]["tag"], "v1");

    std::fs::write(work.path().join(".runyard/config.star"), PROGRAM).expect("written");
    work.commit(DEFINITION, "a program");
    work.git(&["push", "-q", &server.git_url(), "main:third"]);
    wait_for_run(&server, "5");
    let run = wait_for_end(&server, "5");
    assert_eq!((&run["name"], &run["result"]), (&"on third".into(), &"success".into()), "{run}");

    let refused = server.runyard(&["runs", "stop", "4", "--project", "hello"]);
    assert_eq!(refused.status.code(), Some(1));
    let refused = server.runyard(&["runs", "show", "99", "--project", "hello"]);
    assert!(String::from_utf8_lossy(&refused.stderr).contains("#99"), "{refused:?}");
    assert_eq!(server.runyard(&["runs", "nothing"]).status.code(), Some(2));
    server.end();
}

/// Whether a file below a directory contains a text.
fn stored(directory: &std::path::Path, text: &str) -> bool {
    std::fs::read_dir(directory).expect("a directory").map(|entry| entry.expect("readable").path()).any(|path| {
        if path.is_dir() {
            return stored(&path, text);
        }
        let bytes = std::fs::read(&path).expect("readable");
        bytes.windows(text.len()).any(|window| window == text.as_bytes())
    })
}
