//! What becomes of a step whose supervisor dies?

use rustix::process::{Pid, Signal, kill_process};

use crate::support::{Server, Work, processes_of, wait_for, wait_for_end, wait_for_no_process_of, wait_for_run};

const DEFINITION: &str = "
version: v1
runs:
  - name: long
    tasks:
      - name: wait
        runtime:
          containers: [{image: any}]
        steps:
          - run: (sleep 1000 &) ; setsid sleep 1000 & echo waiting; sleep 1000
      - name: after
        runtime:
          containers: [{image: any}]
        depends: [wait]
        steps:
          - run: echo never
";

#[test]
fn a_task_whose_supervisor_was_killed_is_lost_and_nothing_of_it_runs_on() {
    let directory = tempfile::tempdir().expect("a directory");
    let server = Server::start(&directory.path().join("data"));
    let work = Work::new(&directory);
    server.json(&["project", "create", "hello"]);
    work.commit(DEFINITION, "wait");
    work.git(&["push", "-q", &server.git_url(), "main"]);
    wait_for_run(&server, "1");
    wait_for("the first output", || match server.ok(&["logs", "1", "wait", "--step", "0", "--project", "hello"]) {
        log if log.contains("waiting") => Ok(()),
        log => Err(log),
    });
    let running = processes_of(directory.path());
    let supervisor = running.iter().find(|(_, command)| command.contains(" supervise ")).expect("a supervisor");
    kill_process(Pid::from_raw(supervisor.0).expect("a pid"), Signal::KILL).expect("it runs");

    let run = wait_for_end(&server, "1");
    assert_eq!(run["result"], "failed", "{run:#}");
    let [waited, after] = ["wait", "after"].map(|name| {
        run["tasks"].as_array().expect("a list").iter().find(|task| task["name"] == name).expect("a task").clone()
    });
    assert_eq!((&waited["status"], &waited["failure"]["class"]), (&"failed".into(), &"lost".into()), "{run:#}");
    let message = waited["failure"]["message"].as_str().expect("text");
    assert!(message.contains("step 1") && message.contains("the supervisor of the step is gone"), "{message}");
    assert_eq!(after["status"], "skipped");
    let log = server.ok(&["logs", "1", "wait", "--step", "0", "--project", "hello"]);
    assert!(log.starts_with("waiting\n") && log.contains("lost"), "{log}");
    wait_for("nothing but the server", || match processes_of(directory.path()) {
        left if left.iter().all(|(pid, _)| pid.cast_unsigned() == server.pid()) => Ok(()),
        left => Err(format!("{left:?}")),
    });
    server.end();
    wait_for_no_process_of(directory.path());
}
