//! The binary as users have it: serve, push, look at the runs, end, and start again.

use std::{
    io::{BufRead, BufReader, Read},
    path::{Path, PathBuf},
    process::{Child, ChildStdout, Command, Output, Stdio},
    time::Duration,
};

use tempfile::TempDir;

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

/// A server in a process of its own; killed when dropped.
struct Server {
    child: Child,
    stdout: BufReader<ChildStdout>,
    url: String,
    token: String,
}

impl Server {
    fn start(data: &Path) -> Self {
        let mut command = Command::new(env!("CARGO_BIN_EXE_runyard"));
        command.args(["serve", "--listen", "127.0.0.1:0", "--data"]).arg(data).stdout(Stdio::piped());
        let mut child = command.spawn().expect("the server starts");
        let mut stdout = BufReader::new(child.stdout.take().expect("stdout is piped"));
        let mut line = String::new();
        stdout.read_line(&mut line).expect("a line");
        let url = line.split_whitespace().find(|word| word.starts_with("http://")).expect("an address");
        let url = url.trim_end_matches(',').to_owned();
        let token = std::fs::read_to_string(data.join("admin-token")).expect("a token").trim().to_owned();
        Self { child, stdout, url, token }
    }

    fn runyard(&self, args: &[&str]) -> Output {
        let mut command = Command::new(env!("CARGO_BIN_EXE_runyard"));
        command.args(args).env("RUNYARD_SERVER", &self.url).env("RUNYARD_TOKEN", &self.token);
        command.output().expect("runyard runs")
    }

    /// Runs a command that must succeed, and returns what it printed.
    fn ok(&self, args: &[&str]) -> String {
        let output = self.runyard(args);
        assert!(output.status.success(), "{args:?}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).expect("text")
    }

    fn json(&self, args: &[&str]) -> serde_json::Value {
        serde_json::from_str(&self.ok(&[args, &["--json"]].concat())).expect("JSON")
    }

    fn git_url(&self) -> String {
        self.url.replace("http://", &format!("http://me:{}@", self.token)) + "/git/hello.git"
    }

    /// Asks the server to end, as a service manager does, and returns its last words.
    fn end(mut self) -> String {
        let pid = rustix::process::Pid::from_child(&self.child);
        rustix::process::kill_process(pid, rustix::process::Signal::TERM).expect("it runs");
        let mut rest = String::new();
        self.stdout.read_to_string(&mut rest).expect("text");
        assert!(self.child.wait().expect("it ends").success(), "{rest}");
        rest
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

struct Work(PathBuf);

impl Work {
    fn new(directory: &TempDir) -> Self {
        let work = Self(directory.path().join("work"));
        std::fs::create_dir_all(work.0.join(".runyard")).expect("a directory");
        work.git(&["init", "-q", "-b", "main"]);
        work
    }

    fn commit(&self, definition: &str, message: &str) -> String {
        std::fs::write(self.0.join(".runyard/config.yml"), definition).expect("written");
        std::fs::write(self.0.join("message"), message).expect("written");
        self.git(&["add", "-A"]);
        self.git(&["commit", "-q", "-m", message]);
        self.git(&["rev-parse", "HEAD"])
    }

    fn git(&self, args: &[&str]) -> String {
        let mut command = Command::new("git");
        command.args(args).current_dir(&self.0).env("GIT_CONFIG_GLOBAL", "/dev/null").env("GIT_TERMINAL_PROMPT", "0");
        for role in ["AUTHOR", "COMMITTER"] {
            command.env(format!("GIT_{role}_NAME"), "A Tester").env(format!("GIT_{role}_EMAIL"), "tester@example.org");
        }
        let output = command.output().expect("git runs");
        assert!(output.status.success(), "{args:?}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).expect("text").trim().to_owned()
    }
}

/// The push returns when its trigger is durable; the run comes a moment later.
fn wait_for_run(server: &Server, number: &str) {
    for _ in 0..200 {
        if server.runyard(&["runs", "show", number, "--project", "hello"]).status.success() {
            return;
        }
        // Another process has to act, and there is nothing of it to wait for.
        #[expect(clippy::disallowed_methods, reason = "the other process tells nobody")]
        std::thread::sleep(Duration::from_millis(20));
    }
    panic!("run {number} did not come");
}

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

    let refused = server.runyard(&["runs", "stop", "4", "--project", "hello"]);
    assert_eq!(refused.status.code(), Some(1));
    let refused = server.runyard(&["runs", "show", "99", "--project", "hello"]);
    assert!(String::from_utf8_lossy(&refused.stderr).contains("#99"), "{refused:?}");
    assert_eq!(server.runyard(&["runs", "nothing"]).status.code(), Some(2));
    server.end();
}

fn wait_for_end(server: &Server, number: &str) -> serde_json::Value {
    for _ in 0..500 {
        let run = server.json(&["runs", "show", number, "--project", "hello"]);
        if run["phase"] == "finished" {
            return run;
        }
        #[expect(clippy::disallowed_methods, reason = "the other process tells nobody")]
        std::thread::sleep(Duration::from_millis(20));
    }
    panic!("run {number} did not end: {}", server.ok(&["runs", "show", number, "--project", "hello"]));
}

#[test]
fn a_server_that_cannot_start_says_what_to_do() {
    let directory = tempfile::tempdir().expect("a directory");
    let server = Server::start(&directory.path().join("data"));
    let address = server.url.trim_start_matches("http://");
    let serve = |listen: &str, data: &str| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_runyard"));
        command.args(["serve", "--listen", listen, "--data"]).arg(directory.path().join(data));
        let output = command.output().expect("it ends");
        assert_eq!(output.status.code(), Some(1));
        String::from_utf8(output.stderr).expect("text")
    };
    let in_use = serve(address, "other");
    assert!(in_use.contains(address) && in_use.contains("--listen"), "{in_use}");
    let held = serve("127.0.0.1:0", "data");
    assert!(held.contains("in use by process") && held.contains("--data"), "{held}");
    server.end();
}
