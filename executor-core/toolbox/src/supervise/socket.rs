//! Where is the socket of a step, when its path is longer than the 108 bytes that an address can hold?
//!
//! The directory is opened, and the socket is reached through `/proc/self/fd/<n>/`: always, so that there is one way.

use std::fs::{File, OpenOptions, Permissions};
use std::io;
use std::os::fd::AsRawFd as _;
use std::os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};

const SOCKET: &str = "ctl.sock";

/// A short path of a step's socket, for any client. It is valid in this process, as long as this value lives.
#[derive(Debug)]
pub(crate) struct SocketPath {
    path: PathBuf,
    _dir: File,
}

impl AsRef<Path> for SocketPath {
    fn as_ref(&self) -> &Path {
        &self.path
    }
}

/// A short path of the socket of the step in `dir`; whether there is a socket is not checked.
///
/// # Errors
/// If `dir` cannot be opened.
fn socket_path(dir: &Path) -> io::Result<SocketPath> {
    let flags = rustix::fs::OFlags::PATH | rustix::fs::OFlags::DIRECTORY;
    let dir = OpenOptions::new().read(true).custom_flags(flags.bits().cast_signed()).open(dir)?;
    Ok(SocketPath { path: PathBuf::from(format!("/proc/self/fd/{}/{SOCKET}", dir.as_raw_fd())), _dir: dir })
}

/// Connects to the supervisor of the step in `dir`.
///
/// # Errors
/// `NotFound` or `ConnectionRefused` if no supervisor listens: not yet (it has not printed its ready line), or no more.
pub fn connect(dir: &Path) -> io::Result<UnixStream> {
    UnixStream::connect(socket_path(dir)?)
}

/// Listens on the socket of the step in `dir`, for its owner only.
pub(crate) fn listen(dir: &Path) -> io::Result<UnixListener> {
    let path = socket_path(dir)?;
    unlink(dir)?;
    let listener = UnixListener::bind(&path)?;
    std::fs::set_permissions(&path, Permissions::from_mode(0o600))?;
    listener.set_nonblocking(true)?;
    Ok(listener)
}

/// Removes the socket, so that nobody tries to connect.
pub(crate) fn unlink(dir: &Path) -> io::Result<()> {
    match std::fs::remove_file(dir.join(SOCKET)) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}
