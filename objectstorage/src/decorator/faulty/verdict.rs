//! What can become of a call?

use std::time::Duration;

use crate::decorator::CallKind;

/// A call to a [`FaultyStorage`](crate::FaultyStorage), as its plan sees it.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Call<'a> {
    /// Which call it is.
    pub kind: CallKind,
    /// The key, or the prefix of a listing.
    pub name: &'a str,
    /// The number of this call among all calls of this client, from 1.
    pub number: u64,
}

/// What becomes of a call.
///
/// What fails, fails with [`Error::Unavailable`](crate::Error::Unavailable), if nothing else is said. All times are
/// those of tokio's clock.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Verdict {
    /// It goes through.
    Pass,
    /// It fails without effect.
    FailBefore,
    /// It has its effect and fails nevertheless: the reply is lost. A listing breaks off after its first entry, the
    /// stream of a get in the middle.
    FailAfter,
    /// Its bytes break off in the middle, and everybody knows: a put fails without effect when the storage has taken
    /// half of the body, the stream of a get ends with an error, a listing breaks off after its first entry. What
    /// moves no bytes fails without effect.
    TornBody,
    /// One bit of its bytes is wrong, and nobody is told: a get reads it so, a put stores it so. It is the bit of this
    /// number, modulo their count. Other calls go through.
    Flipped(u64),
    /// Its bytes end early, and nobody is told: a get reads so many bytes, a put stores so many, modulo their count.
    /// Other calls go through.
    Truncated(u64),
    /// It goes through, but this long passes before its effect.
    SlowBefore(Duration),
    /// It goes through, but this long passes between its effect and the reply.
    SlowAfter(Duration),
    /// It fails, and a put or a delete has its effect later: at [`FaultyStorage::land_late`].
    ///
    /// [`FaultyStorage::land_late`]: crate::FaultyStorage::land_late
    Late,
    /// It fails, and a put or a delete has its effect after so many further calls of all clients: before the effect
    /// of the call that follows them.
    LateAfterCalls(u64),
    /// It fails, and a put or a delete has its effect when so much time has passed: before the effect of the first
    /// call, of any client, from then on.
    LateAfter(Duration),
    /// The storage is full for this long, from this call on, for all clients: puts fail with
    /// [`Error::Full`](crate::Error::Full) and without effect, all else goes through. Zero means this call alone.
    Full(Duration),
    /// It fails without effect, and so does every call of this client after it, until [`FaultyStorage::revive`].
    ///
    /// [`FaultyStorage::revive`]: crate::FaultyStorage::revive
    CrashBefore,
    /// It has its effect and fails, and every call of this client after it fails without effect, until
    /// [`FaultyStorage::revive`].
    ///
    /// [`FaultyStorage::revive`]: crate::FaultyStorage::revive
    CrashAfter,
}
