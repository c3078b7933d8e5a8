//! How does a subcommand of the toolbox run for a user, with what comes in and what goes out over the bridge?

use std::collections::BTreeMap;
use std::io::{self, Read, Write as _};
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::{Child, ChildStderr, Command, Stdio};
use std::thread;

use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};

use super::Link;
use super::protocol::{FromBridge, PIECE_MAX, Reply, ToBridge, encode_output};
use super::requests::{Pod, home, identity};
use crate::protocol::Frame as _;
use crate::supervise::{Identity, become_user};

/// The most that is passed on of what a tool says.
const SAID_BYTES_MAX: u64 = 32 << 10;

/// Serves a request for a tool; false if the stream to the executor has ended.
pub(super) fn serve(
    pod: &Pod,
    args: &[String],
    working_dir: Option<&str>,
    environment: BTreeMap<String, String>,
    user: Option<&str>,
    link: &mut Link,
) -> io::Result<bool> {
    let user = match identity(user) {
        Ok(user) => user,
        Err(message) => return refuse(Reply::Refused { message }, link),
    };
    let environment = pod.environment(user.as_ref(), environment);
    let child = match spawn(args, working_dir, environment, user) {
        Ok(child) => child,
        Err(error) => return refuse(Reply::Failed { message: format!("cannot start the toolbox: {error}") }, link),
    };
    run(child, link)
}

/// The input is on its way whatever becomes of the request.
fn refuse(reply: Reply, link: &mut Link) -> io::Result<bool> {
    link.reply(reply)?;
    loop {
        match link.next()? {
            None => return Ok(false),
            Some(ToBridge::EndOfInput) => return Ok(true),
            Some(_) => {}
        }
    }
}

fn spawn(
    args: &[String],
    working_dir: Option<&str>,
    environment: BTreeMap<String, String>,
    user: Option<Identity>,
) -> io::Result<Child> {
    let (subcommand, args) = args.split_first().ok_or_else(|| io::Error::other("no subcommand"))?;
    let mut command = Command::new("/proc/self/exe");
    command.args(crate::cli::own_arguments(subcommand)).args(args).env_clear().envs(environment);
    command.current_dir(working_dir.map_or_else(|| existing(&home(user.as_ref())), |dir| Path::new(dir).to_owned()));
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command.process_group(0);
    if let Some(user) = user {
        become_user(&mut command, user);
    }
    command.spawn()
}

fn existing(dir: &Path) -> std::path::PathBuf {
    if dir.is_dir() { dir.to_owned() } else { "/".into() }
}

/// Input goes in while output comes out: three threads, this one for the input.
fn run(mut child: Child, link: &mut Link) -> io::Result<bool> {
    // Not reaped before its end is waited for below, so the pid is its own.
    let pid = Pid::from_raw(child.id().cast_signed()).ok_or_else(|| io::Error::other("a process without a pid"))?;
    let pinned = pidfd_open(pid, PidfdFlags::empty())?;
    let mut stdin = child.stdin.take();
    let stdout = child.stdout.take().expect("it is piped");
    let stderr = child.stderr.take().expect("it is piped");
    let listening = thread::Builder::new().name("stderr".into()).spawn(move || listen(stderr))?;
    let sending = thread::Builder::new().name("stdout".into()).spawn(move || -> io::Result<()> {
        send(stdout)?;
        let said = listening.join().unwrap_or_default();
        let success = child.wait()?.success();
        write_out(&FromBridge::Reply(Reply::ToolEnded { success, said }).to_bytes())
    })?;
    let is_open = loop {
        match link.next()? {
            None => break false,
            Some(ToBridge::EndOfInput) => {
                // The tool waits for the end of its input.
                drop(stdin.take());
                break link.is_open_until(&pinned)?;
            }
            Some(ToBridge::Input(bytes)) => {
                // That the tool reads no more is no error here: its exit status tells why.
                if stdin.as_mut().is_some_and(|stdin| stdin.write_all(&bytes).is_err()) {
                    stdin = None;
                }
            }
            Some(_) => return Err(io::Error::other("a request came in the midst of the input of another")),
        }
    };
    drop(stdin);
    if !is_open {
        // Nobody wants to know any more.
        let _ = pidfd_send_signal(&pinned, Signal::KILL);
    }
    match sending.join() {
        Ok(sent) => sent.map(|()| is_open),
        Err(_) => Err(io::Error::other("sending the output of the toolbox panicked")),
    }
}

fn send(mut stdout: impl Read) -> io::Result<()> {
    let mut buffer = vec![0; PIECE_MAX];
    let mut frame = Vec::with_capacity(PIECE_MAX + 16);
    loop {
        match stdout.read(&mut buffer) {
            Ok(0) => return Ok(()),
            Ok(count) => {
                frame.clear();
                encode_output(&mut frame, &buffer[..count]);
                write_out(&frame)?;
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
}

fn write_out(bytes: &[u8]) -> io::Result<()> {
    let mut output = io::stdout();
    output.write_all(bytes)?;
    output.flush()
}

fn listen(mut stderr: ChildStderr) -> String {
    let mut said = Vec::new();
    // What cannot be read is not said; what is more is dropped, so that the tool never blocks on it.
    let _ = (&mut stderr).take(SAID_BYTES_MAX).read_to_end(&mut said);
    let _ = io::copy(&mut stderr, &mut io::sink());
    String::from_utf8_lossy(&said).into_owned()
}
