//! Which executors of other processes may talk to the run service, and how do they come to?
//!
//! An operator makes a join token; an executor exchanges it for a token of its own, which it shows with every call. Both
//! are random and long, shown once, and kept as their SHA-256, by which they are found: nothing is compared in a time that
//! depends on a secret. A join token is limited by how many executors may join with it, not by time: no two clocks have to
//! agree.

use std::time::SystemTime;

use runyard_datamanager::{Collection, DataManagerExt, Direction, IndexScan, KeyRange, Snapshot};
use runyard_executor_core::contract::ExecutorId;
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use sha2::{Digest, Sha256};

use crate::{
    Error, Result, RunService,
    layout::{CREDENTIALS, EXECUTORS, JOIN_TOKENS, TOKENS_BY_HASH},
    rows::{CredentialRow, JoinTokenRow},
    service::Core,
};

/// A join token to be made.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "http", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct NewJoinToken {
    /// What people call it.
    pub name: String,
    /// How many executors may join with it; none: any number, until it is deleted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub uses: Option<u32>,
}

/// A join token, without the token.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "http", derive(schemars::JsonSchema))]
pub struct JoinToken {
    /// Its id.
    pub id: String,
    /// What people call it.
    pub name: String,
    /// How many executors may still join with it; none: any number.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub uses_left: Option<u32>,
    /// When it was made, in milliseconds since 1970.
    pub created: u64,
}

/// A join token that was just made: the only time that it is shown.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "http", derive(schemars::JsonSchema))]
pub struct CreatedJoinToken {
    /// Its id.
    pub id: String,
    /// The token, for whoever sets up executors.
    pub token: String,
}

impl std::fmt::Debug for CreatedJoinToken {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("CreatedJoinToken").field("id", &self.id).finish_non_exhaustive()
    }
}

impl RunService {
    /// Makes a token that lets executors join.
    pub async fn create_join_token(&self, new: NewJoinToken) -> Result<CreatedJoinToken> {
        let core = self.core();
        let (id, token) = (core.ids.object(), core.ids.token("ryj"));
        let NewJoinToken { name, uses: uses_left } = new;
        let row = JoinTokenRow { id: id.clone(), sha256: hash(&token), name, uses_left, created: core.clock.now() };
        let put = core.data.transact(|tx| {
            let row = &row;
            async move { Ok::<_, Error>(tx.put(&JOIN_TOKENS, &row.id, row).await?) }
        });
        put.await?;
        Ok(CreatedJoinToken { id, token })
    }

    /// The join tokens that there are, without the tokens themselves.
    pub async fn join_tokens(&self) -> Result<Vec<JoinToken>> {
        let data = &self.core().data;
        let rows = data.read_all(&data.snapshot(), &JOIN_TOKENS, KeyRange::all()).await?;
        Ok(rows.into_iter().map(|(_, row)| row.into()).collect())
    }

    /// Lets no executor join with a token any more. Those that have joined stay.
    ///
    /// # Errors
    /// [`Error::NotExist`].
    pub async fn delete_join_token(&self, id: &str) -> Result<()> {
        let deleted = self.core().data.transact(|tx| async move {
            if tx.get(&JOIN_TOKENS, id).await?.is_none() {
                return Err(Error::NotExist { what: format!("join token `{id}` does not exist") });
            }
            Ok(tx.delete(&JOIN_TOKENS, id).await?)
        });
        deleted.await.map(drop)
    }

    /// Exchanges a join token for an executor's own, which is returned this one time.
    ///
    /// An executor that has joined and not used its token yet may join again, since the answer may have been lost: its
    /// earlier token is worth nothing then.
    ///
    /// # Errors
    /// [`Error::Unauthorized`] if there is no such join token, or it has no uses left; [`Error::Forbidden`] if somebody
    /// else is this executor already.
    pub async fn join(&self, join_token: &str, executor: &ExecutorId) -> Result<String> {
        let core = self.core();
        let token = core.ids.token("rye");
        let row = CredentialRow {
            executor: executor.clone(),
            sha256: Some(hash(&token)),
            join_token: String::new(),
            used: false,
            created: core.clock.now(),
        };
        let found = core.find_token(&JOIN_TOKENS, join_token).await?;
        let invalid = || Error::Unauthorized { message: "the join token is not valid: ask for a new one".to_owned() };
        let id = found.ok_or_else(invalid)?.id;
        let joined = core.data.transact(|tx| {
            let (mut row, id) = (row.clone(), &id);
            async move {
                let mut join = tx.get(&JOIN_TOKENS, id).await?.ok_or_else(invalid)?;
                let old = tx.get(&CREDENTIALS, executor.as_str()).await?;
                let is_registered = tx.get(&EXECUTORS, executor.as_str()).await?.is_some();
                let again = match &old {
                    // An executor of that id is part of a process of the run service.
                    None if is_registered => return Err(taken(executor)),
                    Some(old) if old.sha256.is_some() && old.used => return Err(taken(executor)),
                    Some(old) => old.sha256.is_some() && old.join_token == *id,
                    None => false,
                };
                if !again && let Some(left) = &mut join.uses_left {
                    *left = left.checked_sub(1).ok_or_else(invalid)?;
                    tx.put(&JOIN_TOKENS, id, &join).await?;
                }
                row.join_token.clone_from(id);
                Ok(tx.put(&CREDENTIALS, executor.as_str(), &row).await?)
            }
        });
        joined.await?;
        tracing::info!(%executor, "an executor has joined");
        Ok(token)
    }

    /// Makes an executor's token worthless. It can join again, with a join token.
    ///
    /// What it executes goes on until it notices; to give its tasks up, remove the executor.
    ///
    /// # Errors
    /// [`Error::NotExist`] if it never joined.
    pub async fn revoke_executor(&self, executor: &ExecutorId) -> Result<()> {
        let core = self.core();
        let revoked = core.data.transact(|tx| async move {
            let row = tx.get(&CREDENTIALS, executor.as_str()).await?;
            let mut row = row.ok_or_else(|| Error::NotExist { what: format!("executor `{executor}` has no token") })?;
            if row.sha256.take().is_some() {
                tx.put(&CREDENTIALS, executor.as_str(), &row).await?;
            }
            Ok::<_, Error>(())
        });
        revoked.await?;
        // Through other processes it is told nothing more: they look before each line.
        core.sessions.disconnect(executor);
        tracing::info!(%executor, "the token of an executor was revoked");
        Ok(())
    }
}

impl Core {
    /// Whose token that is, if it is anybody's.
    #[cfg(any(test, feature = "http"))]
    pub(crate) async fn executor_of(&self, token: &str) -> Result<Option<ExecutorId>> {
        Ok(self.find_token(&CREDENTIALS, token).await?.map(|row| row.executor))
    }

    /// Notes that an executor has its token, so nobody else can join in its name any more.
    #[cfg(any(test, feature = "http"))]
    pub(crate) async fn note_token_used(&self, token: &str, executor: &ExecutorId) -> Result<()> {
        let hash = hash(token);
        let noted = self.data.transact(|tx| {
            let hash = &hash;
            async move {
                let row = tx.get(&CREDENTIALS, executor.as_str()).await?;
                if let Some(mut row) = row.filter(|row| !row.used && row.sha256.as_ref() == Some(hash)) {
                    row.used = true;
                    tx.put(&CREDENTIALS, executor.as_str(), &row).await?;
                }
                Ok::<_, Error>(())
            }
        });
        noted.await.map(drop)
    }

    async fn find_token<T: DeserializeOwned + Send + Sync>(
        &self,
        collection: &Collection<T>,
        token: &str,
    ) -> Result<Option<T>> {
        let prefix = hash(token);
        let (index, direction, limit, after) = (TOKENS_BY_HASH, Direction::Ascending, 1, None);
        let scan = IndexScan { index, prefix: prefix.as_bytes(), direction, limit, after };
        let at: Snapshot = self.data.snapshot();
        let page = self.data.read_index(&at, collection, &scan).await?;
        Ok(page.entries.into_iter().next().map(|(_, row)| row))
    }
}

fn taken(executor: &ExecutorId) -> Error {
    let message = format!("there is an executor `{executor}` already: revoke its token before it joins again");
    Error::Forbidden { message }
}

fn hash(token: &str) -> String {
    Sha256::digest(token.as_bytes()).iter().map(|byte| format!("{byte:02x}")).collect()
}

impl From<JoinTokenRow> for JoinToken {
    fn from(row: JoinTokenRow) -> Self {
        let JoinTokenRow { id, name, uses_left, created, sha256: _ } = row;
        let created = created.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_millis() as u64;
        Self { id, name, uses_left, created }
    }
}

#[cfg(test)]
mod tests {
    use runyard_datamanager::MemoryDataManager;
    use runyard_executor_core::contract::{ExecutorStatus, RunServiceClient};
    use runyard_objectstorage::MemoryStorage;

    use super::*;
    use crate::{ErrorKind, IdSource};

    fn service() -> RunService {
        RunService::builder(MemoryDataManager::new(), MemoryStorage::new()).ids(IdSource::from_seed(1)).build()
    }

    fn id(id: &str) -> ExecutorId {
        ExecutorId::parse(id).expect("valid")
    }

    async fn join_token(runs: &RunService, uses: Option<u32>) -> CreatedJoinToken {
        runs.create_join_token(NewJoinToken { name: "rack 1".into(), uses }).await.expect("made")
    }

    fn kind<T: std::fmt::Debug>(result: Result<T>) -> ErrorKind {
        result.expect_err("refused").kind()
    }

    #[tokio::test]
    async fn a_join_token_is_exchanged_for_one_that_names_the_executor() {
        let runs = service();
        let join = join_token(&runs, None).await;
        let (a, b) = (id("a"), id("b"));
        let [of_a, of_b] = [runs.join(&join.token, &a).await, runs.join(&join.token, &b).await];
        let (of_a, of_b) = (of_a.expect("joined"), of_b.expect("joined"));
        let core = runs.core();
        assert_eq!(core.executor_of(&of_a).await.expect("read"), Some(a));
        assert_eq!(core.executor_of(&of_b).await.expect("read"), Some(b));
        for wrong in ["", "rye_", &join.token, &of_a[..20]] {
            assert_eq!(core.executor_of(wrong).await.expect("read"), None, "{wrong}");
        }
        assert_eq!(kind(runs.join("ryj_guessed", &id("c")).await), ErrorKind::Unauthorized);
        assert_eq!(kind(runs.join(&of_a, &id("c")).await), ErrorKind::Unauthorized);
    }

    #[tokio::test]
    async fn as_many_executors_join_as_a_token_allows() {
        let runs = service();
        let join = join_token(&runs, Some(1)).await;
        let first = runs.join(&join.token, &id("a")).await.expect("joined");
        // The answer was lost: the same one joins again, and the token that it never saw is worth nothing.
        let second = runs.join(&join.token, &id("a")).await.expect("joined again");
        assert_eq!(runs.core().executor_of(&first).await.expect("read"), None);
        assert_eq!(runs.core().executor_of(&second).await.expect("read"), Some(id("a")));
        assert_eq!(kind(runs.join(&join.token, &id("b")).await), ErrorKind::Unauthorized);
        assert_eq!(runs.join_tokens().await.expect("read")[0].uses_left, Some(0));
        runs.delete_join_token(&join.id).await.expect("deleted");
        assert!(runs.join_tokens().await.expect("read").is_empty());
        assert_eq!(kind(runs.delete_join_token(&join.id).await), ErrorKind::NotExist);
        assert_eq!(kind(runs.join(&join.token, &id("c")).await), ErrorKind::Unauthorized);
    }

    #[tokio::test]
    async fn nobody_joins_in_the_name_of_another() {
        let runs = service();
        let join = join_token(&runs, None).await;
        let token = runs.join(&join.token, &id("a")).await.expect("joined");
        runs.core().note_token_used(&token, &id("a")).await.expect("noted");
        assert_eq!(kind(runs.join(&join.token, &id("a")).await), ErrorKind::Forbidden);
        // An executor inside of a process of the run service has no token at all.
        let status = ExecutorStatus::new(id("local"), 1);
        let client: std::sync::Arc<dyn RunServiceClient> = runs.client();
        client.register(status).await.expect("registered");
        assert_eq!(kind(runs.join(&join.token, &id("local")).await), ErrorKind::Forbidden);
    }

    #[tokio::test]
    async fn a_revoked_token_is_nobodys_and_its_executor_may_join_again() {
        let runs = service();
        let join = join_token(&runs, Some(2)).await;
        let token = runs.join(&join.token, &id("a")).await.expect("joined");
        runs.core().note_token_used(&token, &id("a")).await.expect("noted");
        runs.revoke_executor(&id("a")).await.expect("revoked");
        assert_eq!(runs.core().executor_of(&token).await.expect("read"), None);
        let again = runs.join(&join.token, &id("a")).await.expect("joined again");
        assert_eq!(runs.core().executor_of(&again).await.expect("read"), Some(id("a")));
        assert_eq!(runs.join_tokens().await.expect("read")[0].uses_left, Some(0));
        assert_eq!(kind(runs.revoke_executor(&id("b")).await), ErrorKind::NotExist);
    }

    #[test]
    fn no_token_is_shown_by_debug() {
        let created = CreatedJoinToken { id: "i".into(), token: "hunter2".into() };
        assert!(!format!("{created:?}").contains("hunter2"));
    }
}
