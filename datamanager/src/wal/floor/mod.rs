//! Where does the log begin?
//!
//! A floor says below which number the log may be deleted. Floors are numbered without a gap, created and never
//! overwritten; the newest one counts. Before anything of the log is deleted, a floor above it was published for a
//! while. So a process that was asleep meanwhile learns from the floor that what it sees of the log is not the log: a
//! slot that seems free was cleaned, and what is in it now was put there by another sleeper. When it must ask is
//! [decided](gate) apart.

use std::{
    sync::{Arc, Mutex, MutexGuard},
    time::Duration,
};

use futures::TryStreamExt;
use runyard_objectstorage::{GetRange, ListEntry, ObjectStorageExt, PutMode};

use crate::{
    Error, Result,
    broken::{self, Broken},
    wal::{log::LogObjects, uptime::Uptime},
};

pub(crate) mod format;
pub(crate) mod gate;

pub(crate) use gate::Checked;
use gate::{FloorGate, Look};

/// The beginning of the log. Number 0 is that of a store whose log was never cleaned.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Floor {
    pub(crate) number: u64,
    /// Everything of the log below may be deleted.
    pub(crate) lsn: u64,
}

/// The floor as this process knows it. Clones know the same.
#[derive(Clone, Debug)]
pub(crate) struct FloorWatch {
    log: LogObjects,
    uptime: Arc<dyn Uptime>,
    gate: Arc<Mutex<FloorGate>>,
}

/// Whether the batch that a writer found to be its own is in the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Standing {
    /// It is.
    InTheLog,
    /// The log has gone on without the slot: it was cleaned before the batch came into it, or afterwards.
    Unknown,
}

impl FloorWatch {
    pub(crate) fn new(log: LogObjects, uptime: Arc<dyn Uptime>) -> Self {
        Self { log, uptime, gate: Arc::default() }
    }

    pub(crate) fn log(&self) -> &LogObjects {
        &self.log
    }

    pub(crate) fn uptime(&self) -> &Arc<dyn Uptime> {
        &self.uptime
    }

    /// The newest floor that was seen.
    pub(crate) fn known(&self) -> Floor {
        self.gate().known()
    }

    /// Whether a slot, of which everything was heard until now, is below the floor; reads the floor where it must.
    pub(crate) async fn is_above(&self, lsn: u64) -> Result<bool> {
        Ok(self.check(lsn).await?.is_none())
    }

    /// That a slot is not below the floor, by a read that is not old; none if it is below.
    pub(crate) async fn check(&self, lsn: u64) -> Result<Option<Checked>> {
        self.look(self.uptime.now()).await?;
        Ok(self.gate().checked(lsn))
    }

    /// Whether our batch is in the log, which was found in its slot until now; reads the floor where it must.
    pub(crate) async fn standing(&self, lsn: u64, checked: Checked) -> Result<Standing> {
        let heard = self.uptime.now();
        self.look(heard).await?;
        let in_the_log = checked.proves(heard) || self.gate().checked(lsn).is_some();
        Ok(if in_the_log { Standing::InTheLog } else { Standing::Unknown })
    }

    /// Reads the newest floor from a listing, whatever is known.
    pub(crate) async fn list(&self) -> Result<Floor> {
        let began = self.uptime.now();
        let newest = self.log.newest_floor().await?;
        self.gate().learn(began, newest);
        Ok(self.known())
    }

    async fn look(&self, heard: Duration) -> Result<()> {
        let look = self.gate().look(heard);
        match look {
            _ if broken::is(Broken::FloorUnread) => Ok(()),
            Look::None => Ok(()),
            Look::Next => self.look_for_next().await,
            Look::List => self.list().await.map(drop),
        }
    }

    async fn look_for_next(&self) -> Result<()> {
        let began = self.uptime.now();
        let mut newest = self.known();
        while self.log.has_floor(newest.number + 1).await? {
            match self.log.read_floor(newest.number + 1).await? {
                Some(next) => newest = next,
                None => return self.list().await.map(drop),
            }
        }
        // Had it taken so long, the next floor could have come and gone.
        let look = self.gate().look(self.uptime.now());
        if look == Look::List {
            return self.list().await.map(drop);
        }
        self.gate().learn(began, newest);
        Ok(())
    }

    fn gate(&self) -> MutexGuard<'_, FloorGate> {
        self.gate.lock().expect("the lock is never poisoned: no panic while held")
    }
}

impl LogObjects {
    async fn has_floor(&self, number: u64) -> Result<bool> {
        self.storage
            .exists(&self.layout.floor(number))
            .await
            .map_err(Error::storage("looking for the floor of the log"))
    }

    /// Reads a floor; none if it does not exist.
    pub(crate) async fn read_floor(&self, number: u64) -> Result<Option<Floor>> {
        let key = self.layout.floor(number);
        let range = GetRange::Bounded { start: 0, end: format::BYTES as u64 + 1 };
        let bytes = match self.storage.get_range_bytes(&key, range).await {
            Ok(bytes) => bytes,
            Err(error) if error.is_not_found() => return Ok(None),
            Err(error) => return Err(Error::storage("reading the floor of the log")(error)),
        };
        let corrupt = |damage: &str| Error::Corrupt { object: key.to_string(), reason: damage.to_owned() };
        format::decode(number, &bytes).map(Some).map_err(corrupt)
    }

    /// The numbers of all floors, ascending.
    pub(crate) async fn floor_numbers(&self) -> Result<Vec<u64>> {
        let number = |entry| match entry {
            ListEntry::Object(meta) => self.layout.floor_number_of(&meta.key),
            ListEntry::Prefix(_) => None,
        };
        let entries = self.storage.list(self.layout.floors_after(0));
        let numbers = entries.try_filter_map(|entry| std::future::ready(Ok(number(entry)))).try_collect();
        numbers.await.map_err(Error::storage("listing the floors of the log"))
    }

    async fn newest_floor(&self) -> Result<Floor> {
        loop {
            let Some(newest) = self.floor_numbers().await?.last().copied() else { return Ok(Floor::default()) };
            // Deleted meanwhile: then there is a newer one.
            if let Some(floor) = self.read_floor(newest).await? {
                return Ok(floor);
            }
        }
    }

    /// Publishes a floor. False: there is one of this number.
    pub(crate) async fn create_floor(&self, floor: Floor) -> Result<bool> {
        match self.storage.put_bytes(&self.layout.floor(floor.number), format::encode(floor), PutMode::Create).await {
            Ok(()) => Ok(true),
            Err(error) if error.is_already_exists() => Ok(false),
            Err(error) => Err(Error::storage("publishing the floor of the log")(error)),
        }
    }
}
