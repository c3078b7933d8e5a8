//! A server in a process of its own, a working copy to push from, and how to wait for both.

use std::{
    io::{BufRead, BufReader, Read},
    path::{Path, PathBuf},
    process::{Child, ChildStdout, Command, Output, Stdio},
    time::Duration,
};

use tempfile::TempDir;

/// A server in a process of its own; killed when dropped.
pub(crate) struct Server {
    child: Child,
    stdout: BufReader<ChildStdout>,
    pub(crate) url: String,
    pub(crate) token: String,
}

impl Server {
    pub(crate) fn start(data: &Path) -> Self {
        Self::announced(serve(data, "127.0.0.1:0").spawn().expect("the server starts"), data)
            .expect("the server says where it listens")
    }

    /// Waits for the first words of a server; nothing if it ends before them.
    pub(crate) fn announced(child: Child, data: &Path) -> Option<Self> {
        Self::announced_with(child, || std::fs::read_to_string(data.join("admin-token")).expect("a token"))
    }

    /// The same for a server that knows another token than that of its data directory.
    pub(crate) fn announced_with(mut child: Child, token: impl FnOnce() -> String) -> Option<Self> {
        let mut stdout = BufReader::new(child.stdout.take().expect("stdout is piped"));
        let mut line = String::new();
        stdout.read_line(&mut line).expect("a line");
        let Some(url) = line.split_whitespace().find(|word| word.starts_with("http://")) else {
            child.wait().expect("it has ended");
            return None;
        };
        let url = url.trim_end_matches(',').to_owned();
        let token = token().trim().to_owned();
        Some(Self { child, stdout, url, token })
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Ends it as a crash does.
    pub(crate) fn kill(mut self) {
        self.child.kill().expect("it runs");
        self.child.wait().expect("it ends");
    }

    pub(crate) fn runyard(&self, args: &[&str]) -> Output {
        let mut command = Command::new(env!("CARGO_BIN_EXE_runyard"));
        command.args(args).env("RUNYARD_SERVER", &self.url).env("RUNYARD_TOKEN", &self.token);
        command.output().expect("runyard runs")
    }

    /// Runs a command that must succeed, and returns what it printed.
    pub(crate) fn ok(&self, args: &[&str]) -> String {
        let output = self.runyard(args);
        assert!(output.status.success(), "{args:?}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).expect("text")
    }

    pub(crate) fn json(&self, args: &[&str]) -> serde_json::Value {
        serde_json::from_str(&self.ok(&[args, &["--json"]].concat())).expect("JSON")
    }

    pub(crate) fn git_url(&self) -> String {
        self.url.replace("http://", &format!("http://me:{}@", self.token)) + "/git/hello.git"
    }

    /// Waits until the server ends by itself, as one that failed, and returns what it said on standard error.
    pub(crate) fn failed(mut self) -> String {
        let mut said = String::new();
        self.child.stderr.take().expect("stderr is piped").read_to_string(&mut said).expect("text");
        assert_eq!(self.child.wait().expect("it ends").code(), Some(1), "{said}");
        said
    }

    /// Asks the server to end, as a service manager does, and returns its last words.
    pub(crate) fn end(mut self) -> String {
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

/// The command of a server.
pub(crate) fn serve(data: &Path, listen: &str) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_runyard"));
    command.args(["serve", "--listen", listen, "--data"]).arg(data).stdout(Stdio::piped());
    command
}

/// What still runs of a server and its tasks: their command lines or working directories name its directory.
pub(crate) fn processes_of(directory: &Path) -> Vec<(i32, String)> {
    let needle = directory.to_str().expect("text");
    let entries = std::fs::read_dir("/proc").expect("/proc is mounted").flatten();
    let of_directory = |pid: i32| {
        let read = |file: &str| std::fs::read(format!("/proc/{pid}/{file}")).unwrap_or_default();
        let command = String::from_utf8_lossy(&read("cmdline")).replace('\0', " ");
        let place = std::fs::read_link(format!("/proc/{pid}/cwd")).unwrap_or_default();
        let environment = String::from_utf8_lossy(&read("environ")).into_owned();
        let is_there =
            [command.as_str(), &place.to_string_lossy(), &environment].iter().any(|text| text.contains(needle));
        is_there.then_some((pid, command))
    };
    let pids = entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    pids.filter(|pid| *pid != std::process::id().cast_signed()).filter_map(of_directory).collect()
}

/// Waits until nothing of a directory runs, for programs that have to notice that their pipe was closed.
pub(crate) fn wait_for_no_process_of(directory: &Path) {
    wait_for("no process to be left", || match processes_of(directory) {
        left if left.is_empty() => Ok(()),
        left => Err(format!("{left:?}")),
    });
}

/// Waits for what another process does, which tells nobody about it.
pub(crate) fn wait_for<T>(what: &str, look: impl Fn() -> Result<T, String>) -> T {
    let mut seen = String::new();
    for _ in 0..1500 {
        match look() {
            Ok(found) => return found,
            Err(instead) => seen = instead,
        }
        #[expect(clippy::disallowed_methods, reason = "the other process tells nobody")]
        std::thread::sleep(Duration::from_millis(20));
    }
    panic!("waited in vain for {what}: {seen}");
}

pub(crate) struct Work(PathBuf);

impl Work {
    pub(crate) fn new(directory: &TempDir) -> Self {
        let work = Self(directory.path().join("work"));
        std::fs::create_dir_all(work.0.join(".runyard")).expect("a directory");
        work.git(&["init", "-q", "-b", "main"]);
        work
    }

    pub(crate) fn commit(&self, definition: &str, message: &str) -> String {
        std::fs::write(self.0.join(".runyard/config.yml"), definition).expect("written");
        std::fs::write(self.0.join("message"), message).expect("written");
        self.git(&["add", "-A"]);
        self.git(&["commit", "-q", "-m", message]);
        self.git(&["rev-parse", "HEAD"])
    }

    pub(crate) fn path(&self) -> &Path {
        &self.0
    }

    pub(crate) fn git_command(&self, args: &[&str]) -> Command {
        let mut command = Command::new("git");
        command.args(args).current_dir(&self.0).env("GIT_CONFIG_GLOBAL", "/dev/null").env("GIT_TERMINAL_PROMPT", "0");
        for role in ["AUTHOR", "COMMITTER"] {
            command.env(format!("GIT_{role}_NAME"), "A Tester").env(format!("GIT_{role}_EMAIL"), "tester@example.org");
        }
        command
    }

    pub(crate) fn git(&self, args: &[&str]) -> String {
        let output = self.git_command(args).output().expect("git runs");
        assert!(output.status.success(), "{args:?}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).expect("text").trim().to_owned()
    }
}

/// The push returns when its trigger is durable; the run comes a moment later.
pub(crate) fn wait_for_run(server: &Server, number: &str) {
    wait_for("the run", || match server.runyard(&["runs", "show", number, "--project", "hello"]) {
        output if output.status.success() => Ok(()),
        output => Err(format!("{output:?}")),
    });
}

pub(crate) fn wait_for_end(server: &Server, number: &str) -> serde_json::Value {
    wait_for("the end of the run", || match server.json(&["runs", "show", number, "--project", "hello"]) {
        run if run["phase"] == "finished" => Ok(run),
        run => Err(run.to_string()),
    })
}
