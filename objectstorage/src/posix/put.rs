//! How is an object written?
//!
//! Staged, synced, given its name in one step, and the directories synced. What is in memory takes one hop to a
//! blocking thread; a stream takes one for each batch, so that a slow body occupies no thread.

use std::{io, sync::Arc};

use bytes::Bytes;
use futures::{TryStreamExt, stream::BoxStream};
use rustix::{
    fd::{AsFd, OwnedFd},
    fs::{Dir, FileType},
    io::Errno,
};
use tokio::task::{JoinHandle, spawn_blocking};

use super::{
    Store, blocking,
    calls::{Calls, Syncing, at},
    joined,
    layout::Obstacle,
    place::Place,
    root::{DIRECTORY, PRUNING_RACES_MAX, kind, open_one},
    staging::Staged,
};
use crate::{BodyError, Durability, Error, PutMode, PutOptions, Result, meter::BodyMeter};

/// How many bytes of a streamed body are gathered before they are written; twice this is in memory at most, unless a
/// piece of the body itself is larger.
const BATCH_BYTES: usize = 1024 * 1024;

/// Writes a body that is produced meanwhile.
pub(super) async fn put_stream(
    store: Arc<Store>,
    place: Place,
    mut body: BoxStream<'static, Result<Bytes, BodyError>>,
    options: PutOptions,
) -> Result<()> {
    let mut meter = BodyMeter::new(place.key(), options.size);
    let place = Arc::new(place);
    let mut writing: JoinHandle<Result<Staged>> = {
        let (store, place) = (store.clone(), place.clone());
        spawn_blocking(move || store.stage(&place, options))
    };
    loop {
        // The next batch is gathered while the last one is being written.
        let batch = next_batch(&mut body, &mut meter, &place).await;
        let mut staged = joined("writing", place.name(), writing).await?;
        let batch = batch?;
        if batch.is_empty() {
            meter.finish()?;
            let name = place.name().to_owned();
            return blocking("writing", name, move || store.publish(staged, &place, options)).await;
        }
        let place = place.clone();
        writing = spawn_blocking(move || {
            staged.write(&batch).map_err(|error| Error::from_io(error, "writing", place.name()))?;
            Ok(staged)
        });
    }
}

/// The next pieces of the body; none at its end.
async fn next_batch(
    body: &mut BoxStream<'static, Result<Bytes, BodyError>>,
    meter: &mut BodyMeter,
    place: &Place,
) -> Result<Vec<Bytes>> {
    let mut pieces = Vec::new();
    let mut bytes = 0;
    while bytes < BATCH_BYTES {
        let piece = body.try_next().await.map_err(|source| Error::Body { key: place.key().clone(), source })?;
        let Some(piece) = piece else { break };
        meter.add(piece.len())?;
        if !piece.is_empty() {
            bytes += piece.len();
            pieces.push(piece);
        }
    }
    Ok(pieces)
}

impl Store {
    /// Writes a body that is in memory.
    pub(super) fn put_bytes(&self, place: &Place, bytes: &Bytes, options: PutOptions) -> Result<()> {
        let mut meter = BodyMeter::new(place.key(), options.size);
        meter.add(bytes.len())?;
        meter.finish()?;
        let mut staged = self.stage(place, options)?;
        let pieces = std::slice::from_ref(bytes);
        staged.write(pieces).map_err(|error| Error::from_io(error, "writing", place.name()))?;
        self.publish(staged, place, options)
    }

    fn stage(&self, place: &Place, options: PutOptions) -> Result<Staged> {
        // A create that is lost already need not write its body; the one that decides is in `publish`.
        if options.mode == PutMode::Create && self.head(place).is_ok() {
            return Err(place.already_exists());
        }
        self.staging.stage().map_err(|errno| Error::from_io(errno.into(), "staging", place.name()))
    }

    fn publish(&self, staged: Staged, place: &Place, options: PutOptions) -> Result<()> {
        match options.durability {
            Durability::Relaxed => self.give_name(staged, place, options.mode).map(drop),
            Durability::Synced => {
                let unsynced = |errno: Errno| Error::from_io(errno.into(), "syncing", place.name());
                self.calls.sync(staged.file(), Syncing::File).map_err(unsynced)?;
                let directory = self.give_name(staged, place, options.mode)?;
                let (parent, _) = place.split();
                let synced = self.syncs.sync_upwards(&self.root, parent, &directory);
                synced.map_err(|error| self.break_after(place, error))
            }
        }
    }

    /// Returns the directory that the object is in now.
    fn give_name(&self, mut staged: Staged, place: &Place, mode: PutMode) -> Result<OwnedFd> {
        let (parent, name) = place.split();
        let write_error = |errno| place.write_error(errno);
        for _ in 0..PRUNING_RACES_MAX {
            let directory = self.root.open_or_create_directory(parent).map_err(write_error)?;
            match staged.publish(&directory, name, mode) {
                Ok(()) => return Ok(directory),
                // The directory was pruned since it was opened: again, with a new one.
                Err(Errno::NOENT) => {}
                Err(Errno::EXIST | Errno::ISDIR) => match kind(directory.as_fd(), name).map_err(write_error)? {
                    None => {}
                    // A crash may have left it empty; then it is in nobody's way.
                    Some(FileType::Directory)
                        if remove_if_empty(&self.calls, &directory, name).map_err(write_error)? => {}
                    Some(FileType::Directory) => return Err(place.refused(Obstacle::FullDirectory)),
                    Some(FileType::RegularFile) => return Err(place.already_exists()),
                    Some(_) => return Err(place.corrupt("what has its name is not a file")),
                },
                Err(errno) => return Err(write_error(errno)),
            }
        }
        Err(write_error(Errno::NOENT))
    }

    /// The object has its name, but may lose it in a crash, and nobody could tell by reading it.
    fn break_after(&self, place: &Place, error: io::Error) -> Error {
        let message = format!(
            "the storage in {} is out of use: it could not sync the directory of object `{}`, so that object may \
             vanish in a crash although it can be read; check the disk and its free space, then start again",
            self.path.display(),
            place.key(),
        );
        tracing::error!(%error, "{message}");
        let message = self.broken.get_or_init(|| message).clone();
        Error::Unusable { message, source: Some(error.into()) }
    }
}

/// Removes a directory that holds nothing but such directories; says whether it is gone.
fn remove_if_empty(calls: &Calls, parent: &OwnedFd, name: &str) -> Result<bool, Errno> {
    match calls.remove_directory(at(parent, name)) {
        Ok(()) | Err(Errno::NOENT) => return Ok(true),
        Err(Errno::NOTEMPTY | Errno::EXIST) => {}
        Err(errno) => return Err(errno),
    }
    let directory = match open_one(parent.as_fd(), name, DIRECTORY) {
        Err(Errno::NOENT | Errno::NOTDIR) => return Ok(true),
        opened => opened?,
    };
    for entry in Dir::read_from(&directory)? {
        let entry = entry?;
        let Ok(child) = entry.file_name().to_str() else { return Ok(false) };
        if matches!(child, "." | "..") {
            continue;
        }
        let is_directory = kind(directory.as_fd(), child)? == Some(FileType::Directory);
        if !is_directory || !remove_if_empty(calls, &directory, child)? {
            return Ok(false);
        }
    }
    match calls.remove_directory(at(parent, name)) {
        Ok(()) | Err(Errno::NOENT) => Ok(true),
        Err(Errno::NOTEMPTY | Errno::EXIST) => Ok(false),
        Err(errno) => Err(errno),
    }
}
