//! An etcd, and servers that share it.

use std::{
    fs::File,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;

use crate::support::{Server, Work, processes_of, serve, wait_for};

/// As short as etcd takes it, and a second: a server that is killed is noticed within it.
pub(crate) const LEASE_SECONDS: u64 = 3;

/// An etcd of its own.
pub(crate) struct Etcd {
    directory: TempDir,
    url: String,
}

impl Etcd {
    pub(crate) fn start(options: &[&str]) -> Self {
        let directory = tempfile::tempdir().expect("a directory");
        let output = script().arg("up").arg(directory.path()).args(options).output().expect("the script runs");
        assert!(output.status.success(), "{output:?}");
        let url = String::from_utf8(output.stdout).expect("text").trim().to_owned();
        Self { directory, url }
    }

    /// What `--coordinator` is given.
    pub(crate) fn url(&self) -> String {
        format!("{}?lease={LEASE_SECONDS}s", self.url)
    }
}

impl Drop for Etcd {
    fn drop(&mut self) {
        let _ = script().arg("down").arg(self.directory.path()).status();
    }
}

fn script() -> Command {
    Command::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../../scripts/etcd"))
}

/// What several servers have in common. Dropping it kills what is left of them and their tasks.
pub(crate) struct House {
    directory: TempDir,
    etcd: Etcd,
    storage: String,
    token: String,
}

impl House {
    /// Servers on a bucket, or on a directory of their own.
    pub(crate) fn new(storage: Option<String>) -> Self {
        let directory = tempfile::tempdir().expect("a directory");
        let own = || directory.path().join("objects").to_str().expect("text").to_owned();
        let storage = storage.unwrap_or_else(own);
        let token = "0123456789abcdef".repeat(4);
        std::fs::write(directory.path().join("token"), &token).expect("written");
        Self { directory, etcd: Etcd::start(&[]), storage, token }
    }

    /// Starts a server that runs one task at a time, with a data directory of this name.
    pub(crate) fn server(&self, name: &str) -> Server {
        let log = File::options().create(true).append(true).open(self.log_path(name)).expect("a file");
        let mut command = serve(&self.path(name), "127.0.0.1:0");
        command.args(["--storage", &self.storage, "--coordinator", &self.etcd.url(), "--task-limit", "1"]);
        command.arg("--admin-token-file").arg(self.path("token"));
        s3_keys(&mut command);
        let child = command.stderr(Stdio::from(log)).spawn().expect("the server starts");
        Server::announced_with(child, || self.token.clone()).unwrap_or_else(|| panic!("{}", self.log(name)))
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    pub(crate) fn work(&self) -> Work {
        Work::new(&self.directory)
    }

    /// What a server has logged.
    pub(crate) fn log(&self, name: &str) -> String {
        std::fs::read_to_string(self.log_path(name)).expect("a log")
    }

    fn log_path(&self, name: &str) -> PathBuf {
        self.path(&format!("{name}.log"))
    }
}

impl Drop for House {
    fn drop(&mut self) {
        if std::thread::panicking() {
            for name in ["a", "b"] {
                println!("{name} said:\n{}", std::fs::read_to_string(self.log_path(name)).unwrap_or_default());
            }
        }
        end_all_of(self.directory.path());
    }
}

/// Ends what still runs of a directory; supervisors of tasks outlive their server, and start nothing new.
fn end_all_of(directory: &Path) {
    for (pid, _) in processes_of(directory) {
        if let Some(pid) = Pid::from_raw(pid) {
            let _ = kill_process(pid, Signal::KILL);
        }
    }
}

/// The keys that a server on loopback takes.
pub(crate) fn s3_keys(command: &mut Command) {
    command.env("AWS_ACCESS_KEY_ID", "runyard").env("AWS_SECRET_ACCESS_KEY", "runyard-secret");
    command.env("AWS_REGION", "us-east-1");
}

/// Waits until a server, which may hear of it a moment later than another one, can do something; returns what it says.
pub(crate) fn wait_until_ok(server: &Server, args: &[&str]) -> String {
    wait_for("a server to hear of it", || match server.runyard(args) {
        output if output.status.success() => Ok(String::from_utf8(output.stdout).expect("text")),
        output => Err(format!("{output:?}")),
    })
}
