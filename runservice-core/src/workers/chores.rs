//! Does with objects what transactions have decided. The leader's; a chore that is done twice does no harm.

use futures::{StreamExt, TryStreamExt, stream};
use runyard_datamanager::{DataManagerExt, KeyRange};
use runyard_objectstorage::ObjectStorageExt;

use crate::{
    Error, Result,
    layout::{self, CHORES, LOGS},
    references,
    rows::Chore,
    service::Core,
};

/// So many chores are done side by side.
const AT_A_TIME: usize = 8;

/// Does what was left undone, then what is decided from now on.
pub(super) async fn run(core: &Core) -> Result<()> {
    let at = core.data.snapshot();
    let left = core.data.read_all(&at, &CHORES, KeyRange::all()).await?;
    if !left.is_empty() {
        tracing::info!(chores = left.len(), "doing what an earlier process left undone");
    }
    do_all(core, left.into_iter().map(|(_, chore)| chore).collect()).await?;
    let mut changes = core.data.follow(at.position());
    while let Some(committed) = changes.try_next().await? {
        let decided = committed.changes.iter().filter(|change| change.collection == CHORES.name());
        let decided = decided.filter_map(|change| Some(CHORES.decode(&change.key, change.value.as_deref()?)));
        do_all(core, decided.collect::<Result<_, _>>()?).await?;
    }
    Ok(())
}

async fn do_all(core: &Core, chores: Vec<Chore>) -> Result<()> {
    stream::iter(chores).map(|chore| do_one(core, chore)).buffer_unordered(AT_A_TIME).try_collect().await
}

async fn do_one(core: &Core, chore: Chore) -> Result<()> {
    match &chore {
        Chore::Refer { data, task, run } => references::write(&*core.storage, *data, task, run).await?,
        Chore::Release { data, task, last: true, .. } => {
            delete_all(core, &layout::task_data_prefix(*data, task)).await?;
        }
        Chore::Release { data, task, run, last: false } => {
            references::remove(&*core.storage, *data, task, run).await?;
        }
        Chore::TidyLog { task, attempt, step } => {
            let log = (task.clone(), *attempt, *step);
            let key = layout::log_key(task, *attempt, *step);
            // Without a row it was given up meanwhile, and nothing of it is left.
            if let Some(row) = core.data.read(&core.data.snapshot(), &LOGS, &key).await? {
                core.logs.tidy(&log, &row).await?;
            }
        }
        Chore::DropCache { object } => {
            core.storage
                .delete(&layout::cache_object(object))
                .await
                .map_err(Error::storage("removing a cache entry"))?;
            core.counters.objects_expired.add(1);
        }
    }
    let key = layout::chore_key(&chore);
    let done = |tx: runyard_datamanager::Tx| {
        let (key, chore) = (&key, &chore);
        async move {
            // Another one may have taken its place meanwhile.
            if tx.get(&CHORES, key).await?.as_ref() == Some(chore) {
                tx.delete(&CHORES, key).await?;
            }
            Ok::<_, Error>(())
        }
    };
    core.data.transact(done).await.map(drop)
}

async fn delete_all(core: &Core, prefix: &str) -> Result<()> {
    let objects = core.storage.list_objects(prefix).await.map_err(Error::storage("listing what is to be removed"))?;
    for object in &objects {
        core.storage.delete(&object.key).await.map_err(Error::storage("removing what nobody refers to"))?;
    }
    core.counters.objects_expired.add(objects.len() as u64);
    Ok(())
}
