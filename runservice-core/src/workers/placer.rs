//! When is a task given to an executor? Whenever a task became ready, a slot became free, or an executor connected.

use futures::{FutureExt, TryStreamExt, future};
use runyard_datamanager::{Leadership, Position};

use super::Board;
use crate::{
    ErrorKind, Result,
    scheduler::{Placed, Placement},
    service::Core,
};

/// Places tasks on behalf of a leader; without one, this process is the only one.
pub(super) async fn run(core: &Core, leadership: Option<&Leadership>) -> Result<()> {
    let at = core.data.snapshot();
    let mut changes = core.data.follow(at.position());
    let mut board = Board::load(&*core.data, &at).await?;
    let mut seen = at.position();
    let mut last = None;
    loop {
        let round = board.round(&*core.scheduler, last.as_ref());
        last = round.last;
        let committed = assign(core, leadership, round.placed).await?;
        // Until its own assignments have come back, the board would give the same tasks away again.
        let mut news = false;
        while seen < committed || !news {
            let Some(change) = changes.try_next().await? else { return Ok(()) };
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
async fn assign(core: &Core, leadership: Option<&Leadership>, placed: Vec<Placed>) -> Result<Position> {
    let commits = placed.into_iter().filter_map(|Placed { task, placement }| match placement {
        Placement::Wait(_) => None,
        Placement::To(executor) => Some(async move {
            match core.assign(leadership, &task.run, &task.task, task.attempt, &executor).await {
                Ok(position) => Ok(position),
                // The run was stopped or cancelled, or the executor is gone: the board hears of it.
                Err(error) if error.kind() == ErrorKind::BadRequest => Ok(Position::ZERO),
                Err(error) => Err(error),
            }
        }),
    });
    let positions: Vec<Position> = future::try_join_all(commits).await?;
    Ok(positions.into_iter().max().unwrap_or(Position::ZERO))
}
