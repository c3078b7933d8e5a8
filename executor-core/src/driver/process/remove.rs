//! How is the directory of a pod removed, whatever its commands have left in it?

use std::{fs, io, os::unix::fs::PermissionsExt as _, path::Path};

use super::{pod::ProcessPod, stop};
use crate::driver::{DriverError, Pod as _, Result};

pub(super) async fn remove(pod: &ProcessPod) -> Result<()> {
    let doing = || DriverError::io(format!("removing pod {}", pod.id()));
    stop::kill_all(pod).await.map_err(doing())?;
    let dir = pod.dir.clone();
    let removed = tokio::task::spawn_blocking(move || remove_all(&dir)).await;
    removed.map_err(io::Error::other).flatten().map_err(doing())
}

/// Removes a directory, also where tools have taken the write permission from their own directories.
fn remove_all(dir: &Path) -> io::Result<()> {
    match fs::remove_dir_all(dir) {
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {
            make_writable(dir)?;
            gone(fs::remove_dir_all(dir))
        }
        removed => gone(removed),
    }
}

fn gone(removed: io::Result<()>) -> io::Result<()> {
    match removed {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        removed => removed,
    }
}

fn make_writable(dir: &Path) -> io::Result<()> {
    fs::set_permissions(dir, fs::Permissions::from_mode(0o700))?;
    for entry in fs::read_dir(dir)? {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            make_writable(&entry.path())?;
        }
    }
    Ok(())
}
