//! Which subcommand was asked for?

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::io::{Read as _, Write as _};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::SystemTime;
use std::{fs, io};

use crate::archive::{self, UnpackOptions};
use crate::cachekey::{self, Context};
use crate::{bridge, install, pause, supervise};

/// The first argument that turns a host binary into the toolbox; see [`run_if_invoked`].
pub const TOOLBOX_WORD: &str = "__runyard-toolbox";

const USAGE: &str = "usage: runyard-toolbox COMMAND
  supervise STEP_DIR                  run the step of STEP_DIR/spec.json
  archive --spec FILE                 write the archive of a JSON specification to stdout; `-` is stdin
  unarchive [--overwrite] DEST_DIR    unpack the archive on stdin
  cachekey TEMPLATE...                render cache keys, each ended by a zero byte
  mkdir PATH                          create a directory, and print its path
  bridge STEPS_DIR POD                do what an executor asks for on stdin
  pause [PROGRAM [ARGUMENT]...]       be the first process of a container, and start PROGRAM
  install DIR                         put this program into DIR
  version";

/// Runs the toolbox with `args`, which do not include the name of the program.
///
/// Errors are printed to stderr; the exit code is then 1, or 2 if the arguments are wrong.
pub fn main(args: impl Iterator<Item = OsString>) -> ExitCode {
    let args: Vec<OsString> = args.collect();
    match run(&args) {
        Ok(()) => ExitCode::SUCCESS,
        Err(Failure::Usage) => {
            eprintln!("{USAGE}");
            ExitCode::from(2)
        }
        Err(Failure::Message(message)) => {
            eprintln!("runyard-toolbox: {message}");
            ExitCode::FAILURE
        }
    }
}

/// Makes a host binary its own toolbox: if its first argument is [`TOOLBOX_WORD`], runs the toolbox with the others and
/// ends the process; else returns.
///
/// Call it first in `main`, before a thread or a runtime is started.
///
/// ```
/// // What an executor starts is `<current exe> __runyard-toolbox supervise STEP_DIR`.
/// runyard_toolbox::run_if_invoked();
/// ```
pub fn run_if_invoked() {
    let mut args = std::env::args_os().skip(1);
    if args.next().is_some_and(|word| word == TOOLBOX_WORD) {
        // An `ExitCode` cannot be handed to `exit`; success and failure are all there is to tell.
        let code = main(args);
        std::process::exit(if code == ExitCode::SUCCESS { 0 } else { 1 });
    }
}

/// The arguments with which this program, started again, runs a subcommand of the toolbox.
pub(crate) fn own_arguments(subcommand: &str) -> impl Iterator<Item = &str> {
    let as_guest = std::env::args_os().nth(1).is_some_and(|word| word == TOOLBOX_WORD);
    as_guest.then_some(TOOLBOX_WORD).into_iter().chain([subcommand])
}

/// The home of the user that this process runs as.
pub(crate) fn home() -> Option<PathBuf> {
    std::env::var_os("HOME")
        .filter(|home| !home.is_empty())
        .map(PathBuf::from)
        .or_else(|| supervise::home_of(rustix::process::geteuid().as_raw()))
}

enum Failure {
    Usage,
    Message(String),
}

impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Self {
        Self::Message(error.to_string())
    }
}

impl From<archive::Error> for Failure {
    fn from(error: archive::Error) -> Self {
        Self::Message(error.to_string())
    }
}

fn run(args: &[OsString]) -> Result<(), Failure> {
    let (subcommand, rest) = args.split_first().ok_or(Failure::Usage)?;
    match (subcommand.to_str(), rest) {
        (Some("supervise"), [dir]) => Ok(supervise::run(Path::new(dir))?),
        (Some("archive"), [option, file]) if option == "--spec" => archive(Path::new(file)),
        (Some("unarchive"), [dest]) => unarchive(Path::new(dest), false),
        (Some("unarchive"), [option, dest]) if option == "--overwrite" => unarchive(Path::new(dest), true),
        (Some("cachekey"), templates @ [_, ..]) => cachekeys(templates),
        (Some("mkdir"), [path]) => mkdir(Path::new(path)),
        (Some("bridge"), [dir, pod]) => Ok(bridge::run(Path::new(dir), &pod.to_string_lossy())?),
        (Some("pause"), entrypoint) => Ok(pause::run(entrypoint)?),
        (Some("install"), [dir]) => Ok(install::run(Path::new(dir))?),
        (Some("version"), []) => {
            println!("{}", env!("CARGO_PKG_VERSION"));
            Ok(())
        }
        _ => Err(Failure::Usage),
    }
}

fn archive(spec: &Path) -> Result<(), Failure> {
    let unreadable = |error: String| Failure::Message(format!("cannot read {}: {error}", spec.display()));
    // `/dev/stdin` could not be opened by another user than the one who made the pipe.
    let json = if spec == Path::new("-") { read_stdin() } else { fs::read(spec) };
    let json = json.map_err(|error| unreadable(error.to_string()))?;
    let spec = serde_json::from_slice(&json).map_err(|error| unreadable(error.to_string()))?;
    archive::pack(&spec, io::BufWriter::new(io::stdout().lock()))?;
    Ok(())
}

fn read_stdin() -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    io::stdin().lock().read_to_end(&mut bytes)?;
    Ok(bytes)
}

fn unarchive(dest: &Path, overwrite: bool) -> Result<(), Failure> {
    let dest = supervise::expand_home(dest, &BTreeMap::new(), None);
    archive::unpack(io::stdin().lock(), &dest, UnpackOptions { overwrite })?;
    Ok(())
}

/// Prints all keys, or none if there is a mistake in one. A key may hold any text, so a zero byte ends it.
fn cachekeys(templates: &[OsString]) -> Result<(), Failure> {
    let variables = std::env::vars_os();
    let context = Context {
        working_dir: std::env::current_dir()?,
        environment: variables
            .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
            .collect(),
        now: now(),
    };
    let mut keys = String::new();
    for template in templates {
        let key = cachekey::render(&template.to_string_lossy(), &context);
        keys.push_str(&key.map_err(|error| Failure::Message(error.to_string()))?);
        keys.push('\0');
    }
    io::stdout().write_all(keys.as_bytes())?;
    Ok(())
}

#[expect(clippy::disallowed_methods, reason = "a program of its own: here its clock is handed to the library")]
fn now() -> SystemTime {
    SystemTime::now()
}

/// Creates a directory and its parents, and prints its path with `~` expanded.
fn mkdir(path: &Path) -> Result<(), Failure> {
    let path = supervise::expand_home(path, &BTreeMap::new(), None);
    fs::create_dir_all(&path)
        .map_err(|error| Failure::Message(format!("cannot create {}: {error}", path.display())))?;
    println!("{}", path.display());
    Ok(())
}
