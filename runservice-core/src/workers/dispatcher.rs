//! Who is to be told of a change? Executors of their assignments, followers of the end of a log.

use std::sync::Mutex;

use futures::TryStreamExt;
use runyard_datamanager::{Change, Position};
use runyard_executor_core::contract::{Command, TaskId};

use crate::{
    Result,
    layout::{self, ASSIGNMENTS, EXECUTORS, LOGS, TASKS},
    rows::Drain,
    service::Core,
};

/// Goes on after the last transaction that was dispatched, and notes there how far it came.
pub(super) async fn run(core: &Core, dispatched: &Mutex<Position>) -> Result<()> {
    let locked = || dispatched.lock().expect("the lock is never poisoned: no panic while held");
    let after = *locked();
    let mut changes = core.data.follow(after);
    while let Some(committed) = changes.try_next().await? {
        for change in &committed.changes {
            dispatch(core, change).await?;
        }
        *locked() = committed.position;
    }
    Ok(())
}

async fn dispatch(core: &Core, change: &Change) -> Result<()> {
    let Some(value) = &change.value else { return Ok(()) };
    if change.collection == ASSIGNMENTS.name() {
        let row = ASSIGNMENTS.decode(&change.key, value)?;
        let task = TaskId::parse(String::from_utf8_lossy(&change.key).into_owned())?;
        core.tell(&task, &row).await?;
    } else if change.collection == EXECUTORS.name() {
        let row = EXECUTORS.decode(&change.key, value)?;
        if row.drain == Some(Drain::Asked) {
            // A later registration may be one of an executor that has ended since, and was started anew.
            core.sessions.tell_registered(&row.status.id, row.epoch, Command::Drain);
        }
    } else if change.collection == LOGS.name() {
        if let Some(id) = layout::log_of_key(&change.key) {
            core.logs.close(&id);
        }
    } else if change.collection == TASKS.name() {
        let task = TASKS.decode(&change.key, value)?;
        if task.status.is_final() {
            core.logs.close_task(&task.id);
        }
    }
    Ok(())
}
