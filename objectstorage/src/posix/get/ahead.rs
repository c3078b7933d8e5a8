//! What is read while the caller looks at something else?
//!
//! A few pieces, by a blocking thread that goes on as long as the caller keeps up, because starting one for each piece
//! takes longer than reading it. When the pieces pile up, the reader is parked and the thread is free: a caller who takes
//! his time occupies none.

use std::sync::{Arc, Mutex, MutexGuard, Weak};

use bytes::Bytes;
use futures::{Stream, stream};
use tokio::{
    sync::mpsc::{Receiver, Sender, channel, error::TrySendError},
    task::spawn_blocking,
};

use super::{Pool, Reader};
use crate::{Error, Result};

/// How many pieces wait for the caller at most.
const WAITING_MAX: usize = 4;

/// How many pieces there are at a time: those that wait, one that finds no room, and one that the caller looks at.
pub(super) const PIECES_MAX: usize = WAITING_MAX + 2;

/// A reader at work.
struct Ahead {
    reader: Reader,
    pool: Arc<Pool>,
    pieces: Sender<Result<Bytes>>,
    /// The caller's: once he is gone, nobody is parked.
    parking: Weak<Parking>,
}

/// Where a reader is put that has read too far ahead, with the piece that found no room.
#[derive(Default)]
struct Parking(Mutex<Option<(Ahead, Result<Bytes>)>>);

/// What is left to be read, in pieces.
pub(super) fn read(reader: Reader, pool: Arc<Pool>) -> impl Stream<Item = Result<Bytes>> + Send {
    let name = reader.place.name().to_owned();
    let size = reader.left.end - reader.left.start;
    let (sender, pieces) = channel(WAITING_MAX);
    let parking = Arc::new(Parking::default());
    let ahead = Ahead { reader, pool, pieces: sender, parking: Arc::downgrade(&parking) };
    // The caller may never look further than the first piece; still the next is worth having when he does.
    spawn_blocking(move || ahead.run(None));
    stream::try_unfold((pieces, parking, size), move |(mut pieces, parking, left)| {
        let name = name.clone();
        async move {
            if left == 0 {
                return Ok(None);
            }
            let Some(piece) = pieces.recv().await else { return Err(interrupted(name)) };
            let piece = piece?;
            parking.resume_if_due(&pieces);
            let left = left - piece.len() as u64;
            Ok(Some((piece, (pieces, parking, left))))
        }
    })
}

/// The runtime is shutting down, and has dropped the reader.
fn interrupted(name: String) -> Error {
    Error::Unavailable { doing: "reading", name, source: "the reading was interrupted".into() }
}

impl Ahead {
    /// Reads until the end, or until there is no room for what was read, or nobody to look at it.
    fn run(mut self, mut unsent: Option<Result<Bytes>>) {
        loop {
            let piece = match unsent.take() {
                Some(piece) => piece,
                None if self.reader.left.is_empty() => return,
                None => self.reader.read_piece(&self.pool),
            };
            let is_last = piece.is_err();
            match self.pieces.try_send(piece) {
                Ok(()) if is_last => return,
                Ok(()) => {}
                Err(TrySendError::Closed(_)) => return,
                Err(TrySendError::Full(piece)) => {
                    let Some(parking) = self.parking.upgrade() else { return };
                    let mut place = parking.place();
                    // The caller may have emptied the queue meanwhile, and would wait for a reader that is parked.
                    if self.pieces.capacity() == 0 {
                        *place = Some((self, piece));
                        return;
                    }
                    drop(place);
                    unsent = Some(piece);
                }
            }
        }
    }
}

impl Parking {
    /// Lets a parked reader go on, once there is room for several pieces.
    fn resume_if_due(&self, pieces: &Receiver<Result<Bytes>>) {
        if pieces.len() <= WAITING_MAX / 2
            && let Some((ahead, unsent)) = self.place().take()
        {
            spawn_blocking(move || ahead.run(Some(unsent)));
        }
    }

    fn place(&self) -> MutexGuard<'_, Option<(Ahead, Result<Bytes>)>> {
        self.0.lock().expect("the lock is never poisoned: no panic while it is held")
    }
}
