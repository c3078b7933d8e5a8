//! When is a task given to an executor? Whenever a task became ready, a slot became free, or an executor connected.

use std::sync::Arc;

use futures::{FutureExt, TryStreamExt, future};
use runyard_datamanager::{Leadership, Position};

use super::board::Board;
use crate::{ErrorKind, Result, scheduler::Placed, service::Core};

/// Places tasks on behalf of a leader; without one, this process is the only one.
pub(super) async fn run(core: &Core, leadership: Option<&Leadership>) -> Result<()> {
    let at = core.data.snapshot();
    let mut changes = core.data.follow(at.position());
    let mut board = Board::load(Arc::clone(&core.scheduler), &*core.data, &at).await?;
    let mut seen = at.position();
    loop {
        let committed = assign(core, leadership, board.round()).await?;
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
    let commits = placed.into_iter().map(|Placed { task, executor }| async move {
        match core.assign(leadership, &task.run, &task.task, task.attempt, &executor).await {
            Ok(position) => Ok(position),
            // The run was stopped, cancelled or deleted, or the executor is gone: the board hears of it.
            Err(error) if matches!(error.kind(), ErrorKind::BadRequest | ErrorKind::NotExist) => Ok(Position::ZERO),
            Err(error) => Err(error),
        }
    });
    let positions: Vec<Position> = future::try_join_all(commits).await?;
    Ok(positions.into_iter().max().unwrap_or(Position::ZERO))
}
