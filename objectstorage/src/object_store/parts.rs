//! Into which parts is a body cut, and how much of it is ever in memory?

use bytes::Bytes;
use futures::{TryStreamExt, stream::BoxStream};
use object_store::{PutPayload, PutPayloadMut};

use crate::{Body, BodyError, Error, ObjectKey, PutSize, Result, meter::BodyMeter};

/// The largest object (*Amazon S3 User Guide*, "Amazon S3 multipart upload limits").
pub(super) const OBJECT_BYTES_MAX: u64 = 5 << 40;
/// The smallest part but the last one; ibid.
const PART_BYTES_MIN: u64 = 5 << 20;
/// The largest part, and the largest object that is put at once; ibid.
const PART_BYTES_MAX: u64 = 5 << 30;
/// The most parts; ibid.
const PARTS_MAX: u64 = 10_000;

/// The size of a part, as long as all of them fit. A put up to this size is one request.
pub(super) const PART_BYTES: u64 = 8 << 20;

const _: () = assert!(PART_BYTES_MIN <= PART_BYTES && PART_BYTES <= PART_BYTES_MAX);
const _: () = assert!(OBJECT_BYTES_MAX.div_ceil(PARTS_MAX) <= PART_BYTES_MAX);

/// Pieces of at least this size are sent as they are; smaller ones are copied together.
const PIECE_BYTES_COPIED: usize = 64 << 10;

/// The size of each part but the last for an object of at most `object_bytes`.
///
/// All of them are equal, because some servers (R2) insist on it.
pub(super) fn part_bytes(object_bytes: u64) -> u64 {
    object_bytes.div_ceil(PARTS_MAX).max(PART_BYTES)
}

/// A body, part by part.
pub(super) struct Parts {
    key: ObjectKey,
    body: BoxStream<'static, Result<Bytes, BodyError>>,
    /// `None` once the body has ended.
    meter: Option<BodyMeter>,
    seen: u64,
    /// The most that a body of unknown size may have.
    limit: Option<u64>,
    part_bytes: u64,
    /// What was read beyond the part before.
    rest: Bytes,
}

impl Parts {
    /// Cuts `body`; `unknown_size_max` bounds it unless its size is announced.
    ///
    /// # Errors
    /// [`Error::TooLarge`] if the announced size is more than any object may have.
    pub(super) fn new(key: &ObjectKey, body: Body, size: PutSize, unknown_size_max: u64) -> Result<Self> {
        let (bytes_max, limit) = match size {
            PutSize::Exact(size) if size > OBJECT_BYTES_MAX => {
                return Err(Error::TooLarge { key: key.clone(), limit: OBJECT_BYTES_MAX });
            }
            PutSize::Exact(size) => (size, None),
            PutSize::Unknown => (unknown_size_max, Some(unknown_size_max)),
        };
        Ok(Self {
            key: key.clone(),
            body: body.into_stream(),
            meter: Some(BodyMeter::new(key, size)),
            seen: 0,
            limit,
            part_bytes: part_bytes(bytes_max),
            rest: Bytes::new(),
        })
    }

    /// The next part, full unless it is the last one. The first one may be empty.
    ///
    /// # Errors
    /// The body's own, and that it has not the size that it may or should have.
    pub(super) async fn next(&mut self) -> Result<PutPayload> {
        let mut part = PutPayloadMut::new().with_block_size(PIECE_BYTES_COPIED);
        loop {
            let room = self.part_bytes as usize - part.content_length();
            let piece = self.rest.split_to(room.min(self.rest.len()));
            if piece.len() < PIECE_BYTES_COPIED {
                part.extend_from_slice(&piece);
            } else {
                part.push(piece);
            }
            // A full part is handed out when it is known whether another one follows.
            if !self.rest.is_empty() || !self.read().await? {
                return Ok(part.freeze());
            }
        }
    }

    /// Whether the last part was handed out.
    pub(super) fn are_finished(&self) -> bool {
        self.meter.is_none() && self.rest.is_empty()
    }

    /// Reads the next piece that is not empty; `false` at the end.
    async fn read(&mut self) -> Result<bool> {
        let Some(meter) = &mut self.meter else { return Ok(false) };
        while self.rest.is_empty() {
            let piece = self.body.try_next().await;
            match piece.map_err(|source| Error::Body { key: self.key.clone(), source })? {
                Some(piece) => {
                    meter.add(piece.len())?;
                    self.seen += piece.len() as u64;
                    if let Some(limit) = self.limit.filter(|limit| self.seen > *limit) {
                        return Err(Error::TooLarge { key: self.key.clone(), limit });
                    }
                    self.rest = piece;
                }
                None => {
                    self.meter.take().map_or(Ok(()), BodyMeter::finish)?;
                    return Ok(false);
                }
            }
        }
        Ok(true)
    }
}

#[cfg(test)]
mod tests {
    use futures::{FutureExt, StreamExt, stream};

    use super::*;

    #[test]
    fn parts_grow_so_that_ten_thousand_are_enough() {
        const GIB: u64 = 1 << 30;
        for (object_bytes, expected) in [
            (0, PART_BYTES),
            (1, PART_BYTES),
            (GIB, PART_BYTES),
            (PARTS_MAX * PART_BYTES, PART_BYTES),
            (PARTS_MAX * PART_BYTES + 1, PART_BYTES + 1),
            (OBJECT_BYTES_MAX, 549_755_814),
        ] {
            let bytes = part_bytes(object_bytes);
            assert_eq!(bytes, expected, "{object_bytes}");
            assert!(object_bytes.div_ceil(bytes) <= PARTS_MAX && (PART_BYTES_MIN..=PART_BYTES_MAX).contains(&bytes));
        }
    }

    /// The sizes of the parts of a body in pieces of these sizes.
    async fn cut(pieces: &[usize], size: PutSize, limit: u64) -> Result<Vec<usize>> {
        let pieces: Vec<_> = pieces.iter().map(|bytes| Ok(Bytes::from(vec![0; *bytes]))).collect();
        let key = ObjectKey::parse("k").unwrap();
        let mut parts = Parts::new(&key, Body::stream(stream::iter(pieces)), size, limit)?;
        let mut sizes = Vec::new();
        loop {
            sizes.push(parts.next().await?.content_length());
            if parts.are_finished() {
                return Ok(sizes);
            }
        }
    }

    #[tokio::test]
    async fn every_part_but_the_last_is_full() {
        const PART: usize = PART_BYTES as usize;
        for (pieces, expected) in [
            (vec![], vec![0]),
            (vec![0, 0], vec![0]),
            (vec![1, 0, 2], vec![3]),
            (vec![PART], vec![PART]),
            (vec![PART, 0], vec![PART]),
            (vec![PART, 1], vec![PART, 1]),
            (vec![PART - 1, 2], vec![PART, 1]),
            (vec![3 * PART], vec![PART, PART, PART]),
            (vec![5, 2 * PART, 7], vec![PART, PART, 12]),
        ] {
            assert_eq!(cut(&pieces, PutSize::Unknown, 1 << 30).await.unwrap(), expected, "{pieces:?}");
            let exact = PutSize::Exact(pieces.iter().sum::<usize>() as u64);
            assert_eq!(cut(&pieces, exact, 0).await.unwrap(), expected, "{pieces:?}");
        }
    }

    #[tokio::test]
    async fn a_body_has_the_size_that_it_should_have() {
        assert_eq!(cut(&[4, 6], PutSize::Unknown, 10).await.unwrap(), [10]);
        assert!(matches!(cut(&[4, 7], PutSize::Unknown, 10).await, Err(Error::TooLarge { limit: 10, .. })));
        for exact in [10, 12] {
            assert!(matches!(cut(&[4, 7], PutSize::Exact(exact), 1).await, Err(Error::SizeMismatch { .. })));
        }
        // Told at once, and not at an end that may never come.
        let body = stream::iter([Ok(Bytes::from_static(b"too long"))]).chain(stream::pending());
        let key = ObjectKey::parse("k").unwrap();
        let mut parts = Parts::new(&key, Body::stream(body), PutSize::Exact(7), 1).unwrap();
        let told = parts.next().now_or_never();
        assert!(matches!(told, Some(Err(Error::SizeMismatch { announced: 7, actual: 8, .. }))));
        let huge = cut(&[], PutSize::Exact(OBJECT_BYTES_MAX + 1), 1).await;
        assert!(matches!(huge, Err(Error::TooLarge { limit: OBJECT_BYTES_MAX, .. })));
    }
}
