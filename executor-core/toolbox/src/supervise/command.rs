//! How is the command of a step started?
//!
//! As the leader of its own session and process group, with a terminal or with one pipe for both outputs, as the user
//! of the step, and with nothing in its environment but what the spec says.

use std::collections::BTreeMap;
use std::fs::{self, Permissions};
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::fs::{PermissionsExt as _, chown, fchown};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use rustix::fs::{Gid, Uid};
use rustix::io::Errno;
use rustix::process::{getegid, geteuid};
use rustix::pty::{OpenptFlags, ioctl_tiocgptpeer, openpt, unlockpt};
use rustix::termios::{Winsize, tcsetwinsize};

use super::spec::{StepCommand, SuperviseSpec};
use super::user::{self, Identity};

const TERMINAL_SIZE: Winsize = Winsize { ws_row: 24, ws_col: 80, ws_xpixel: 0, ws_ypixel: 0 };
const NOT_FOUND: i32 = 127;
const NOT_STARTED: i32 = 126;

/// A command that runs.
pub(crate) struct Started {
    pub(crate) pid: i32,
    /// What it writes; not blocking.
    pub(crate) output: OwnedFd,
    pub(crate) tty: bool,
}

/// Why a command does not run, for its user.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct NotStarted {
    pub(crate) code: i32,
    pub(crate) message: String,
}

impl NotStarted {
    pub(crate) fn new(message: impl Into<String>) -> Self {
        Self { code: NOT_STARTED, message: message.into() }
    }
}

/// Starts the command of the step in `dir`.
pub(crate) fn start(dir: &Path, spec: &SuperviseSpec) -> Result<Started, NotStarted> {
    let target = spec.user.as_deref().map(user::resolve).transpose().map_err(NotStarted::new)?;
    let working_dir = expand_home(&spec.working_dir, &spec.environment, target.as_ref());
    let switch_to = target.filter(|target| !is_current(target));
    let argv = argv(dir, spec, switch_to.as_ref())?;
    let (program, arguments) = argv.split_first().ok_or_else(|| NotStarted::new("the step has no command"))?;
    if !working_dir.is_dir() {
        return Err(NotStarted::new(format!("working directory not found: {}", working_dir.display())));
    }
    let mut command = Command::new(program);
    command.args(arguments).env_clear().envs(&spec.environment).current_dir(&working_dir);
    let output = attach_output(&mut command, spec.tty, switch_to.as_ref())
        .map_err(|error| NotStarted::new(format!("cannot open the output of the command: {error}")))?;
    on_start(&mut command, spec.tty, switch_to);
    let spawned = command.spawn();
    match spawned {
        Ok(child) => Ok(Started { pid: child.id().cast_signed(), output, tty: spec.tty }),
        Err(error) => Err(explain(&error, program, spec)),
    }
}

/// `path` with a leading `~` replaced by the home: of the environment, of the user, or of this process.
pub(crate) fn expand_home(path: &Path, environment: &BTreeMap<String, String>, target: Option<&Identity>) -> PathBuf {
    let Ok(below) = path.strip_prefix("~") else { return path.to_owned() };
    let home = environment.get("HOME").map(PathBuf::from);
    let home = home.or_else(|| match target {
        Some(target) => target.home.clone(),
        None => crate::home(),
    });
    let home = home.unwrap_or_else(|| PathBuf::from("/"));
    // Joined with nothing it would end with a slash.
    if below.as_os_str().is_empty() { home } else { home.join(below) }
}

fn is_current(target: &Identity) -> bool {
    target.uid == geteuid().as_raw() && target.gid == getegid().as_raw()
}

fn argv(dir: &Path, spec: &SuperviseSpec, switch_to: Option<&Identity>) -> Result<Vec<String>, NotStarted> {
    match &spec.command {
        StepCommand::Argv(argv) => Ok(argv.clone()),
        StepCommand::Shell { shell, file } => {
            let file = dir.join(file);
            if let Some(target) = switch_to {
                hand_over(dir, &file, target).map_err(|error| {
                    let user = spec.user.as_deref().unwrap_or_default();
                    NotStarted::new(format!(
                        "cannot run as user `{user}`: the command file cannot be handed over: {error}"
                    ))
                })?;
            }
            let file = file.into_os_string().into_string();
            let file = file.map_err(|_| NotStarted::new("the path of the step directory is not UTF-8"))?;
            Ok(shell.iter().cloned().chain([file]).collect())
        }
    }
}

// The user reads the command file and nothing else: the directory can be passed through, not listed.
fn hand_over(dir: &Path, file: &Path, target: &Identity) -> io::Result<()> {
    chown(file, Some(target.uid), Some(target.gid))?;
    fs::set_permissions(dir, Permissions::from_mode(0o711))
}

fn attach_output(command: &mut Command, tty: bool, switch_to: Option<&Identity>) -> io::Result<OwnedFd> {
    let output: OwnedFd = if tty {
        let flags = OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC;
        let terminal = openpt(flags)?;
        unlockpt(&terminal)?;
        let inside = ioctl_tiocgptpeer(&terminal, flags)?;
        tcsetwinsize(&inside, TERMINAL_SIZE)?;
        if let Some(target) = switch_to {
            fchown(&inside, Some(target.uid), None)?;
        }
        command.stdout(inside.try_clone()?).stderr(inside);
        terminal
    } else {
        let (reader, writer) = io::pipe()?;
        command.stdout(writer.try_clone()?).stderr(writer);
        reader.into()
    };
    // Nobody types: what reads its input meets its end, with a terminal too, instead of waiting for ever.
    command.stdin(Stdio::null());
    rustix::io::ioctl_fionbio(&output, true)?;
    Ok(output)
}

/// Makes `command` run as this user.
pub(crate) fn become_user(command: &mut Command, target: Identity) {
    if !is_current(&target) {
        before_exec(command, switch_to(target));
    }
}

fn on_start(command: &mut Command, tty: bool, target: Option<Identity>) {
    let switch = target.map(switch_to);
    before_exec(command, move || {
        rustix::process::setsid()?;
        if tty {
            rustix::process::ioctl_tiocsctty(rustix::stdio::stdout())?;
        }
        switch.as_ref().map_or(Ok(()), |switch| switch())
    });
}

/// The system calls that make a process another user's, with everything allocated beforehand.
fn switch_to(target: Identity) -> impl Fn() -> io::Result<()> + Send + Sync + 'static {
    let groups: Vec<Gid> = target.groups.iter().map(|&gid| Gid::from_raw(gid)).collect();
    let (uid, gid) = (Uid::from_raw(target.uid), Gid::from_raw(target.gid));
    move || {
        rustix::thread::set_thread_groups(&groups)?;
        rustix::thread::set_thread_gid(gid)?;
        rustix::thread::set_thread_uid(uid)?;
        Ok(())
    }
}

#[expect(unsafe_code, reason = "std has no stable way to start a command in a session of its own")]
fn before_exec(command: &mut Command, work: impl Fn() -> io::Result<()> + Send + Sync + 'static) {
    // SAFETY: the closures of this file make system calls only; they neither allocate nor take a lock, so they may run
    // after a fork.
    unsafe {
        command.pre_exec(work);
    }
}

fn explain(error: &io::Error, program: &str, spec: &SuperviseSpec) -> NotStarted {
    let errno = error.raw_os_error().map(Errno::from_raw_os_error);
    match (errno, &spec.user) {
        (Some(Errno::PERM), Some(user)) => NotStarted::new(format!(
            "cannot run as user `{user}`: not permitted for uid {}, which the supervisor runs as",
            geteuid().as_raw()
        )),
        (Some(Errno::NOENT), _) if program.contains('/') && Path::new(program).exists() => {
            NotStarted { code: NOT_FOUND, message: format!("the interpreter of {program} was not found") }
        }
        (Some(Errno::NOENT), _) => NotStarted { code: NOT_FOUND, message: format!("command not found: {program}") },
        (Some(Errno::ACCESS), _) => NotStarted::new(format!("permission denied: {program}")),
        _ => NotStarted::new(format!("cannot start {program}: {error}")),
    }
}
