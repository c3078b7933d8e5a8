//! What would somebody see who only reads the store? Reads it alongside, and looks whether it keeps the rules.

use std::{sync::Arc, time::Duration};

use futures::{FutureExt, StreamExt, stream::BoxStream};
use runyard_datamanager::{Committed, DataManager, Position, VirtualUptime, WalDataManager};
use runyard_objectstorage::ObjectStorage;
use runyard_runservice_core::RUN_DATA;

use crate::{history::History, process::scheduler, world::World};

/// Somebody who reads the store, and never fails.
pub(crate) struct Observer {
    world: Arc<World>,
    open: Option<Open>,
    pub(crate) history: History,
}

struct Open {
    data: WalDataManager,
    changes: BoxStream<'static, runyard_datamanager::Result<Committed>>,
}

impl Observer {
    pub(crate) fn new(world: &Arc<World>) -> Self {
        Self { world: Arc::clone(world), open: None, history: History::new(scheduler(world)) }
    }

    /// Reads what has come since the last look.
    pub(crate) async fn look(&mut self) {
        if let Err(wrong) = self.try_to_look().await {
            self.world.fail(wrong);
        }
    }

    async fn try_to_look(&mut self) -> Result<(), String> {
        if self.open.is_none() {
            let storage = Arc::clone(&self.world.storage) as Arc<dyn ObjectStorage>;
            let builder = WalDataManager::builder(storage).base_path(RUN_DATA).read_only();
            // There may be no store yet.
            let Ok(data) = builder.uptime(Arc::new(VirtualUptime::new())).writer_id([0xee; 16]).open().await else {
                return Ok(());
            };
            let changes = data.follow(Position::ZERO);
            self.open = Some(Open { data, changes });
        }
        let Some(Open { data, changes }) = &mut self.open else { return Ok(()) };
        data.catch_up().await.map_err(|error| format!("an observer cannot catch up: {error:?}"))?;
        while let Some(Some(committed)) = changes.next().now_or_never() {
            let committed = committed.map_err(|error| format!("an observer cannot read: {error:?}"))?;
            self.history.apply(&committed)?;
        }
        Ok(())
    }

    /// Looks again and again, until things go wrong no more.
    pub(crate) async fn watch(&mut self) {
        while !self.world.is_calm() {
            self.look().await;
            let world = Arc::clone(&self.world);
            world.calm_or_sleep(Duration::from_secs(5)).await;
        }
    }
}
