//! Whose is the data of a task? An object beside it says so for each run, so that whoever has nothing but the storage can
//! tell what is still wanted.

use bytes::Bytes;
use runyard_executor_core::contract::{RunId, TaskId};
use runyard_objectstorage::{ObjectStorage, ObjectStorageExt, PutMode};

use crate::{Error, Result, layout, rows::TaskData};

/// Says that the data of a task is a run's. Again: changes nothing.
pub(crate) async fn write(storage: &dyn ObjectStorage, data: TaskData, task: &TaskId, run: &RunId) -> Result<()> {
    let key = layout::reference(data, task, run);
    let put = storage.put_bytes(&key, Bytes::new(), PutMode::Overwrite).await;
    put.map_err(Error::storage("writing a reference"))
}

/// Says that the data of a task is a run's no more. Again: changes nothing.
pub(crate) async fn remove(storage: &dyn ObjectStorage, data: TaskData, task: &TaskId, run: &RunId) -> Result<()> {
    let key = layout::reference(data, task, run);
    storage.delete(&key).await.map_err(Error::storage("removing a reference"))
}
