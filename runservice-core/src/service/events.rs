//! What has happened since? Everything that is kept, then what happens, without a gap or a repetition.

use std::{fmt, str::FromStr, sync::Arc, time::SystemTime};

use futures::{StreamExt, TryStreamExt, stream, stream::BoxStream};
use runyard_datamanager::{Committed, DataManager, DataManagerExt, Direction, Error as Data, KeyRange, Position};
use serde::{Deserialize, Serialize};

use super::Core;
use crate::{
    Error, Result,
    engine::RunEvent,
    layout::{EVENTS, EVENTS_EXPIRED},
};

/// So many events are read from the store at a time.
const PAGE: usize = 1_000;

/// A place in the sequence of all events. `Display` and `FromStr` are what APIs hand out and take back.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct EventSequence {
    position: Position,
    index: u32,
}

impl EventSequence {
    /// Before every event.
    pub const ZERO: Self = Self { position: Position::ZERO, index: 0 };

    /// After every event of the transaction at `position`.
    pub(crate) fn at(position: Position) -> Self {
        Self { position, index: u32::MAX }
    }

    /// Where the event with this key is.
    pub(crate) fn of_key(key: &[u8]) -> Option<Self> {
        Position::from_append_key(key).map(|(position, index)| Self { position, index })
    }

    /// The key of the event here.
    pub(crate) fn key(self) -> [u8; 16] {
        self.position.append_key(self.index)
    }
}

impl fmt::Display for EventSequence {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.position, self.index)
    }
}

/// A text is not the place of an event.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{text}` is not the sequence of an event: it is three numbers with dots between them, as in `12.0.3`")]
pub struct InvalidSequence {
    /// The refused text, shortened to its first 100 characters.
    pub text: String,
}

impl FromStr for EventSequence {
    type Err = InvalidSequence;

    fn from_str(text: &str) -> Result<Self, InvalidSequence> {
        let parse = || {
            let mut parts = text.split('.');
            let position = Position { lsn: parts.next()?.parse().ok()?, index: parts.next()?.parse().ok()? };
            let index = parts.next()?.parse().ok()?;
            parts.next().is_none().then_some(Self { position, index })
        };
        parse().ok_or_else(|| InvalidSequence { text: text.chars().take(100).collect() })
    }
}

/// An event with its place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SequencedEvent {
    /// Its place.
    pub sequence: EventSequence,
    /// When it happened, by the run service's clock.
    pub time: SystemTime,
    /// What happened.
    pub event: RunEvent,
}

/// How far a reader is.
enum Reader {
    /// It reads what is kept, after a place.
    Kept(EventSequence),
    /// It hears of what happens; all up to the place it has.
    Following(BoxStream<'static, runyard_datamanager::Result<Committed>>, EventSequence),
}

impl Core {
    pub(super) fn events(&self, after: EventSequence) -> BoxStream<'static, Result<SequencedEvent>> {
        let data = Arc::clone(&self.data);
        let batches = stream::try_unfold(Reader::Kept(after), move |reader| {
            let data = Arc::clone(&data);
            async move { Box::pin(reader.next(&data)).await }
        });
        batches.map_ok(|batch| stream::iter(batch).map(Ok)).try_flatten().boxed()
    }
}

impl Reader {
    /// The next events, perhaps none, and how it goes on; nothing when the data manager was closed.
    async fn next(self, data: &Arc<dyn DataManager>) -> Result<Option<(Vec<SequencedEvent>, Self)>> {
        match self {
            Self::Kept(after) => read_kept(data, after).await.map(Some),
            Self::Following(mut changes, last) => match changes.next().await {
                None => Ok(None),
                Some(Ok(committed)) => {
                    let events = events_of(&committed, last)?;
                    let last = events.last().map_or(last, |event| event.sequence);
                    Ok(Some((events, Self::Following(changes, last))))
                }
                // It fell so far behind that the log is gone; the events are kept for longer.
                Some(Err(Data::PositionExpired { .. })) => Ok(Some((Vec::new(), Self::Kept(last)))),
                Some(Err(error)) => Err(error.into()),
            },
        }
    }
}

/// A page of what is kept, so that a slow reader holds no snapshot; after the last one, what happens is followed.
async fn read_kept(data: &Arc<dyn DataManager>, after: EventSequence) -> Result<(Vec<SequencedEvent>, Reader)> {
    let at = data.snapshot();
    if let Some(oldest) = data.read(&at, &EVENTS_EXPIRED, "").await?.filter(|expired| after < *expired) {
        return Err(Error::EventsExpired { oldest });
    }
    let range = KeyRange::all().after(after.key());
    let page = data.read_range(&at, &EVENTS, range, Direction::Ascending, PAGE).await?;
    let sequenced = page.entries.into_iter().filter_map(|(key, row)| {
        let sequence = EventSequence::of_key(&key)?;
        Some(SequencedEvent { sequence, time: row.time, event: row.event })
    });
    let kept: Vec<SequencedEvent> = sequenced.collect();
    let last = kept.last().map_or(after, |last| last.sequence);
    let goes_on = if page.more { Reader::Kept(last) } else { Reader::Following(data.follow(at.position()), last) };
    Ok((kept, goes_on))
}

/// The events of a transaction that come after a place.
fn events_of(committed: &Committed, after: EventSequence) -> Result<Vec<SequencedEvent>> {
    let mut events = Vec::new();
    for change in committed.changes.iter().filter(|change| change.collection == EVENTS.name()) {
        let (Some(value), Some(sequence)) = (&change.value, EventSequence::of_key(&change.key)) else { continue };
        if sequence > after {
            let row = EVENTS.decode(&change.key, value)?;
            events.push(SequencedEvent { sequence, time: row.time, event: row.event });
        }
    }
    Ok(events)
}
