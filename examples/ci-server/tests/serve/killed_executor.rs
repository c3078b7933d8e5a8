//! Does a task notice that its executor, a process of its own, is killed again and again?

use std::{
    path::Path,
    process::{Child, Command, Stdio},
    time::Duration,
};

use rand::{
    RngExt as _, SeedableRng as _, TryRng as _,
    rngs::{StdRng, SysRng},
};

use crate::support::{Server, Work, serve, wait_for, wait_for_end, wait_for_no_process_of, wait_for_run};

const KILLS: usize = 30;
/// Set it to the seed that a failed test has printed.
const SEED: &str = "RUNYARD_TEST_SEED";

/// An executor in a process of its own; killed when dropped.
pub(crate) struct Executor(Child);

impl Executor {
    pub(crate) fn start(server: &Server, data: &Path, arguments: &[&str]) -> Self {
        let log = std::fs::OpenOptions::new().append(true).create(true).open(data.with_extension("log"));
        let mut command = Command::new(env!("CARGO_BIN_EXE_runyard"));
        command
            .args(["executor", "--server", &server.url, "--name", "remote", "--task-limit", "1", "--data"])
            .arg(data);
        command.args(arguments).stdout(Stdio::null()).stderr(log.expect("a file"));
        Self(command.spawn().expect("the executor starts"))
    }

    fn kill(mut self) {
        self.0.kill().expect("it runs");
        self.0.wait().expect("it ends");
    }
}

impl Drop for Executor {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// A server whose own executor takes nothing.
fn server_without_executor(data: &Path) -> Server {
    let mut command = serve(data, "127.0.0.1:0");
    command.args(["--task-limit", "0"]);
    Server::announced(command.spawn().expect("the server starts"), data).expect("the server says where it listens")
}

pub(crate) fn states(server: &Server, name: &str) -> Vec<String> {
    let executors = server.json(&["executors", "list"]);
    let named = executors.as_array().expect("a list").iter().filter(|executor| executor["name"] == name);
    named.map(|executor| executor["state"].as_str().expect("text").to_owned()).collect()
}

/// Kills the executor of a task thirty times: the task runs once, and its log is whole. Tasks run in `image`, by a driver that
/// the executor is told of by `arguments`; with that it connects within `starts_within`.
pub(crate) fn thirty_kills(image: &str, arguments: &[&str], starts_within: Duration) {
    let seed = match std::env::var(SEED) {
        Ok(seed) => seed.parse().expect("a number"),
        Err(_) => SysRng.try_next_u64().expect("randomness"),
    };
    println!("{SEED}={seed}");
    // Some kills come before it is connected, some after; the task lasts until after the last of them.
    let pause_max = 2 * starts_within.as_millis() as u64;
    let lines = KILLS as u64 * pause_max;
    let mut random = StdRng::seed_from_u64(seed);
    let directory = tempfile::tempdir().expect("a directory");
    let server = server_without_executor(&directory.path().join("data"));
    let work = Work::new(&directory);
    let definition = format!(
        "
version: v1
runs:
  - name: numbers
    tasks:
      - name: count
        runtime: {{containers: [{{image: '{image}'}}]}}
        steps:
          - run: |
              echo started >> ~/started
              i=0
              while [ $i -lt {lines} ]; do i=$((i+1)); echo \"line $i\"; sleep 0.001; done
          - run: wc -l < ~/started
"
    );
    server.json(&["project", "create", "hello"]);
    work.commit(&definition, "count");
    work.git(&["push", "-q", &server.git_url(), "main"]);
    wait_for_run(&server, "1");

    let data = directory.path().join("executor");
    let join_token = directory.path().join("join-token");
    std::fs::write(&join_token, server.ok(&["executors", "token", "--uses", "1"])).expect("written");
    let join_token = join_token.to_str().expect("text");
    let mut executor = Executor::start(&server, &data, &[arguments, &["--join-token-file", join_token]].concat());
    let log_of = |step: &str| server.runyard(&["logs", "1", "count", "--step", step, "--project", "hello"]).stdout;
    let log = || log_of("0");
    wait_for("the first line", || if log().is_empty() { Err("nothing".to_owned()) } else { Ok(()) });
    for _ in 0..KILLS {
        #[expect(clippy::disallowed_methods, reason = "a moment that nothing else decides is what is wanted")]
        std::thread::sleep(Duration::from_millis(random.random_range(0..pause_max)));
        executor.kill();
        // From now on it has a token of its own.
        executor = Executor::start(&server, &data, arguments);
    }
    let last = format!("line {lines}\n");
    assert!(!log().ends_with(last.as_bytes()), "the task lasts too short for so many kills");
    let run = wait_for_end(&server, "1");
    assert_eq!(run["result"], "success", "{run:#}");
    let expected: String = (1..=lines).map(|line| format!("line {line}\n")).collect();
    let printed = String::from_utf8(log()).expect("text");
    assert!(printed == expected, "{} bytes instead of {}", printed.len(), expected.len());
    assert_eq!(log_of("1").trim_ascii(), b"1", "no step is started twice");
    wait_for("the executor to be there", || match states(&server, "remote") {
        states if states == ["connected"] => Ok(()),
        states => Err(format!("{states:?}")),
    });
    drop(executor);
    server.end();
    wait_for_no_process_of(directory.path());
}
