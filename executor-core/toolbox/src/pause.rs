//! `pause [PROGRAM [ARGUMENT]...]`: the first process of a container, which lives until the container is ended.
//!
//! It takes note of the end of every orphan of the container, as a first process has to. A program that the definition of
//! a container names runs below it, so that the container outlives that program.

use std::ffi::OsString;
use std::io;
use std::process::{Child, Command, Stdio};

use rustix::io::Errno;
use rustix::process::{Pid, WaitOptions, wait};

/// The argument of the child that only waits.
pub(crate) const KEEPER: &str = "--keeper";

/// Never returns, unless the program cannot be started.
pub(crate) fn run(program: &[OsString]) -> io::Result<()> {
    if program.first().is_some_and(|word| word == KEEPER) {
        loop {
            std::thread::park();
        }
    }
    let mut keeper = keep()?;
    let mut started = match program.split_first() {
        None => None,
        Some((name, arguments)) => Some(start(name, arguments)?),
    };
    loop {
        match wait(WaitOptions::empty()) {
            Ok(Some((pid, status))) => {
                let ended = |child: &Child| Pid::from_raw(child.id().cast_signed()) == Some(pid);
                if ended(&keeper) {
                    keeper = keep()?;
                }
                if started.take_if(|child| ended(child)).is_some() {
                    // Whoever reads the log of the container is told.
                    eprintln!("runyard-toolbox: the entrypoint ended with status {:?}", status.exit_status());
                }
            }
            Ok(None) | Err(Errno::INTR) => {}
            // Somebody in the container has killed all that could be killed.
            Err(Errno::CHILD) => keeper = keep()?,
            Err(error) => return Err(error.into()),
        }
    }
}

/// A child that does not end by itself: with one, the next orphan can be waited for although there is none yet.
fn keep() -> io::Result<Child> {
    Command::new("/proc/self/exe")
        .args(crate::cli::own_arguments("pause"))
        .arg(KEEPER)
        .env_clear()
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
}

fn start(program: &OsString, arguments: &[OsString]) -> io::Result<Child> {
    let started = Command::new(program).args(arguments).stdin(Stdio::null()).spawn();
    started.map_err(|error| {
        let program = program.to_string_lossy();
        io::Error::new(error.kind(), format!("the entrypoint `{program}` cannot be started: {error}"))
    })
}
