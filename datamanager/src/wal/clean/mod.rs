//! Who removes what a store no longer needs?
//!
//! A part of the task of a data manager, woken when this process has published a checkpoint that was the newest. It publishes the
//! [floor](crate::wal::floor), waits, and deletes what is [decided](decide). Several processes may clean at once, and
//! any of them may die anywhere. Only names of known form are ever deleted.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use futures::TryStreamExt;
use runyard_objectstorage::{ListEntry, ObjectKey};
use tokio::sync::watch;

use crate::{
    Error, Result,
    broken::{self, Broken},
    manifest::{FileId, newest},
    wal::{
        floor::{Floor, FloorWatch},
        log::LogObjects,
        pins::Pins,
        status::StatusBoard,
    },
};

pub(crate) mod decide;

use decide::{Deletions, KnownFloor, deletions, floor_to_publish, kept, waits_until};

/// After how long a cleaning that failed is tried again.
const RETRY_AFTER: Duration = Duration::from_secs(60);

/// Removes what a store no longer needs.
#[derive(Debug)]
pub(crate) struct Cleaner {
    objects: LogObjects,
    watch: FloorWatch,
    pins: Arc<Pins>,
    /// Since when each floor is known to exist.
    floors_since: BTreeMap<u64, (Floor, Duration)>,
}

impl Cleaner {
    pub(crate) fn new(objects: LogObjects, watch: FloorWatch, pins: Arc<Pins>) -> Self {
        Self { objects, watch, pins, floors_since: BTreeMap::new() }
    }

    /// Cleans whenever `published` says that a checkpoint of this process is the newest, until nobody says so any more.
    pub(crate) async fn run(mut self, mut published: watch::Receiver<u64>, board: Arc<StatusBoard>) {
        let mut deadline = None;
        loop {
            tokio::select! {
                // In an order that does not depend on chance, so that a simulation is repeatable.
                biased;
                changed = published.changed() => if changed.is_err() { return },
                () = self.sleep_until(deadline) => {}
            }
            let ours = *published.borrow_and_update();
            let cleaned = self.clean(ours).await;
            board.cleaning_ended(cleaned.as_ref().err().cloned());
            deadline = match cleaned {
                Ok(deadline) => deadline,
                Err(error) => {
                    tracing::warn!(%error, "cleaning failed; it is tried again");
                    Some(self.watch.uptime().now() + RETRY_AFTER)
                }
            };
        }
    }

    /// Cleans once, if manifest `ours` is the newest. Returns when there is more to do.
    pub(crate) async fn clean(&mut self, ours: u64) -> Result<Option<Duration>> {
        let manifests = newest::numbers(&self.objects).await?;
        if manifests.last() != Some(&ours) {
            // Whoever published the newest one cleans.
            return Ok(None);
        }
        let mut kept_manifests = Vec::new();
        for number in kept(&manifests, &self.pins.numbers()) {
            let Some(verified) = newest::read(&self.objects, number).await? else {
                // Somebody else cleans, and is further on.
                return Ok(None);
            };
            kept_manifests.push(verified.manifest);
        }
        self.look_at_floors().await?;
        let late = broken::is(Broken::FloorAfterDelete);
        let floor = floor_to_publish(&kept_manifests, &self.floors());
        if let Some(floor) = floor.filter(|_| !late) {
            // Somebody else's floor of this number is as good, once it is seen.
            self.objects.create_floor(floor).await?;
            self.look_at_floors().await?;
        }
        let data = self.data().await?;
        let now = self.watch.uptime().now();
        let mut deletions = deletions(&manifests, &kept_manifests, data, &self.floors(), now);
        if let Some(floor) = floor.filter(|_| late) {
            deletions.log_below = floor.lsn;
        }
        self.delete(&deletions).await?;
        if let Some(floor) = floor.filter(|_| late) {
            self.objects.create_floor(floor).await?;
        }
        let floors = self.floors();
        let waits = waits_until(&floors).filter(|until| *until > now);
        Ok(waits)
    }

    /// Deletes in the order that a crash does no harm in.
    async fn delete(&mut self, deletions: &Deletions) -> Result<()> {
        let Deletions { manifests, data, log_below, floors } = deletions;
        for number in manifests {
            self.remove(&self.objects.layout.manifest(*number)).await?;
        }
        for key in data {
            self.remove(key).await?;
        }
        let mut batches = self.objects.storage.list(self.objects.layout.log_after(0));
        // Ascending, so what is left has no gap.
        while let Some(entry) = batches.try_next().await.map_err(Error::storage("listing the log"))? {
            let ListEntry::Object(meta) = entry else { continue };
            let Some(lsn) = self.objects.layout.lsn_of(&meta.key) else { continue };
            if lsn >= *log_below {
                break;
            }
            self.remove(&meta.key).await?;
        }
        for number in floors {
            self.remove(&self.objects.layout.floor(*number)).await?;
        }
        Ok(())
    }

    async fn remove(&self, key: &ObjectKey) -> Result<()> {
        self.objects.storage.delete(key).await.map_err(Error::storage("removing what is no longer needed"))
    }

    /// Learns which floors there are; those that are new are waited for from now on.
    async fn look_at_floors(&mut self) -> Result<()> {
        let numbers = self.objects.floor_numbers().await?;
        self.floors_since.retain(|number, _| numbers.contains(number));
        for number in numbers {
            if self.floors_since.contains_key(&number) {
                continue;
            }
            if let Some(floor) = self.objects.read_floor(number).await? {
                self.floors_since.insert(number, (floor, self.watch.uptime().now()));
            }
        }
        Ok(())
    }

    /// The floors that exist, ascending.
    fn floors(&self) -> Vec<KnownFloor> {
        self.floors_since.values().map(|(floor, since)| KnownFloor { floor: *floor, since: *since }).collect()
    }

    async fn data(&self) -> Result<Vec<(ObjectKey, FileId)>> {
        let layout = &self.objects.layout;
        let file = |entry| match entry {
            ListEntry::Object(meta) => layout.file_id_of(&meta.key).map(|id| (meta.key, id)),
            ListEntry::Prefix(_) => None,
        };
        let entries = self.objects.storage.list(layout.all_data());
        let files = entries.try_filter_map(|entry| std::future::ready(Ok(file(entry)))).try_collect();
        files.await.map_err(Error::storage("listing the data files"))
    }

    /// Waits until the clock has come so far; without a deadline for ever.
    async fn sleep_until(&self, deadline: Option<Duration>) {
        let Some(deadline) = deadline else { return std::future::pending().await };
        // The clock that counts may be another one than that which sleeps.
        while let Some(left) = deadline.checked_sub(self.watch.uptime().now()).filter(|left| !left.is_zero()) {
            tokio::time::sleep(left).await;
        }
    }
}
