//! `runyard run` and `runyard config`: the real program on real repositories.
#![expect(clippy::unwrap_used, reason = "helpers of tests, in a file that holds nothing else")]

mod config;

use std::{
    fs,
    io::{BufRead, BufReader, Read},
    path::{Path, PathBuf},
    process::{Child, Command, Output, Stdio},
};

use serde_json::Value;
use tempfile::TempDir;

/// A repository, and a place of its own for everything temporary.
struct Fixture {
    dir: TempDir,
}

impl Fixture {
    fn new() -> Self {
        let dir = TempDir::new().unwrap();
        for name in ["repo", "tmp", "out"] {
            fs::create_dir(dir.path().join(name)).unwrap();
        }
        let fixture = Self { dir };
        fixture.git(&["init", "--quiet", "--initial-branch=main"]);
        fixture
    }

    /// A repository with this definition, whose tasks are written shortly.
    fn with(definition: &str) -> Self {
        let fixture = Self::new();
        fixture.write(".runyard/config.yml", definition);
        fixture
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn repo(&self) -> PathBuf {
        self.path("repo")
    }

    fn write(&self, file: &str, content: &str) {
        let path = self.repo().join(file);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, content).unwrap();
    }

    fn git(&self, args: &[&str]) {
        let mut command = Command::new("git");
        command.current_dir(self.repo()).args(["-c", "user.name=t", "-c", "user.email=t@t"]).args(args);
        let output = command.output().unwrap();
        assert!(output.status.success(), "git {args:?}: {}", String::from_utf8_lossy(&output.stderr));
    }

    fn commit_all(&self) {
        self.git(&["add", "--all"]);
        self.git(&["commit", "--quiet", "--message", "x"]);
    }

    fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_runyard"));
        command
            .arg("run")
            .args(args)
            .current_dir(self.repo())
            .env("TMPDIR", self.path("tmp"))
            .env("OUT", self.path("out"))
            // Of a hook that calls the program; a clone must not see it.
            .env("GIT_DIR", "/nonexistent")
            .env("GIT_INDEX_FILE", "/nonexistent")
            .env("RUNYARD_LEAK", "leaked")
            .stdin(Stdio::null());
        command
    }

    /// Runs to the end; nothing temporary may be left.
    fn run(&self, args: &[&str]) -> Ended {
        let ended = Ended::of(self.command(args).output().unwrap());
        self.assert_nothing_left(&ended);
        ended
    }

    fn assert_nothing_left(&self, ended: &Ended) {
        let left: Vec<_> = fs::read_dir(self.path("tmp")).unwrap().map(|entry| entry.unwrap().path()).collect();
        assert!(left.is_empty(), "left behind: {left:?}\n{ended:?}");
    }

    fn out(&self, file: &str) -> String {
        fs::read_to_string(self.path("out").join(file)).unwrap()
    }
}

#[derive(Debug)]
struct Ended {
    code: Option<i32>,
    stdout: String,
    stderr: String,
}

impl Ended {
    fn of(output: Output) -> Self {
        Self {
            code: output.status.code(),
            stdout: String::from_utf8(output.stdout).unwrap(),
            stderr: String::from_utf8(output.stderr).unwrap(),
        }
    }

    #[track_caller]
    fn says(&self, text: &str) -> &Self {
        assert!(
            self.stdout.contains(text) || self.stderr.contains(text),
            "`{text}` is not said:\n{}\n{}",
            self.stdout,
            self.stderr
        );
        self
    }

    #[track_caller]
    fn ends_with(&self, code: i32) -> &Self {
        assert_eq!(self.code, Some(code), "{}\n{}", self.stdout, self.stderr);
        self
    }
}

/// A run with one task `work` of these steps.
fn one_task(steps: &str) -> String {
    format!(
        "runs:\n  - name: build\n    tasks:\n      - name: work\n        runtime:\n          containers:\n            \
         - image: alpine\n        steps:\n{steps}"
    )
}

#[test]
fn tasks_see_the_working_tree_as_it_is_and_the_repository_stays_untouched() {
    let fixture = Fixture::with(&one_task("          - clone:\n          - run: ls -1A && cat changed && env\n"));
    fixture.write("changed", "as committed\n");
    fixture.write(".gitignore", "*.ignored\n");
    fixture.commit_all();
    fixture.write("changed", "as it is\n");
    fixture.write("untracked", "");
    fixture.write("x.ignored", "");
    let index = fs::read(fixture.repo().join(".git/index")).unwrap();
    let ended = fixture.run(&[]);
    ended.ends_with(0).says("[work] as it is\n").says("[work] untracked\n").says("[work] RUNYARD_GIT_BRANCH=main\n");
    ended.says("[work] RUNYARD_RUN_COUNTER=1\n").says("run build: success");
    for absent in ["x.ignored", "RUNYARD_LEAK", "GIT_DIR=", "\x1b"] {
        assert!(!ended.stdout.contains(absent), "{absent}: {}", ended.stdout);
    }
    assert_eq!(fs::read(fixture.repo().join(".git/index")).unwrap(), index);
}

#[test]
fn a_subdirectory_of_a_repository_is_the_root_of_its_clone() {
    let fixture = Fixture::new();
    fixture.write("outside", "");
    fixture.write("inner/.runyard/config.yml", &one_task("          - clone:\n          - run: ls -1A\n"));
    fixture.commit_all();
    fixture.write("inner/untracked", "");
    let ended = fixture.run(&["inner"]);
    ended.ends_with(0).says("[work] .runyard\n").says("[work] untracked\n");
    assert!(!ended.stdout.contains("outside"), "{}", ended.stdout);
}

#[test]
fn a_failing_step_is_exit_1_with_a_table_and_its_last_lines() {
    let definition =
        one_task("          - run: |\n              echo before\n              exit 7\n          - run: echo never\n");
    let ended = Fixture::with(&definition).run(&[]);
    ended.ends_with(1).says("[work] before\n").says("the step ended with status 7").says("the last lines of [work]");
    ended.says("run build: failed");
    assert!(
        ended.stdout.lines().any(|line| line.starts_with("work  failed") && line.contains("exit:")),
        "{}",
        ended.stdout
    );
    assert!(!ended.stdout.contains("[work] never\n"), "{}", ended.stdout);
}

#[test]
fn what_a_command_prints_reaches_the_screen_without_control_sequences_and_to_the_last_byte() {
    let definition =
        one_task("          - run: printf 'one\\033[2J\\r\\ntwo\\rTWO\\n\\033[31mred\\033[0m\\npartial'\n");
    let ended = Fixture::with(&definition).run(&[]);
    ended.ends_with(0).says("[work] one\n[work] TWO\n[work] red\n[work] partial\n");
}

#[test]
fn variables_reach_the_tasks_and_a_missing_one_is_named() {
    let definition = one_task("          - run: test \"$TOKEN\" = hunter2 && echo \"it is $TOKEN\"\n").replace(
        "        steps:",
        "        environment:\n          TOKEN:\n            from_variable: token\n        steps:",
    );
    let fixture = Fixture::with(&definition);
    fs::write(fixture.path("out").join("vars.env"), "token=other\n").unwrap();
    let file = fixture.path("out").join("vars.env");
    let ended = fixture.run(&["--var-file", file.to_str().unwrap(), "--var", "token=hunter2"]);
    ended.ends_with(0).says("[work] it is ");
    fixture.run(&[]).ends_with(1).says("`token`");
}

#[test]
fn json_is_one_object_in_each_line_and_the_last_is_the_result() {
    let ended = Fixture::with(&one_task("          - run: echo hello; exit 3\n")).run(&["--json"]);
    ended.ends_with(1);
    let lines: Vec<Value> = ended.stdout.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert!(lines.iter().all(|line| line.as_object().is_some_and(|object| object.len() == 1)));
    assert!(lines.iter().any(|line| line["log"]["line"] == "hello" && line["log"]["task"] == "work"));
    assert!(lines.iter().any(|line| line["event"]["type"] == "run_finished"));
    let result = &lines.last().unwrap()["result"];
    assert_eq!(result["exit_code"], 1);
    assert_eq!(result["runs"][0]["result"], "failed");
    assert_eq!(result["runs"][0]["tasks"][0]["failure"]["class"], "exit");
}

#[test]
fn a_kept_store_counts_the_runs_and_serves_the_next_one() {
    let fixture = Fixture::with(&one_task("          - run: echo \"number $RUNYARD_RUN_COUNTER\"\n"));
    let store = fixture.path("out").join("store");
    let args = ["--store", store.to_str().unwrap()];
    fixture.run(&args).ends_with(0).says("number 1");
    fixture.run(&args).ends_with(0).says("number 2");
    assert_eq!(fs::read_dir(store.join("pods")).unwrap().count(), 0, "no pod is kept");
    fs::write(store.with_file_name("file"), "").unwrap();
    fixture.run(&["--store", store.with_file_name("file").to_str().unwrap()]).ends_with(2).says("--store");
}

const TWO_RUNS: &str = "
runs:
  - name: build
    when: { branch: main }
    tasks: [{ name: a, runtime: { containers: [{ image: x }] }, steps: [{ run: echo built }] }]
  - name: release
    when: { tag: '#v.*#' }
    tasks: [{ name: a, runtime: { containers: [{ image: x }] }, steps: [{ run: 'echo released $RUNYARD_GIT_TAG' }] }]
";

#[test]
fn runs_are_chosen_by_reference_or_by_name() {
    let fixture = Fixture::with(TWO_RUNS);
    let built = fixture.run(&[]);
    built.ends_with(0).says("[a] built\n");
    assert!(!built.stdout.contains("release"), "{}", built.stdout);
    fixture.run(&["--tag", "v1"]).ends_with(0).says("[a] released v1\n");
    let both = fixture.run(&["--run", "build", "--run", "release"]);
    both.ends_with(0).says("[build/a] built\n").says("[release/a] released\n");
    fixture.run(&["--branch", "other"]).ends_with(2).says("`release`").says("--run");
    fixture.run(&["--run", "biuld"]).ends_with(2).says("did you mean `build`?");
}

#[test]
fn a_task_that_this_machine_can_never_run_is_said_and_does_not_hang() {
    let definition = "
runs:
  - name: build
    tasks:
      - name: other
        runtime: { containers: [{ image: x }] }
        steps: [{ run: echo done }]
      - name: privileged
        runtime: { containers: [{ image: x, privileged: true }] }
        steps: [{ run: echo never }]
";
    let ended = Fixture::with(definition).run(&[]);
    ended.ends_with(1).says("[other] done\n").says("[privileged] -- waits: no executor allows privileged containers");
    ended.says("run build: stopped");
}

#[test]
fn an_approval_is_given_on_request_and_else_named() {
    let definition = one_task("          - run: echo deployed\n")
        .replace("        steps:", "        approval: true\n        steps:");
    let fixture = Fixture::with(&definition);
    fixture.run(&[]).ends_with(1).says("--approve").says("run build: stopped");
    fixture.run(&["--approve"]).ends_with(0).says("[work] deployed\n");
}

#[test]
fn what_cannot_be_run_is_one_clear_message_and_exit_2() {
    let fixture = Fixture::new();
    fixture.run(&[]).ends_with(2).says(".runyard/config.yml");
    fixture.run(&["missing"]).ends_with(2).says("missing");
    fixture.write("file", "");
    fixture.run(&["file"]).ends_with(2).says("is not a directory");
    fixture.write(".runyard/config.yml", "runs:\n  - name: build\n    tasks: 5\n");
    let broken = fixture.run(&[]);
    broken.ends_with(2).says(".runyard/config.yml:3:").says(": error: ");
    assert_eq!(broken.stdout, "");
    fixture.run(&["--jobs", "0"]).ends_with(2);
    fixture.write(".runyard/config.yml", TWO_RUNS);
    fixture.run(&["--var", "x"]).ends_with(2).says("NAME=VALUE");

    let plain = fixture.path("out");
    fs::create_dir(plain.join(".runyard")).unwrap();
    fs::write(plain.join(".runyard/config.yml"), one_task("          - run: 'true'\n")).unwrap();
    fixture.run(&[plain.to_str().unwrap()]).ends_with(2).says("git init");
}

#[test]
fn a_workspace_goes_from_task_to_task() {
    let definition = "
runs:
  - name: build
    tasks:
      - name: make
        runtime: { containers: [{ image: x }] }
        steps:
          - run: mkdir dir && echo made > dir/file
          - save_to_workspace: { contents: [{ source_dir: dir, paths: ['**'] }] }
      - name: use
        runtime: { containers: [{ image: x }] }
        steps:
          - restore_workspace: { dest_dir: . }
          - run: cat file
        depends: [make]
";
    Fixture::with(definition).run(&[]).ends_with(0).says("[use] made\n");
}

/// Starts a run whose task does not end by itself, and waits until it has begun.
fn started(fixture: &Fixture) -> (Child, impl Read, Vec<PathBuf>) {
    let mut child = fixture.command(&[]).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let mut stdout = BufReader::new(child.stdout.take().unwrap());
    let mut line = String::new();
    while !line.contains("begun") {
        line.clear();
        assert_ne!(stdout.read_line(&mut line).unwrap(), 0, "it ended before it began");
    }
    let pids = fixture.out("pids");
    let processes = pids.split_whitespace().map(|pid| Path::new("/proc").join(pid)).collect();
    (child, stdout, processes)
}

/// Whether a process executes anything; one that is dead but not yet collected does not.
fn is_alive(process: &Path) -> bool {
    let stat = fs::read_to_string(process.join("stat")).unwrap_or_default();
    stat.rsplit_once(") ").is_some_and(|(_, state)| !state.starts_with(['Z', 'X']))
}

fn signal(child: &Child) {
    let pid = rustix::process::Pid::from_child(child);
    rustix::process::kill_process(pid, rustix::process::Signal::INT).unwrap();
}

#[test]
fn an_interrupt_stops_the_tasks_and_leaves_nothing() {
    let steps = "          - run: |\n              trap 'echo stopping; exit 1' TERM\n              sleep 1000 &\n              \
                 echo $$ $! > $OUT/pids; echo begun; wait\n";
    let fixture = Fixture::with(&one_task(steps));
    let (mut child, mut stdout, processes) = started(&fixture);
    signal(&child);
    let mut rest = String::new();
    stdout.read_to_string(&mut rest).unwrap();
    let ended = Ended { code: child.wait().unwrap().code(), stdout: rest, stderr: String::new() };
    ended.ends_with(130).says("[work] stopping\n").says("work  stopped").says("run build: stopped");
    for process in processes {
        assert!(!is_alive(&process), "{process:?} is left");
    }
    fixture.assert_nothing_left(&ended);
}

#[test]
fn a_second_interrupt_ends_at_once_what_does_not_listen() {
    let steps = "          - run: |\n              trap '' TERM\n              sleep 1000 &\n              \
                 echo $$ $! > $OUT/pids; echo begun; while true; do wait; done\n";
    let fixture = Fixture::with(&one_task(steps));
    let (mut child, mut stdout, processes) = started(&fixture);
    signal(&child);
    // The second one counts only once the first was heard.
    let mut heard = Vec::new();
    while !String::from_utf8_lossy(&heard).contains("once more") {
        let mut piece = [0; 256];
        let read = stdout.read(&mut piece).unwrap();
        assert_ne!(read, 0);
        heard.extend_from_slice(&piece[..read]);
    }
    signal(&child);
    let code = child.wait().unwrap().code();
    let mut rest = String::new();
    stdout.read_to_string(&mut rest).unwrap();
    let ended = Ended { code, stdout: rest, stderr: String::new() };
    ended.ends_with(130);
    for process in processes {
        assert!(!is_alive(&process), "{process:?} is left");
    }
    fixture.assert_nothing_left(&ended);
}
