//! When is a task given to an executor? Whenever a task became ready, a slot became free, or an executor connected.

use futures::{FutureExt, TryStreamExt, future};
use runyard_datamanager::Position;

use super::Board;
use crate::{
    ErrorKind, Result,
    engine::Event,
    scheduler::{Placed, Placement},
    service::Core,
};

pub(super) async fn run(core: &Core) -> Result<()> {
    let at = core.data.snapshot();
    let mut connections = core.sessions.connections();
    let mut changes = core.data.follow(at.position());
    let mut board = Board::load(&*core.data, &at).await?;
    let mut seen = at.position();
    let mut last = None;
    loop {
        let round = board.round(&*core.scheduler, &core.sessions, last.as_ref());
        last = round.last;
        let committed = assign(core, round.placed).await?;
        // Until its own assignments have come back, the board would give the same tasks away again.
        let mut news = false;
        while seen < committed || !news {
            let change = tokio::select! {
                change = changes.try_next() => change?,
                // The sender lives in the core, so this is a connection and not the end of them.
                _ = connections.changed() => { news = true; continue }
            };
            let Some(change) = change else { return Ok(()) };
            news |= board.fold(&change)?;
            seen = change.position;
            while let Some(Some(more)) = changes.try_next().now_or_never().transpose()? {
                news |= board.fold(&more)?;
                seen = more.position;
            }
        }
    }
}

/// Commits every placement of a round, side by side so that they share a write; returns the last one's position.
async fn assign(core: &Core, placed: Vec<Placed>) -> Result<Position> {
    let commits = placed.into_iter().filter_map(|Placed { task, placement }| match placement {
        Placement::Wait(_) => None,
        Placement::To(executor) => Some(async move {
            let event = Event::Assign { task: task.task.clone(), attempt: task.attempt, executor };
            match core.apply_at(&task.run, event).await {
                Ok((_, position)) => Ok(position),
                // The run was stopped or cancelled meanwhile: the board hears of it.
                Err(error) if error.kind() == ErrorKind::BadRequest => Ok(Position::ZERO),
                Err(error) => Err(error),
            }
        }),
    });
    let positions: Vec<Position> = future::try_join_all(commits).await?;
    Ok(positions.into_iter().max().unwrap_or(Position::ZERO))
}
