//! How is an object read?
//!
//! The file is opened once; what is read after that belongs to that version, whatever happens to the name.

use std::{ops::Range, sync::Arc};

use bytes::Bytes;
use futures::{StreamExt, stream};
use rustix::{
    buffer::spare_capacity,
    fd::OwnedFd,
    fs::{FileType, OFlags, fstat},
    io::{Errno, pread},
};
use tokio::task::{JoinHandle, spawn_blocking};

use super::{Store, joined, place::Place};
use crate::{Error, GetObject, GetRange, ObjectMeta, Result};

/// How much is read at a time. Besides the piece that the caller holds, one more is read ahead.
const PIECE_BYTES: u64 = 256 * 1024;

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
    file: Arc<OwnedFd>,
    left: Range<u64>,
}

/// A piece that is being read, and the reader of the next.
type Ahead = JoinHandle<Result<(Bytes, Reader)>>;

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
        let mut reader = Reader { place: place.clone(), file: Arc::new(file), left: range.clone() };
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
    /// The rest in pieces; while the caller looks at one, the next is being read.
    fn into_stream(self) -> impl futures::Stream<Item = Result<Bytes>> + Send {
        let ahead = self.spawn();
        stream::try_unfold(ahead, |ahead| async {
            let Some((name, ahead)) = ahead else { return Ok(None) };
            let (piece, reader) = joined("reading", name, ahead).await?;
            Ok::<_, Error>(Some((piece, reader.spawn())))
        })
    }

    fn spawn(mut self) -> Option<(String, Ahead)> {
        if self.left.is_empty() {
            return None;
        }
        let name = self.place.name().to_owned();
        let ahead = spawn_blocking(move || {
            let piece = self.read_piece()?;
            Ok((piece, self))
        });
        Some((name, ahead))
    }

    /// The next bytes, empty only at the end.
    fn read_piece(&mut self) -> Result<Bytes> {
        let wanted = PIECE_BYTES.min(self.left.end - self.left.start) as usize;
        let mut piece = Vec::with_capacity(wanted);
        while piece.len() < wanted {
            let at = self.left.start + piece.len() as u64;
            match pread(&*self.file, spare_capacity(&mut piece), at) {
                Ok(0) => {
                    let reason = format!("it ends at byte {at}, which is before its size when it was opened");
                    return Err(self.place.corrupt(reason));
                }
                Ok(_) | Err(Errno::INTR) => {}
                Err(errno) => return Err(self.place.read_error(errno)),
            }
        }
        // The allocator may have given more room than was asked for.
        piece.truncate(wanted);
        self.left.start += wanted as u64;
        Ok(piece.into())
    }
}
