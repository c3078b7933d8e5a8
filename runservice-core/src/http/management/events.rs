//! What happens, as lines of one long answer; and what was counted.

use axum::{body::Bytes, extract::State, response::Response};
use futures::{FutureExt, StreamExt, stream};

use super::views::{Counted, EventLine, EventsQuery, Now};
use crate::{
    Error, EventSequence, RunService,
    http::{
        body,
        extract::{Json, Params},
        problem::{self, Failed},
    },
};

pub(super) async fn follow(
    State(runs): State<RunService>,
    Params(EventsQuery { after }): Params<EventsQuery>,
) -> Result<Response, Failed> {
    let after = after.map_or(Ok(EventSequence::ZERO), |after| after.parse()).map_err(Error::from)?;
    let mut events = runs.events(after);
    // What is known at once to be impossible is said by the status. What comes out later is the last line.
    let first = events.next().now_or_never().flatten();
    let first = match first {
        Some(Err(error)) => return Err(error.into()),
        Some(Ok(event)) => Some(Ok(event)),
        None => None,
    };
    let events = stream::iter(first).chain(events).map(|event| match event {
        Ok(event) => body::line(&EventLine::from(event)),
        Err(error) => body::line(&EventLine::Problem { problem: problem::problem(&error) }),
    });
    Ok(body::lines(body::kept_alive(events.boxed(), Bytes::from_static(b"\n"))))
}

pub(super) async fn now(State(runs): State<RunService>) -> Json<Now> {
    Json(Now { sequence: runs.now().to_string() })
}

pub(super) async fn metrics(State(runs): State<RunService>) -> Json<Counted> {
    let counted = runs.metrics().iter().map(|(name, count)| (name.to_owned(), count)).collect();
    Json(Counted(counted))
}
