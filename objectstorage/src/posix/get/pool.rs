//! Which memory is read into?
//!
//! Memory that comes fresh from the system costs as much as the reading itself, so the pieces of one object are read
//! into the same buffers, over and over: one comes back when the caller has dropped the last of what was in it.

use std::sync::{Arc, Mutex, MutexGuard};

use bytes::Bytes;

/// So many buffers of an object are kept for its next pieces: a caller who looks at one piece at a time needs one.
const FREE_MAX: usize = 4;

/// The buffers of one object that are free.
#[derive(Default)]
pub(super) struct Pool(Mutex<Vec<Vec<u8>>>);

/// A piece of an object, whose buffer goes back where it came from.
struct Piece {
    buffer: Vec<u8>,
    length: usize,
    pool: Arc<Pool>,
}

impl Pool {
    /// A buffer of at least `length` bytes, with anything in it.
    pub(super) fn take(&self, length: usize) -> Vec<u8> {
        match self.free().pop() {
            Some(buffer) if buffer.len() >= length => buffer,
            _ => vec![0; length],
        }
    }

    /// The beginning of a buffer, which comes back when it is dropped.
    pub(super) fn lend(self: &Arc<Self>, buffer: Vec<u8>, length: usize) -> Bytes {
        Bytes::from_owner(Piece { buffer, length, pool: self.clone() })
    }

    /// Takes a buffer back.
    pub(super) fn put_back(&self, buffer: Vec<u8>) {
        let mut free = self.free();
        // A caller may have held more of them than are needed again.
        if free.len() < FREE_MAX {
            free.push(buffer);
        }
    }

    fn free(&self) -> MutexGuard<'_, Vec<Vec<u8>>> {
        self.0.lock().expect("the lock is never poisoned: no panic while it is held")
    }
}

impl AsRef<[u8]> for Piece {
    fn as_ref(&self) -> &[u8] {
        &self.buffer[..self.length]
    }
}

impl Drop for Piece {
    fn drop(&mut self) {
        self.pool.put_back(std::mem::take(&mut self.buffer));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_buffer_comes_back_with_the_last_of_what_was_in_it() {
        let pool = Arc::new(Pool::default());
        let buffer = pool.take(10);
        let memory = buffer.as_ptr();
        let piece = pool.lend(buffer, 4);
        let slice = piece.slice(1..2);
        drop(piece);
        let meanwhile = pool.take(10);
        assert_ne!(meanwhile.as_ptr(), memory);
        drop(slice);
        let again = pool.take(10);
        assert_eq!(again.as_ptr(), memory);
    }

    #[test]
    fn no_more_buffers_are_kept_than_are_needed() {
        let pool = Arc::new(Pool::default());
        let pieces: Vec<_> = (0..FREE_MAX + 5).map(|_| pool.lend(pool.take(1), 1)).collect();
        drop(pieces);
        assert_eq!(pool.free().len(), FREE_MAX);
    }
}
