//! How is an object read?
//!
//! The file is opened once; what is read after that belongs to that version, whatever happens to the name.
//!
//! | file | question |
//! |---|---|
//! | `ahead.rs` | what is read while the caller looks at something else? |
//! | `pool.rs` | which memory is read into? |

use std::{ops::Range, sync::Arc};

use bytes::Bytes;
use futures::{StreamExt, stream};
use rustix::{
    fd::OwnedFd,
    fs::{FileType, OFlags, fstat},
    io::{Errno, pread},
};

use super::{Store, place::Place};
use crate::{Error, GetObject, GetRange, ObjectMeta, Result};

mod ahead;
mod pool;

use pool::Pool;

/// How much is read at a time.
const PIECE_BYTES: u64 = 512 * 1024;

/// An object that was opened, and the beginning of what is to be read.
pub(super) struct Opened {
    meta: ObjectMeta,
    range: Range<u64>,
    first: Bytes,
    reader: Reader,
    pool: Arc<Pool>,
}

/// An open file and where it is read next.
struct Reader {
    place: Place,
    file: OwnedFd,
    left: Range<u64>,
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
        let mut reader = Reader { place: place.clone(), file, left: range.clone() };
        let pool = Arc::default();
        let first = reader.read_piece(&pool)?;
        Ok(Opened { meta: ObjectMeta::new(place.key().clone(), size), range, first, reader, pool })
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
        let Self { meta, range, first, reader, pool } = self;
        let first = (!first.is_empty()).then_some(Ok(first));
        let rest = match reader.left.is_empty() {
            true => stream::empty().boxed(),
            false => ahead::read(reader, pool).boxed(),
        };
        GetObject { meta, range, stream: stream::iter(first).chain(rest).boxed() }
    }
}

impl Reader {
    /// The next bytes, empty only at the end.
    fn read_piece(&mut self, pool: &Arc<Pool>) -> Result<Bytes> {
        let wanted = PIECE_BYTES.min(self.left.end - self.left.start) as usize;
        let mut buffer = pool.take(wanted);
        let mut filled = 0;
        while filled < wanted {
            let at = self.left.start + filled as u64;
            match pread(&self.file, &mut buffer[filled..wanted], at) {
                Ok(0) => {
                    let reason = format!("it ends at byte {at}, which is before its size when it was opened");
                    return Err(self.place.corrupt(reason));
                }
                Ok(read) => filled += read,
                Err(Errno::INTR) => {}
                Err(errno) => return Err(self.place.read_error(errno)),
            }
        }
        self.left.start += wanted as u64;
        Ok(pool.lend(buffer, wanted))
    }
}
