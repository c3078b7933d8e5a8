//! Does an executor that is somewhere else work for a server?

use std::{process::Command, time::Duration};

use crate::{
    killed_executor::{Executor, states, thirty_kills},
    support::{Server, wait_for},
};

#[test]
fn a_task_of_a_remote_executor_that_is_killed_thirty_times_runs_once_and_its_log_is_whole() {
    thirty_kills("any", &[], Duration::from_millis(150));
}

#[test]
fn who_may_not_join_is_told_what_to_do() {
    let directory = tempfile::tempdir().expect("a directory");
    let server = Server::start(&directory.path().join("data"));
    let refused = |name: &str, token: Option<&str>| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_runyard"));
        command.args(["executor", "--server", &server.url, "--data"]).arg(directory.path().join(name));
        if let Some(token) = token {
            let file = directory.path().join(format!("{name}-token"));
            std::fs::write(&file, token).expect("written");
            command.arg("--join-token-file").arg(file);
        }
        let output = command.output().expect("it runs");
        assert_eq!(output.status.code(), Some(1));
        String::from_utf8(output.stderr).expect("text")
    };
    assert!(refused("none", None).contains("runyard executors token"));
    assert!(refused("wrong", Some("ryj_wrong")).contains("the join token is not valid"));
    let once = server.ok(&["executors", "token", "--uses", "1"]);
    let file = directory.path().join("once");
    std::fs::write(&file, &once).expect("written");
    let arguments = ["--join-token-file", file.to_str().expect("text")];
    let executor = Executor::start(&server, &directory.path().join("first"), &arguments);
    wait_for("the executor", || match states(&server, "remote") {
        states if states == ["connected"] => Ok(()),
        states => Err(format!("{states:?}")),
    });
    assert!(refused("second", Some(&once)).contains("the join token is not valid"));
    drop(executor);
}
