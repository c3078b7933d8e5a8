//! Who leads, and who led until a moment ago?
//!
//! The log says so, and nobody else: a new leader commits an entry with a higher epoch, and every transaction of a
//! leader reads the entry of its role. So a leader that was deposed cannot commit anything after that, wherever it was
//! meanwhile, and whatever a coordinator told it.

use std::{future::Future, sync::Arc};

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use crate::{
    Action, DataManager, Error, Position, ReadSet, Result, Snapshot, Transaction, Tx,
    broken::{self, Broken},
    limits,
    retry::{self, ATTEMPTS_MAX},
    system::{self, Internal, System},
};

/// What is kept under the key of a role.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Leader {
    epoch: u64,
    holder: String,
}

/// That one process leads a role, until another one takes it over.
///
/// ```
/// use runyard_datamanager::{Collection, Error, Leadership, MemoryDataManager};
///
/// const JOBS: Collection<u32> = Collection::new("jobs");
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Error> {
/// let data = MemoryDataManager::new();
/// let first = Leadership::acquire(&data, "scheduler", "host a").await?;
/// first.transact(&data, async |tx| tx.put(&JOBS, "1", &1).await).await?;
///
/// let second = Leadership::acquire(&data, "scheduler", "host b").await?;
/// assert!(second.epoch() > first.epoch());
/// let deposed = first.transact(&data, async |tx| tx.put(&JOBS, "1", &2).await).await;
/// assert!(matches!(deposed, Err(Error::TakenOver { message }) if message.contains("host b")));
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Leadership {
    role: String,
    leader: Leader,
}

impl Leadership {
    /// Takes a role over from whoever has it.
    ///
    /// `holder` is what the one who is deposed, and its operator, will be told: an address, or a process id.
    pub async fn acquire(data: &dyn DataManager, role: &str, holder: &str) -> Result<Self> {
        let system = system_of(data)?;
        let key = system::leader(role);
        let mut attempt = 1;
        loop {
            let at = data.snapshot();
            let epoch = read(system, &at, role).await?.map_or(0, |leader| leader.epoch) + 1;
            let leader = Leader { epoch, holder: holder.to_owned() };
            let value = serde_json::to_vec(&leader).map_err(|source| decode_error(role, source))?;
            let keys = vec![(system::SYSTEM.to_owned(), key.clone())];
            let reads = ReadSet { position: at.position(), keys, ..ReadSet::default() };
            let collection = system::SYSTEM.to_owned();
            let actions = vec![Action::Put { collection, key: key.clone(), value: value.into() }];
            match system.commit_own(Transaction { reads, actions }).await {
                Ok(_) => return Ok(Self { role: role.to_owned(), leader }),
                Err(error) if error.is_conflict() && attempt < ATTEMPTS_MAX => attempt += 1,
                Err(error) => return Err(error),
            }
        }
    }

    /// The role.
    pub fn role(&self) -> &str {
        &self.role
    }

    /// How often the role was taken over up to and with this time.
    pub fn epoch(&self) -> u64 {
        self.leader.epoch
    }

    /// Whether the role is still led by this one, at a snapshot.
    ///
    /// # Errors
    /// [`Error::TakenOver`] with who leads instead.
    pub async fn check(&self, data: &dyn DataManager, at: &Snapshot) -> Result<()> {
        let Self { role, leader: Leader { epoch, holder } } = self;
        match read(system_of(data)?, at, role).await? {
            Some(leader) if leader == self.leader => Ok(()),
            Some(leader) if leader.epoch >= *epoch => Err(Error::TakenOver {
                message: format!(
                    "role `{role}` was taken over by {} in epoch {}; {holder} had it in epoch {epoch}",
                    leader.holder, leader.epoch
                ),
            }),
            _ => Err(Error::Refused {
                reason: format!("at {} role `{role}` was not yet taken in epoch {epoch}", at.position()),
            }),
        }
    }

    /// Commits a transaction that was decided at `at`, unless the role was taken over.
    ///
    /// # Errors
    /// [`Error::TakenOver`] with who leads instead, and those of [`DataManager::commit`].
    pub async fn commit(
        &self,
        data: &dyn DataManager,
        at: &Snapshot,
        mut transaction: Transaction,
    ) -> Result<Position> {
        limits::check(&transaction)?;
        let reads = &mut transaction.reads;
        if !reads.is_empty() && reads.position != at.position() {
            let reason = format!("it read at {}, and its leader was checked at {}", reads.position, at.position());
            return Err(Error::Refused { reason });
        }
        self.check(data, at).await?;
        reads.position = at.position();
        // Not changed until now is checked above, and not changed from now on here.
        if !broken::is(Broken::LeaderEpochUnread) {
            reads.keys.push((system::SYSTEM.to_owned(), system::leader(&self.role)));
        }
        match system_of(data)?.commit_own(transaction).await {
            Err(conflict) if conflict.is_conflict() => {
                self.check(data, &data.snapshot()).await?;
                Err(conflict)
            }
            result => result,
        }
    }

    /// Runs `body` and commits what it wrote, as [`transact`](crate::DataManagerExt::transact) does, unless the role
    /// was taken over.
    ///
    /// # Errors
    /// Those of the body and of [`commit`](Self::commit).
    pub fn transact<D, T, E, F, Fut>(&self, data: &D, body: F) -> impl Future<Output = Result<(T, Position), E>> + Send
    where
        D: DataManager + Clone,
        F: FnMut(Tx) -> Fut + Send,
        Fut: Future<Output = Result<T, E>> + Send,
        T: Send,
        E: From<Error> + Send,
    {
        retry::transact(Arc::new(data.clone()), Some(self), body)
    }
}

fn system_of(data: &dyn DataManager) -> Result<&dyn System> {
    data.system(Internal::new())
        .ok_or_else(|| Error::Refused { reason: "this data manager has no place to keep leaders in".to_owned() })
}

async fn read(system: &dyn System, at: &Snapshot, role: &str) -> Result<Option<Leader>> {
    let value: Option<Bytes> = system.get_own(at, &system::leader(role)).await?;
    let decode = |value: Bytes| serde_json::from_slice(&value).map_err(|source| decode_error(role, source));
    value.map(decode).transpose()
}

fn decode_error(role: &str, source: serde_json::Error) -> Error {
    let collection = system::SYSTEM.escape_default().to_string();
    Error::Decode { collection, key: format!("leader/{role}"), source: Arc::new(source) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::MemoryDataManager;

    #[tokio::test]
    async fn an_entry_of_a_leader_is_what_it_was() {
        let data = MemoryDataManager::new();
        Leadership::acquire(&data, "scheduler", "host a").await.expect("nobody else");
        let system = system_of(&data).expect("it has one");
        let value = system.get_own(&data.snapshot(), b"leader/scheduler").await.expect("readable");
        assert_eq!(value.as_deref(), Some(&br#"{"epoch":1,"holder":"host a"}"#[..]));
    }
}
