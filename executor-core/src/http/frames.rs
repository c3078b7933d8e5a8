//! How is the end of an archive told from a broken connection?
//!
//! ```text
//! length (4 bytes, big-endian, not 0), that many bytes
//! ...
//! 0 (4 bytes), SHA-256 of all bytes of all frames (32 bytes)
//! ```
//!
//! HTTP alone does not do: a proxy that speaks HTTP/1.0 to one side turns an archive that breaks off into a shorter one.
//! Nothing here holds more than one piece.

use bytes::{Buf as _, BufMut as _, Bytes, BytesMut};
use futures::{Stream, StreamExt as _, stream};
use sha2::{Digest as _, Sha256};

use crate::contract::{ByteStream, StreamError};

/// The media type of frames.
pub const MEDIA_TYPE: &str = "application/vnd.runyard.frames";

/// The longest frame; longer pieces are cut. A reader takes a frame in pieces as they come, so it may be any length.
const FRAME_BYTES_MAX: usize = 1 << 30;

/// Why frames could not be read to their end.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadFrames {
    /// They break off.
    #[error("the archive breaks off after {bytes} bytes")]
    Truncated {
        /// How much came.
        bytes: u64,
    },
    /// The hash at the end is not that of the bytes.
    #[error("the archive was changed on its way: its SHA-256 does not match")]
    Changed,
    /// Something comes after the end.
    #[error("something follows the end of the archive")]
    TooLong,
}

/// Puts a stream into frames. An error of the stream ends the result without an end, as an error.
pub fn encode(pieces: ByteStream) -> ByteStream {
    enum At {
        Pieces(ByteStream, Box<Sha256>),
        Done,
    }
    let framed = stream::unfold(At::Pieces(pieces, Box::default()), |at| async move {
        let At::Pieces(mut pieces, mut hash) = at else { return None };
        loop {
            return match pieces.next().await {
                Some(Ok(piece)) if piece.is_empty() => continue,
                Some(Ok(piece)) => {
                    hash.update(&piece);
                    Some((Ok(frames(piece)), At::Pieces(pieces, hash)))
                }
                Some(Err(error)) => Some((Err(error), At::Done)),
                None => Some((Ok(vec![end(*hash)]), At::Done)),
            };
        }
    });
    framed
        .flat_map(|item| match item {
            Ok(pieces) => stream::iter(pieces.into_iter().map(Ok).collect::<Vec<_>>()),
            Err(error) => stream::iter(vec![Err(error)]),
        })
        .boxed()
}

fn frames(mut piece: Bytes) -> Vec<Bytes> {
    let mut frames = Vec::with_capacity(2);
    while !piece.is_empty() {
        let frame = piece.split_to(piece.len().min(FRAME_BYTES_MAX));
        let length = u32::try_from(frame.len()).expect("a frame is shorter than 1 GiB");
        frames.push(Bytes::copy_from_slice(&length.to_be_bytes()));
        frames.push(frame);
    }
    frames
}

fn end(hash: Sha256) -> Bytes {
    let mut end = BytesMut::with_capacity(36);
    end.put_u32(0);
    end.extend_from_slice(&hash.finalize());
    end.freeze()
}

/// Takes the bytes out of frames, piece by piece.
#[derive(Debug, Default)]
pub struct Decoder {
    hash: Sha256,
    /// What is left of the current frame.
    left: usize,
    /// A part of a length, or of the end.
    head: BytesMut,
    ending: bool,
    ended: bool,
    bytes: u64,
}

impl Decoder {
    /// Takes in what came, and returns the bytes that it holds, without copying them.
    ///
    /// # Errors
    /// [`BadFrames`] if it cannot be what a complete archive is made of.
    pub fn push(&mut self, mut came: Bytes) -> Result<Vec<Bytes>, BadFrames> {
        let mut pieces = Vec::new();
        while !came.is_empty() {
            if self.ended {
                return Err(BadFrames::TooLong);
            }
            if self.left > 0 {
                let piece = came.split_to(came.len().min(self.left));
                self.left -= piece.len();
                self.bytes += piece.len() as u64;
                self.hash.update(&piece);
                pieces.push(piece);
                continue;
            }
            let wanted = if self.ending { 32 } else { 4 };
            self.head.put(came.split_to(came.len().min(wanted - self.head.len())));
            if self.head.len() < wanted {
                continue;
            }
            let mut head = self.head.split();
            if self.ending {
                if self.hash.clone().finalize()[..] != head[..] {
                    return Err(BadFrames::Changed);
                }
                self.ended = true;
            } else {
                self.left = head.get_u32() as usize;
                self.ending = self.left == 0;
            }
        }
        Ok(pieces)
    }

    /// To be called at the end of what comes.
    ///
    /// # Errors
    /// [`BadFrames::Truncated`] if that was not the end of the frames.
    pub fn finish(&self) -> Result<(), BadFrames> {
        if self.ended { Ok(()) } else { Err(BadFrames::Truncated { bytes: self.bytes }) }
    }
}

/// Takes the bytes out of a stream of frames. What is not complete ends with an error.
pub fn decode<E>(framed: impl Stream<Item = Result<Bytes, E>> + Send + Unpin + 'static) -> ByteStream
where
    E: Into<StreamError> + 'static,
{
    let decoding = stream::unfold(Some((framed, Decoder::default())), |at| async move {
        let (mut framed, mut decoder) = at?;
        let item = match framed.next().await {
            Some(Ok(came)) => decoder.push(came).map_err(StreamError::from),
            Some(Err(error)) => Err(error.into()),
            None => return decoder.finish().err().map(|error| (vec![Err(StreamError::from(error))], None)),
        };
        match item {
            Ok(pieces) => Some((pieces.into_iter().map(Ok).collect(), Some((framed, decoder)))),
            Err(error) => Some((vec![Err(error)], None)),
        }
    });
    decoding.flat_map(stream::iter).boxed()
}

#[cfg(test)]
mod tests {
    use futures::{FutureExt as _, TryStreamExt as _};
    use proptest::prelude::*;

    use super::*;

    fn pieces(pieces: Vec<Vec<u8>>) -> ByteStream {
        stream::iter(pieces.into_iter().map(|piece| Ok(Bytes::from(piece)))).boxed()
    }

    fn collect(stream: ByteStream) -> Result<Vec<u8>, StreamError> {
        let collected = stream.try_collect::<Vec<Bytes>>().now_or_never();
        let pieces = collected.expect("nothing in these tests waits")?;
        Ok(pieces.concat())
    }

    /// In pieces of one length, whatever the frames are.
    fn cut(framed: &[u8], length: usize) -> ByteStream {
        pieces(framed.chunks(length.max(1)).map(<[u8]>::to_vec).collect())
    }

    proptest! {
        #[test]
        fn what_is_put_into_frames_comes_out_however_it_is_cut(
            parts in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..40), 0..6),
            length in 1_usize..50,
        ) {
            let whole = parts.concat();
            let framed = collect(encode(pieces(parts))).expect("encodes");
            prop_assert_eq!(collect(decode(cut(&framed, length))).expect("complete"), whole);
        }

        #[test]
        fn whatever_is_missing_or_changed_is_an_error(
            parts in prop::collection::vec(prop::collection::vec(any::<u8>(), 1..40), 1..4),
            at in any::<prop::sample::Index>(),
            length in 1_usize..50,
        ) {
            let framed = collect(encode(pieces(parts))).expect("encodes");
            let at = at.index(framed.len());
            prop_assert!(collect(decode(cut(&framed[..at], length))).is_err(), "cut at {}", at);
            let mut changed = framed;
            changed[at] ^= 1;
            prop_assert!(collect(decode(cut(&changed, length))).is_err(), "changed at {}", at);
        }
    }

    #[test]
    fn a_stream_that_fails_has_no_end() {
        let failing = stream::iter([Ok(Bytes::from("abc")), Err(StreamError::from("broken"))]).boxed();
        let framed = encode(failing).filter_map(async |item| item.ok().map(Ok::<_, StreamError>)).boxed();
        let error = collect(decode(framed)).expect_err("it has no end");
        assert_eq!(error.to_string(), "the archive breaks off after 3 bytes");
    }

    #[test]
    fn the_format_is_frozen() {
        let framed = collect(encode(pieces(vec![b"abc".to_vec()]))).expect("encodes");
        let hex: String = framed.iter().map(|byte| format!("{byte:02x}")).collect();
        let hash = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
        assert_eq!(hex, format!("0000000361626300000000{hash}"));
    }
}
