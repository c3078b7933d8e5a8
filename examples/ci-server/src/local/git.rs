//! How is `git` asked about the user's repository, without changing it?
//!
//! With the user's own configuration (ignored files and filters are part of what the working tree means), but without
//! the variables of a caller that is git itself, such as a hook.

use std::{
    ffi::OsStr,
    path::{Path, PathBuf},
    process::Stdio,
};

use tokio::{io::AsyncWriteExt, process::Command};

/// Why git did not do what it was asked.
#[derive(Debug, thiserror::Error)]
pub(crate) enum GitError {
    #[error("there is no program `git` in PATH: install git 2.31 or newer")]
    NotInstalled,
    #[error("git cannot be started")]
    NotStarted(#[source] std::io::Error),
    #[error("git failed while {doing}: {message}")]
    Failed {
        /// What was being done, as a participle.
        doing: &'static str,
        /// What it complained about, in one line.
        message: String,
    },
}

/// Git in one directory, with variables of its own.
#[derive(Clone, Debug)]
pub(super) struct Git {
    dir: PathBuf,
    environment: Vec<(&'static str, PathBuf)>,
}

impl Git {
    pub(super) fn new(dir: &Path) -> Self {
        Self { dir: dir.to_owned(), environment: Vec::new() }
    }

    /// The same with another variable.
    pub(super) fn with(mut self, name: &'static str, value: impl Into<PathBuf>) -> Self {
        self.environment.push((name, value.into()));
        self
    }

    fn command(&self, args: &[&OsStr]) -> Command {
        let mut command = Command::new("git");
        for (name, _) in std::env::vars_os().filter(|(name, _)| is_gits(name)) {
            command.env_remove(name);
        }
        // Nothing of the repository's own may run or be written besides: no hook, no monitor, no shared index.
        let settings =
            ["safe.directory=*", "core.hooksPath=/dev/null", "core.fsmonitor=false", "core.splitIndex=false"];
        command
            .current_dir(&self.dir)
            .env("LC_ALL", "C")
            .env("GIT_OPTIONAL_LOCKS", "0")
            .env("GIT_TERMINAL_PROMPT", "0")
            .envs(self.environment.iter().map(|(name, value)| (name, value)))
            .args(settings.iter().flat_map(|setting| ["-c", *setting]))
            .args(args)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true);
        command
    }

    /// Runs a command to its end, and returns what it printed without the last line break.
    pub(super) async fn run(
        &self,
        doing: &'static str,
        args: impl IntoIterator<Item = impl AsRef<OsStr>>,
    ) -> Result<String, GitError> {
        self.feed(doing, args, "").await
    }

    /// The same, with an input.
    pub(super) async fn feed(
        &self,
        doing: &'static str,
        args: impl IntoIterator<Item = impl AsRef<OsStr>>,
        input: &str,
    ) -> Result<String, GitError> {
        let args: Vec<_> = args.into_iter().map(|arg| arg.as_ref().to_owned()).collect();
        let args: Vec<&OsStr> = args.iter().map(AsRef::as_ref).collect();
        let mut child = self.command(&args).spawn().map_err(|error| match error.kind() {
            std::io::ErrorKind::NotFound => GitError::NotInstalled,
            _ => GitError::NotStarted(error),
        })?;
        let mut stdin = child.stdin.take().expect("stdin is piped");
        let feeding = async {
            // A program that ends early does not read everything; its exit status says whether that is an error.
            let _ = stdin.write_all(input.as_bytes()).await;
            drop(stdin);
        };
        let ((), output) = tokio::join!(feeding, child.wait_with_output());
        let output = output.map_err(GitError::NotStarted)?;
        if !output.status.success() {
            return Err(GitError::Failed { doing, message: complaint(&output.stderr, output.status) });
        }
        let mut text = String::from_utf8_lossy(&output.stdout).into_owned();
        text.truncate(text.trim_end_matches('\n').len());
        Ok(text)
    }
}

/// Whether a variable would turn git away from the repository of its directory.
fn is_gits(name: &OsStr) -> bool {
    let kept = ["GIT_SSH", "GIT_SSL", "GIT_EXEC_PATH", "GIT_CONFIG_GLOBAL", "GIT_CONFIG_SYSTEM", "GIT_CONFIG_NOSYSTEM"];
    name.to_str().is_some_and(|name| name.starts_with("GIT_") && !kept.iter().any(|kept| name.starts_with(kept)))
}

/// The complaints of git in one line: the fatal one, or all of them.
fn complaint(stderr: &[u8], status: std::process::ExitStatus) -> String {
    let text = String::from_utf8_lossy(stderr);
    let lines: Vec<&str> = text.lines().map(str::trim).filter(|line| !line.is_empty()).collect();
    let real: Vec<&str> = lines.iter().copied().filter(|line| !line.starts_with("hint:")).collect();
    if real.is_empty() { format!("it ended with {status}") } else { real.join("; ") }
}
