//! How is a `git` program run? Away from every configuration of the machine and its users, and dead when nobody waits.

use std::{path::Path, process::Stdio};

use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWriteExt},
    process::Command,
};

use super::{Error, Result};

/// The most of a program's complaints that is kept, in bytes.
const STDERR_BYTES_MAX: u64 = 8 * 1024;

/// A git command on a repository; killed when its future or child is dropped.
pub(super) fn git(git_dir: &Path) -> Command {
    let mut command = Command::new("git");
    let path = std::env::var_os("PATH").unwrap_or_else(|| "/usr/local/bin:/usr/bin:/bin".into());
    command
        .env_clear()
        .env("PATH", path)
        .env("HOME", "/nonexistent")
        .env("LC_ALL", "C")
        .env("GIT_CONFIG_NOSYSTEM", "1")
        .env("GIT_CONFIG_GLOBAL", "/dev/null")
        .env("GIT_TERMINAL_PROMPT", "0")
        .env("GIT_DIR", git_dir)
        .args(["-c", "safe.directory=*", "-c", "core.hooksPath=/dev/null", "-c", "gc.auto=0"])
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true);
    command
}

/// Runs a command to its end on a small input, and returns what it printed.
///
/// # Errors
/// [`Error::Git`] with what it complained about, if it failed.
pub(super) async fn output(mut command: Command, doing: &'static str, input: &[u8]) -> Result<Vec<u8>> {
    let mut child = command.stdin(Stdio::piped()).spawn().map_err(Error::io("starting", "git"))?;
    let mut stdin = child.stdin.take().expect("stdin is piped");
    let mut stdout = child.stdout.take().expect("stdout is piped");
    let stderr = child.stderr.take().expect("stderr is piped");
    let mut printed = Vec::new();
    let feed = async {
        // A program that ends early does not read everything; its exit status says whether that is an error.
        let _ = stdin.write_all(input).await;
        drop(stdin);
    };
    let ((), read, complaints) = tokio::join!(feed, stdout.read_to_end(&mut printed), complaints(stderr));
    read.map_err(Error::io("reading the output of", "git"))?;
    finish(child, doing, complaints).await?;
    Ok(printed)
}

/// Waits for the end of a program whose pipes are at their end.
pub(super) async fn finish(mut child: tokio::process::Child, doing: &'static str, complaints: String) -> Result<()> {
    let status = child.wait().await.map_err(Error::io("waiting for", "git"))?;
    if status.success() {
        return Ok(());
    }
    let stderr = if complaints.is_empty() { status.to_string() } else { complaints };
    Err(Error::Git { doing, stderr })
}

/// Reads all that a program complains about, and keeps the beginning.
pub(super) async fn complaints(mut stderr: impl AsyncRead + Unpin) -> String {
    let mut kept = Vec::new();
    let _ = (&mut stderr).take(STDERR_BYTES_MAX).read_to_end(&mut kept).await;
    // The rest is read too, or the program would wait for ever.
    let _ = tokio::io::copy(&mut stderr, &mut tokio::io::sink()).await;
    String::from_utf8_lossy(&kept).trim().to_owned()
}

/// Says what to do when there is no git.
pub(super) async fn check_installed() -> Result<()> {
    let mut command = git(Path::new("/nonexistent"));
    command.arg("--version");
    match output(command, "asking for its version", b"").await {
        Err(Error::Io { source, .. }) if source.kind() == std::io::ErrorKind::NotFound => Err(Error::Git {
            doing: "being looked for",
            stderr: "no program `git` is in PATH: install git 2.31 or newer".to_owned(),
        }),
        other => other.map(drop),
    }
}
