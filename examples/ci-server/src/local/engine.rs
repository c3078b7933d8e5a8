//! How do the rooms become one program that runs tasks here?
//!
//! ```text
//! <root>/objects    logs, archives, caches and the run data
//! <root>/executor   the journal of the executor
//! <root>/pods       where tasks run
//! ```

use std::{path::Path, sync::Arc, time::Duration};

use runyard_datamanager::WalDataManager;
use runyard_executor_core::{
    Executor, Settings,
    driver::{ExecutorDriver, Inherit, ProcessDriver},
};
use runyard_objectstorage::PosixStorage;
use runyard_runservice_core::{RUN_DATA, RunService, sealer::AeadSealer};
use tokio_util::sync::CancellationToken;

use super::host;
use crate::{ids, tool_homes};

/// What makes the engine stop or never start.
pub(crate) type EngineError = Box<dyn std::error::Error + Send + Sync>;

/// When this program is killed, its tasks end this much later.
const LOST_AFTER: Duration = Duration::from_secs(60);

/// A run service with one executor of processes.
#[derive(Debug)]
pub(super) struct Engine {
    pub(super) service: RunService,
    data: WalDataManager,
    driver: Arc<ProcessDriver>,
    executor: Executor,
}

impl Engine {
    /// Opens the engine on a directory, which it makes if need be.
    pub(super) async fn open(root: &Path, jobs: u32) -> Result<Self, EngineError> {
        let storage = Arc::new(PosixStorage::open(root.join("objects")).await?);
        let data = WalDataManager::builder(storage.clone()).base_path(RUN_DATA).open().await?;
        // For this process alone: what an earlier one left unfinished is ended, so its secrets are not needed any more.
        let mut key = [0; 32];
        ids::fill_from_os(&mut key)?;
        let service = RunService::builder(data.clone(), storage).sealer(AeadSealer::new(&key)?).build();
        let driver = Arc::new(open_driver(&root.join("pods"))?);
        // Whoever runs it sees that the disk is full, and would wait in vain for a place.
        let settings = Settings { lost_after: LOST_AFTER, disk_free_min: 0, ..Settings::default() };
        let executor = Executor::builder(service.client(), driver.clone())
            .name("this machine")
            .task_limit(jobs)
            .settings(settings)
            .open(root.join("executor"))
            .await?;
        Ok(Self { service, data, driver, executor })
    }

    /// Runs the engine while `work` goes on. Nothing of any task is left when it returns, whatever happened; `kill`
    /// makes it return without the end of `work`, with nothing.
    pub(super) async fn run_while<T>(
        self,
        work: impl Future<Output = Result<T, EngineError>>,
        kill: &CancellationToken,
    ) -> Result<Option<T>, EngineError> {
        let shutdown = CancellationToken::new();
        let worked = {
            let serving = Box::pin(async {
                let running = self.service.run(shutdown.clone());
                let executing = self.executor.run(shutdown.clone());
                tokio::select! {
                    ran = running => ran.map_err(EngineError::from),
                    executed = executing => executed.map_err(EngineError::from),
                }
            });
            let working = Box::pin(async {
                let worked = work.await?;
                // What has ended is still to be removed.
                self.executor.drain().await;
                Ok(worked)
            });
            tokio::select! {
                worked = working => worked.map(Some),
                served = serving => Err(served.err().unwrap_or_else(|| "the engine ended before the runs".into())),
                () = kill.cancelled() => Ok(None),
            }
        };
        shutdown.cancel();
        let swept = self.sweep().await;
        self.data.close().await;
        let worked = worked?;
        swept.map(|()| worked)
    }

    /// Ends and removes every pod that is left.
    async fn sweep(&self) -> Result<(), EngineError> {
        for pod in self.driver.pods(self.executor.id()).await? {
            pod.remove().await?;
        }
        Ok(())
    }
}

fn open_driver(pods: &Path) -> Result<ProcessDriver, EngineError> {
    let names = std::env::vars_os().filter_map(|(name, _)| name.into_string().ok());
    // A name that ends with `*` would stand for others.
    let inherited = names.filter(|name| host::is_inherited(name) && !name.ends_with('*')).collect();
    Ok(ProcessDriver::builder().inherit(Inherit::Names(inherited)).environment(tool_homes::here()).open(pods)?)
}
