//! How do bytes come to harm on their way? Three ways, over any stream of them.

use bytes::{Bytes, BytesMut};
use futures::{Stream, StreamExt, TryStream, TryStreamExt, stream};

use super::Verdict;

/// What happens to a sequence of bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Damage {
    /// It ends in the middle, with an error.
    Torn,
    /// One bit is wrong.
    Flipped(u64),
    /// It ends early.
    Truncated(u64),
}

impl Damage {
    /// What a verdict does to the bytes of a put.
    pub(super) fn of_put(verdict: Verdict) -> Option<Self> {
        match verdict {
            Verdict::TornBody => Some(Self::Torn),
            Verdict::Flipped(bit) => Some(Self::Flipped(bit)),
            Verdict::Truncated(length) => Some(Self::Truncated(length)),
            _ => None,
        }
    }

    /// What a verdict does to the bytes of a get.
    pub(super) fn of_get(verdict: Verdict) -> Option<Self> {
        match verdict {
            Verdict::FailAfter => Some(Self::Torn),
            _ => Self::of_put(verdict),
        }
    }

    /// The bytes of `stream`, `length` in all, after this has happened to them; `fault` is the error.
    pub(super) fn done_to<E: Send + 'static>(
        self,
        stream: impl Stream<Item = Result<Bytes, E>> + Send + Unpin + 'static,
        length: u64,
        fault: E,
    ) -> stream::BoxStream<'static, Result<Bytes, E>> {
        match self {
            Self::Torn => beginning(stream, length / 2).chain(stream::iter([Err(fault)])).boxed(),
            Self::Flipped(bit) => flipped(stream, bit.checked_rem(length * 8)).boxed(),
            Self::Truncated(kept) => beginning(stream, kept.checked_rem(length).unwrap_or(0)).boxed(),
        }
    }

    /// The same for bytes in memory; what is torn is left whole, because there is no place for an error.
    pub(super) fn done_to_bytes(self, bytes: Bytes) -> Bytes {
        let length = bytes.len() as u64;
        match self {
            Self::Torn => bytes,
            Self::Flipped(bit) => flip(bytes, 0, bit.checked_rem(length * 8)),
            Self::Truncated(kept) => bytes.slice(..kept.checked_rem(length).unwrap_or(0) as usize),
        }
    }
}

/// The first `length` bytes; what comes after them is not asked for.
fn beginning<E>(
    stream: impl TryStream<Ok = Bytes, Error = E> + Unpin,
    length: u64,
) -> impl Stream<Item = Result<Bytes, E>> {
    stream::try_unfold((stream, length), |(mut stream, left)| async move {
        if left == 0 {
            return Ok(None);
        }
        let Some(mut piece) = stream.try_next().await? else { return Ok(None) };
        piece.truncate(usize::try_from(left).unwrap_or(usize::MAX));
        let left = left - piece.len() as u64;
        Ok(Some((piece, (stream, left))))
    })
}

fn flipped<E>(stream: impl TryStream<Ok = Bytes, Error = E>, bit: Option<u64>) -> impl Stream<Item = Result<Bytes, E>> {
    let mut offset = 0;
    stream.map_ok(move |piece| {
        let begins_at = offset;
        offset += piece.len() as u64;
        flip(piece, begins_at, bit)
    })
}

/// Flips the bit of this number, if it is in the piece that begins at this offset.
fn flip(piece: Bytes, begins_at: u64, bit: Option<u64>) -> Bytes {
    let place = bit.and_then(|bit| Some(((bit / 8).checked_sub(begins_at)? as usize, bit % 8)));
    match place {
        Some((at, bit)) if at < piece.len() => {
            let mut piece = BytesMut::from(&piece[..]);
            piece[at] ^= 1 << bit;
            piece.freeze()
        }
        _ => piece,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `abcdef` in pieces of two, after what happened to it.
    async fn after(damage: Damage) -> Result<String, String> {
        let pieces = ["ab", "cd", "ef"].map(|piece| Ok::<_, String>(Bytes::from(piece)));
        let damaged: Vec<_> = damage.done_to(stream::iter(pieces), 6, "torn".to_owned()).collect().await;
        let whole: Vec<_> = damaged.iter().flatten().flat_map(|piece| piece.to_vec()).collect();
        let text = String::from_utf8(whole).unwrap();
        if damaged.iter().any(Result::is_err) { Err(text) } else { Ok(text) }
    }

    #[tokio::test]
    async fn damage_finds_its_place_in_any_piece() {
        for (damage, expected) in [
            (Damage::Torn, Err("abc")),
            (Damage::Truncated(0), Ok("")),
            (Damage::Truncated(3), Ok("abc")),
            (Damage::Truncated(4), Ok("abcd")),
            (Damage::Truncated(6), Ok("")),
            (Damage::Flipped(0), Ok("`bcdef")),
            (Damage::Flipped(3 * 8 + 1), Ok("abcfef")),
            (Damage::Flipped(6 * 8 - 8), Ok("abcdeg")),
            (Damage::Flipped(6 * 8 + 8), Ok("accdef")),
        ] {
            let after = after(damage).await;
            assert_eq!(after.as_deref().map_err(String::as_str), expected, "{damage:?}");
            if damage != Damage::Torn {
                assert_eq!(damage.done_to_bytes("abcdef".into()), expected.unwrap(), "{damage:?} in memory");
            }
        }
    }

    #[tokio::test]
    async fn nothing_cannot_be_damaged() {
        for damage in [Damage::Flipped(7), Damage::Truncated(7)] {
            let nothing = stream::empty::<Result<Bytes, String>>();
            assert_eq!(damage.done_to(nothing, 0, "torn".to_owned()).count().await, 0, "{damage:?}");
            assert_eq!(damage.done_to_bytes(Bytes::new()), "", "{damage:?}");
        }
    }
}
