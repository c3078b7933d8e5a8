//! How is an object read?
//!
//! The file is opened once; what is read after that belongs to that version, whatever happens to the name.
//!
//! What the kernel has in memory is read right where it is wanted: copying a piece takes microseconds, less than handing
//! it from one thread to another. Only what has to come from the disk is read by a blocking thread; the kernel reads ahead
//! by itself, so that the disk works while the caller looks at something else.
//!
//! | file | question |
//! |---|---|
//! | `file.rs` | how are bytes read with and without waiting for the disk? |
//! | `pool.rs` | which memory is read into? |

use std::{ops::Range, sync::Arc};

use bytes::Bytes;
use futures::{Stream, StreamExt, stream};
use rustix::{
    fd::OwnedFd,
    fs::{FileType, OFlags, fstat},
    io::Errno,
};
use tokio::task::{consume_budget, spawn_blocking};

use super::{Store, place::Place};
use crate::{Error, GetObject, GetRange, ObjectMeta, Result};

mod file;
mod pool;

use pool::Pool;

/// How much is read at a time: little enough to stay in the cache of the processor until the caller looks at it.
const PIECE_BYTES: u64 = 128 * 1024;

/// An object that was opened, and the beginning of what is to be read.
pub(super) struct Opened {
    meta: ObjectMeta,
    range: Range<u64>,
    first: Bytes,
    reader: Reader,
}

/// An open file and where it is read next.
struct Reader {
    place: Place,
    file: OwnedFd,
    left: Range<u64>,
    pool: Arc<Pool>,
}

impl Store {
    pub(super) fn head(&self, place: &Place) -> Result<ObjectMeta> {
        let file = self.root.open(place.path(), OFlags::PATH).map_err(|errno| place.read_error(errno))?;
        Ok(ObjectMeta::new(place.key().clone(), size_of(place, &file)?))
    }

    pub(super) fn open_object(&self, place: &Place, range: GetRange) -> Result<Opened> {
        // Without NONBLOCK, opening a pipe that somebody put there would wait for a writer.
        let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOCTTY;
        let file = self.root.open(place.path(), flags).map_err(|errno| match errno {
            Errno::NXIO => place.corrupt("what has its name is not a file"),
            _ => place.read_error(errno),
        })?;
        let size = size_of(place, &file)?;
        let range = range.resolve(size).ok_or_else(|| Error::RangeNotSatisfiable {
            key: place.key().clone(),
            start: range.start(),
            size,
        })?;
        let mut reader = Reader { place: place.clone(), file, left: range.clone(), pool: Arc::default() };
        let first = reader.read_piece()?;
        Ok(Opened { meta: ObjectMeta::new(place.key().clone(), size), range, first, reader })
    }
}

fn size_of(place: &Place, file: &OwnedFd) -> Result<u64> {
    let stat = fstat(file).map_err(|errno| place.read_error(errno))?;
    match FileType::from_raw_mode(stat.st_mode) {
        FileType::RegularFile => Ok(stat.st_size as u64),
        FileType::Directory => Err(place.not_found()),
        FileType::Symlink => Err(place.corrupt("a symbolic link is in its path")),
        _ => Err(place.corrupt("what has its name is not a file")),
    }
}

impl Opened {
    pub(super) fn into_object(self) -> GetObject {
        let Self { meta, range, first, reader } = self;
        let first = (!first.is_empty()).then_some(Ok(first));
        GetObject { meta, range, stream: stream::iter(first).chain(reader.into_stream()).boxed() }
    }
}

impl Reader {
    /// What is left, in pieces.
    fn into_stream(self) -> impl Stream<Item = Result<Bytes>> + Send {
        stream::try_unfold(self, |mut reader| async move {
            if reader.left.is_empty() {
                return Ok(None);
            }
            // An object that is all in memory would never let others on this thread have their turn.
            consume_budget().await;
            if let Some(piece) = reader.read_piece_in_memory()? {
                return Ok(Some((piece, reader)));
            }
            let name = reader.place.name().to_owned();
            let read = spawn_blocking(move || reader.read_piece().map(|piece| (piece, reader)));
            // It does not panic; the runtime is shutting down, and has dropped it.
            let interrupted =
                |_| Error::Unavailable { doing: "reading", name, source: "the reading was interrupted".into() };
            read.await.map_err(interrupted)?.map(Some)
        })
    }

    /// The next bytes as far as they are in memory; nothing if none of them is.
    fn read_piece_in_memory(&mut self) -> Result<Option<Bytes>> {
        let wanted = self.wanted();
        let mut buffer = self.pool.take(wanted);
        match file::read_in_memory(&self.file, &mut buffer[..wanted], self.left.start) {
            Ok(None) => {
                self.pool.put_back(buffer);
                Ok(None)
            }
            Ok(Some(read)) => self.piece(buffer, read).map(Some),
            Err(errno) => Err(self.place.read_error(errno)),
        }
    }

    /// The next bytes, empty only at the end.
    fn read_piece(&mut self) -> Result<Bytes> {
        let wanted = self.wanted();
        let mut buffer = self.pool.take(wanted);
        let read = file::read(&self.file, &mut buffer[..wanted], self.left.start);
        let read = read.map_err(|errno| self.place.read_error(errno))?;
        self.piece(buffer, read)
    }

    fn wanted(&self) -> usize {
        PIECE_BYTES.min(self.left.end - self.left.start) as usize
    }

    fn piece(&mut self, buffer: Vec<u8>, read: usize) -> Result<Bytes> {
        if read == 0 && !self.left.is_empty() {
            let reason = format!("it ends at byte {}, which is before its size when it was opened", self.left.start);
            return Err(self.place.corrupt(reason));
        }
        self.left.start += read as u64;
        Ok(self.pool.lend(buffer, read))
    }
}
