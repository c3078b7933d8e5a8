//! How is a program handed to a process of its own, and what came of that?

use std::{io, os::unix::process::ExitStatusExt, process::Stdio};

use runyard_runconfig::Position;
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWriteExt},
    process::Command,
};

use super::{Failure, Program, child::WORD, limits};

/// What the child may say of an error.
const COMPLAINT_BYTES: u64 = 64 << 10;

/// Evaluates a program.
///
/// # Cancel safety
/// Dropping the future ends the child.
pub(super) async fn evaluate(program: &Program) -> Result<serde_json::Value, Failure> {
    let evaluated = tokio::time::timeout(limits::WALL_CLOCK, run(program)).await;
    let Ok(ended) = evaluated else {
        return Err(too_much(format!("takes longer than {} s", limits::WALL_CLOCK.as_secs())));
    };
    let Ended { status, output, complaint } =
        ended.map_err(|error| failure(format!("no process can be started to evaluate the program: {error}")))?;
    if output.len() as u64 > limits::OUTPUT_BYTES {
        return Err(too_much(format!("comes to more than {} MiB of JSON", limits::OUTPUT_BYTES >> 20)));
    }
    if !status.success() {
        return Err(what_went_wrong(status, &complaint, &program.file));
    }
    serde_json::from_slice(&output).map_err(|error| failure(format!("the program does not come to JSON: {error}")))
}

/// A child that has ended.
struct Ended {
    status: std::process::ExitStatus,
    output: Vec<u8>,
    complaint: String,
}

async fn run(program: &Program) -> io::Result<Ended> {
    let request = serde_json::to_vec(program)?;
    let mut child = Command::new(std::env::current_exe()?)
        .arg(WORD)
        // Not a secret of this process reaches it.
        .env_clear()
        .current_dir("/")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true)
        .spawn()?;
    let mut stdin = child.stdin.take().expect("it is piped");
    let feeding = async {
        // A child that ends early does not read everything; its exit status says why.
        let _ = stdin.write_all(&request).await;
        drop(stdin);
    };
    let (stdout, stderr) = (child.stdout.take().expect("it is piped"), child.stderr.take().expect("it is piped"));
    let ((), output, complaint) =
        tokio::join!(feeding, at_most(stdout, limits::OUTPUT_BYTES + 1), beginning(stderr, COMPLAINT_BYTES));
    let complaint = String::from_utf8_lossy(&complaint?).into_owned();
    Ok(Ended { status: child.wait().await?, output: output?, complaint })
}

/// What comes, up to a limit; a writer who has more to say is told that nobody reads.
async fn at_most(mut stream: impl AsyncRead + Unpin, most: u64) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    (&mut stream).take(most).read_to_end(&mut bytes).await?;
    Ok(bytes)
}

/// What comes, up to a limit; the rest is read, too, and dropped.
async fn beginning(mut stream: impl AsyncRead + Unpin, most: u64) -> io::Result<Vec<u8>> {
    let bytes = at_most(&mut stream, most).await?;
    tokio::io::copy(&mut stream, &mut tokio::io::sink()).await?;
    Ok(bytes)
}

fn failure(message: String) -> Failure {
    Failure { message, ..Failure::default() }
}

fn too_much(what: String) -> Failure {
    let hint = Some("look for a loop or a text that grows without end; data belongs into files of the repository");
    Failure { hint, ..failure(format!("the program {what}")) }
}

/// Says what a child died of, as its user would.
fn what_went_wrong(status: std::process::ExitStatus, complaint: &str, file: &str) -> Failure {
    let signal = status.signal().and_then(rustix::process::Signal::from_named_raw);
    if complaint.contains("memory allocation") || complaint.contains("out of memory") {
        return too_much(format!("needs more than {} MiB of memory", limits::MEMORY_BYTES >> 20));
    }
    match signal {
        Some(rustix::process::Signal::XCPU | rustix::process::Signal::KILL) => {
            too_much(format!("takes more than {} s of a processor", limits::CPU.as_secs()))
        }
        Some(_) if complaint.contains("overflowed its stack") => too_much("calls itself too deeply".to_owned()),
        Some(signal) => failure(format!("the evaluator was ended by signal {}", signal.as_raw())),
        None => said(complaint, file),
    }
}

/// What an evaluator printed as the error, behind a trace of calls or not, and the first place in the file.
fn said(complaint: &str, file: &str) -> Failure {
    let lines = || complaint.lines().map(str::trim).filter(|line| !line.is_empty());
    let error = lines().find_map(|line| line.strip_prefix("error: ")).or_else(|| lines().next());
    let message = error.unwrap_or("the evaluator ended without a word").to_owned();
    let arrow = format!("--> {file}:");
    let place = complaint.lines().find_map(|line| line.trim().strip_prefix(arrow.as_str()));
    let mut numbers = place.unwrap_or_default().split(':').map_while(|number| number.trim().parse().ok());
    let position = Position { line: numbers.next().unwrap_or(0), column: numbers.next().unwrap_or(0) };
    Failure { position, ..failure(message) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_line_and_the_first_place_of_the_file_count() {
        let complaint = "error: undefined variable `x`\n  --> a/config.jsonnet:3:7\n   |\n  --> other:1:1\n";
        let said = said(complaint, "a/config.jsonnet");
        assert_eq!(said.message, "undefined variable `x`");
        assert_eq!(said.position, Position { line: 3, column: 7 });
        let traced =
            "Traceback (most recent call last):\n  * a.star:3, in <module>\n      f()\nerror: no\n --> a.star:1:2\n";
        assert_eq!(
            super::said(traced, "a.star"),
            Failure { position: Position { line: 1, column: 2 }, ..failure("no".into()) }
        );
        assert_eq!(super::said("", "f").position, Position::default());
    }
}
