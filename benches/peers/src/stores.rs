//! The stores, each at the durability that a data manager has: on the disk when the write returns.

use std::{
    path::Path,
    sync::{Arc, Mutex},
    time::Duration,
};

use bytes::Bytes;
use fjall::{Database, Keyspace, KeyspaceCreateOptions, PersistMode};
use futures::future::BoxFuture;
use redb::TableDefinition;
use runyard_datamanager::{Action, DataManager, Transaction, WalDataManager};
use runyard_objectstorage::{ObjectKey, ObjectStorageExt, PosixStorage, PutMode};
use tokio::sync::{mpsc, oneshot};

use crate::Outcome;

const ONE_OBJECT: &str = "floor: one persisted object a write";
const ONE_GROUP: &str = "floor: one persisted object a group";
const OURS: &str = "runyard-datamanager";
const SLATEDB: [(&str, Duration); 3] = [
    ("slatedb, fsync, flush every 0.5 ms", Duration::from_micros(500)),
    ("slatedb, fsync, flush every 1 ms", Duration::from_millis(1)),
    ("slatedb, fsync, flush every 2 ms", Duration::from_millis(2)),
];
const SQLITE: &str = "sqlite, WAL, synchronous=FULL";
const FJALL: &str = "fjall, SyncData";
const REDB: &str = "redb, Immediate";

/// A durable store, as far as it is compared.
pub trait Store: Send + Sync {
    /// Writes one entry; it is on the disk when this returns.
    fn put(&self, key: String, value: Vec<u8>) -> BoxFuture<'_, Outcome>;

    fn close(&self) -> BoxFuture<'_, Outcome> {
        Box::pin(async { Ok(()) })
    }
}

/// The stores in the order of measurement; the floor for this many writers first.
pub fn names(writers: usize) -> Vec<&'static str> {
    let floors = if writers == 1 { [ONE_OBJECT, ONE_GROUP] } else { [ONE_GROUP, ONE_OBJECT] };
    let others = SLATEDB.into_iter().map(|(name, _)| name).chain([SQLITE, FJALL, REDB]);
    floors.into_iter().chain([OURS]).chain(others).collect()
}

pub async fn open(name: &str, directory: &Path) -> Outcome<Arc<dyn Store>> {
    if let Some((_, interval)) = SLATEDB.into_iter().find(|(slatedb, _)| *slatedb == name) {
        return Ok(Arc::new(open_slatedb(directory, interval).await?));
    }
    let storage = PosixStorage::open(directory.join("objects")).await?;
    Ok(match name {
        ONE_OBJECT => Arc::new(OneObject(storage)),
        ONE_GROUP => Arc::new(OneGroup::new(storage)),
        OURS => Arc::new(WalDataManager::builder(Arc::new(storage)).open().await?),
        SQLITE => Arc::new(open_sqlite(directory)?),
        FJALL => Arc::new(open_fjall(directory)?),
        REDB => Arc::new(open_redb(directory)?),
        other => return Err(format!("there is no store `{other}`").into()),
    })
}

struct OneObject(PosixStorage);

impl Store for OneObject {
    fn put(&self, key: String, value: Vec<u8>) -> BoxFuture<'_, Outcome> {
        Box::pin(async move { Ok(self.0.put_bytes(&ObjectKey::parse(&key)?, value.into(), PutMode::Create).await?) })
    }
}

type Waiting = (Vec<u8>, oneshot::Sender<()>);

/// A group commit with nothing around it: what waits goes into one object.
struct OneGroup(mpsc::UnboundedSender<Waiting>);

impl OneGroup {
    fn new(storage: PosixStorage) -> Self {
        let (sender, mut receiver) = mpsc::unbounded_channel::<Waiting>();
        tokio::spawn(async move {
            let mut group = Vec::new();
            for number in 0_u64.. {
                if receiver.recv_many(&mut group, 1024).await == 0 {
                    return;
                }
                let mut object = Vec::new();
                for (value, _) in &group {
                    object.extend_from_slice(&(value.len() as u32).to_le_bytes());
                    object.extend_from_slice(value);
                }
                let key = ObjectKey::parse(&format!("log/{number:020}")).expect("a valid key");
                storage.put_bytes(&key, object.into(), PutMode::Create).await.expect("the disk works");
                for (_, done) in group.drain(..) {
                    let _ = done.send(());
                }
                tokio::task::yield_now().await;
            }
        });
        Self(sender)
    }
}

impl Store for OneGroup {
    fn put(&self, _: String, value: Vec<u8>) -> BoxFuture<'_, Outcome> {
        Box::pin(async move {
            let (done, written) = oneshot::channel();
            self.0.send((value, done))?;
            Ok(written.await?)
        })
    }
}

impl Store for WalDataManager {
    fn put(&self, key: String, value: Vec<u8>) -> BoxFuture<'_, Outcome> {
        Box::pin(async move {
            let put = Action::Put { collection: "entries".to_owned(), key: key.into(), value: value.into() };
            self.commit(Transaction { actions: vec![put], ..Transaction::default() }).await?;
            Ok(())
        })
    }

    fn close(&self) -> BoxFuture<'_, Outcome> {
        Box::pin(async move {
            WalDataManager::close(self).await;
            Ok(())
        })
    }
}

async fn open_slatedb(directory: &Path, interval: Duration) -> Outcome<slatedb::Db> {
    let objects = object_store::local::LocalFileSystem::new_with_prefix(directory)?.with_fsync(true);
    let settings = slatedb::config::Settings { flush_interval: Some(interval), ..Default::default() };
    Ok(slatedb::Db::builder("slatedb", Arc::new(objects)).with_settings(settings).build().await?)
}

impl Store for slatedb::Db {
    fn put(&self, key: String, value: Vec<u8>) -> BoxFuture<'_, Outcome> {
        Box::pin(async move {
            let written = self.put_bytes(key.into(), Bytes::from(value)).await?;
            Ok(written.await_durable().await?)
        })
    }

    fn close(&self) -> BoxFuture<'_, Outcome> {
        Box::pin(async move { Ok(slatedb::Db::close(self).await?) })
    }
}

/// Runs a write that blocks.
fn blocking(write: impl FnOnce() -> Outcome + Send + 'static) -> BoxFuture<'static, Outcome> {
    Box::pin(async move { tokio::task::spawn_blocking(write).await? })
}

struct Sqlite(Arc<Mutex<rusqlite::Connection>>);

fn open_sqlite(directory: &Path) -> Outcome<Sqlite> {
    let connection = rusqlite::Connection::open(directory.join("sqlite.db"))?;
    connection.pragma_update(None, "journal_mode", "WAL")?;
    connection.pragma_update(None, "synchronous", "FULL")?;
    connection.execute("CREATE TABLE entries (key TEXT PRIMARY KEY, value BLOB) WITHOUT ROWID", [])?;
    Ok(Sqlite(Arc::new(Mutex::new(connection))))
}

impl Store for Sqlite {
    fn put(&self, key: String, value: Vec<u8>) -> BoxFuture<'_, Outcome> {
        let connection = self.0.clone();
        blocking(move || {
            let connection = connection.lock().map_err(|_| "poisoned")?;
            let mut insert = connection.prepare_cached("INSERT OR REPLACE INTO entries VALUES (?1, ?2)")?;
            insert.execute((key, value))?;
            Ok(())
        })
    }
}

struct Fjall(Database, Keyspace);

fn open_fjall(directory: &Path) -> Outcome<Fjall> {
    let database = Database::builder(directory.join("fjall")).open()?;
    let entries = database.keyspace("entries", KeyspaceCreateOptions::default)?;
    Ok(Fjall(database, entries))
}

impl Store for Fjall {
    fn put(&self, key: String, value: Vec<u8>) -> BoxFuture<'_, Outcome> {
        let (database, entries) = (self.0.clone(), self.1.clone());
        blocking(move || {
            let mut batch = database.batch().durability(Some(PersistMode::SyncData));
            batch.insert(&entries, key.into_bytes(), value);
            Ok(batch.commit()?)
        })
    }
}

const ENTRIES: TableDefinition<'_, &str, &[u8]> = TableDefinition::new("entries");

struct Redb(Arc<redb::Database>);

fn open_redb(directory: &Path) -> Outcome<Redb> {
    let database = redb::Database::create(directory.join("redb.db"))?;
    Ok(Redb(Arc::new(database)))
}

impl Store for Redb {
    fn put(&self, key: String, value: Vec<u8>) -> BoxFuture<'_, Outcome> {
        let database = self.0.clone();
        blocking(move || {
            // `Durability::Immediate` is the default, and said here because it is what is compared.
            let mut write = database.begin_write()?;
            write.set_durability(redb::Durability::Immediate)?;
            write.open_table(ENTRIES)?.insert(&*key, &*value)?;
            Ok(write.commit()?)
        })
    }
}
