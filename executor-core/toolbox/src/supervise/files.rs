//! How is a small file of the step directory written, so that a reader sees all of it or none?

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;

use serde::Serialize;
use serde::de::DeserializeOwned;

/// Replaces `dir/name` with `value` as JSON.
///
/// Not synced: what it describes are processes, and they do not survive a crash of the machine either.
pub(crate) fn write_json<T: Serialize>(dir: &Path, name: &str, value: &T) -> io::Result<()> {
    let temporary = dir.join(format!("{name}.new"));
    let mut file = create(&temporary)?;
    file.write_all(&serde_json::to_vec(value)?)?;
    drop(file);
    fs::rename(temporary, dir.join(name))
}

/// `dir/name` as a `T`; `None` if there is no such file.
pub(crate) fn read_json<T: DeserializeOwned>(dir: &Path, name: &str) -> io::Result<Option<T>> {
    match fs::read(dir.join(name)) {
        Ok(json) => serde_json::from_slice(&json).map(Some).map_err(|error| {
            io::Error::new(io::ErrorKind::InvalidData, format!("`{name}` of the step is not readable: {error}"))
        }),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

/// An empty file that only its owner can read.
pub(crate) fn create(path: &Path) -> io::Result<File> {
    OpenOptions::new().read(true).write(true).create(true).truncate(true).mode(0o600).open(path)
}
