//! Typed reads and retried transactions, for every data manager at once.

use std::{future::Future, sync::Arc};

use async_trait::async_trait;
use bytes::Bytes;
use futures::stream::BoxStream;
use serde::de::DeserializeOwned;

use crate::{
    Collection, Committed, DataManager, Direction, Error, KeyRange, Page, Position, Result, Scan, Snapshot,
    Transaction, Tx,
    collection::{escape_index_key, primary_of_index_key},
    retry,
    system::{Internal, System},
};

/// Typed reads and retried transactions; a blanket implementation covers every data manager.
pub trait DataManagerExt: DataManager {
    /// Reads a typed entry.
    fn read<V: DeserializeOwned + Send + Sync>(
        &self,
        at: &Snapshot,
        collection: &Collection<V>,
        key: impl AsRef<[u8]> + Send,
    ) -> impl Future<Output = Result<Option<V>>> + Send {
        async move {
            let key = key.as_ref();
            let value = self.get(at, collection.name(), key).await?;
            value.map(|value| collection.decode(key, &value)).transpose()
        }
    }

    /// Reads typed entries in the order of their keys; see [`DataManager::scan`].
    fn read_range<V: DeserializeOwned + Send + Sync>(
        &self,
        at: &Snapshot,
        collection: &Collection<V>,
        range: KeyRange,
        direction: Direction,
        limit: usize,
    ) -> impl Future<Output = Result<TypedPage<V>>> + Send {
        async move {
            let scan = Scan { collection: collection.name().to_owned(), range, direction, limit };
            let Page { entries, more } = self.scan(at, &scan).await?;
            let decode = |(key, value): (Bytes, Bytes)| Ok((key.clone(), collection.decode(&key, &value)?));
            Ok(TypedPage { entries: entries.into_iter().map(decode).collect::<Result<_>>()?, more })
        }
    }

    /// Reads every entry of a range, however many there are.
    fn read_all<V: DeserializeOwned + Send + Sync>(
        &self,
        at: &Snapshot,
        collection: &Collection<V>,
        range: KeyRange,
    ) -> impl Future<Output = Result<Vec<(Bytes, V)>>> + Send {
        async move {
            let page = self.read_range(at, collection, range, Direction::Ascending, usize::MAX).await?;
            Ok(page.entries)
        }
    }

    /// Reads the entries that an index of a collection has under index keys that begin with `scan.prefix`, in the order
    /// of the index.
    fn read_index<V: DeserializeOwned + Send + Sync>(
        &self,
        at: &Snapshot,
        collection: &Collection<V>,
        scan: &IndexScan<'_>,
    ) -> impl Future<Output = Result<IndexPage<V>>> + Send {
        async move {
            let prefix = KeyRange::prefix(escape_index_key(scan.prefix));
            let range = match (&scan.after, scan.direction) {
                (None, _) => prefix,
                (Some(last), Direction::Ascending) => prefix.after(last),
                (Some(last), Direction::Descending) => prefix.before(last),
            };
            let index = collection.index_collection(scan.index);
            let request = Scan { collection: index.clone(), range, direction: scan.direction, limit: scan.limit };
            let page = self.scan(at, &request).await?;
            let next = if page.more { page.entries.last().map(|(key, _)| key.clone()) } else { None };
            let mut entries = Vec::with_capacity(page.entries.len());
            for (index_key, _) in page.entries {
                let dangling = || Error::Corrupt {
                    object: format!("{index}/{}", index_key.escape_ascii()),
                    reason: "the index leads to no entry".to_owned(),
                };
                let primary = primary_of_index_key(&index_key).ok_or_else(dangling)?;
                let value = self.read(at, collection, primary).await?.ok_or_else(dangling)?;
                entries.push((index_key.slice_ref(primary), value));
            }
            Ok(IndexPage { entries, next })
        }
    }

    /// Runs `body` on a consistent view, commits what it wrote, and does both again if something that it read changed.
    ///
    /// The body may be run several times, so it must have no effect but through its [`Tx`]. A body that fails commits
    /// nothing. A body that wrote nothing and took no change group commits nothing either, and returns the position
    /// that it read.
    ///
    /// # Errors
    /// Those of the body, and of [`DataManager::commit`] ([`Error::Conflict`] only after 256 attempts).
    fn transact<T, E, F, Fut>(&self, body: F) -> impl Future<Output = Result<(T, Position), E>> + Send
    where
        F: FnMut(Tx) -> Fut + Send,
        Fut: Future<Output = Result<T, E>> + Send,
        T: Send,
        E: From<Error> + Send,
        Self: Sized + Clone,
    {
        retry::transact(Arc::new(self.clone()), None, body)
    }
}

impl<D: DataManager + ?Sized> DataManagerExt for D {}

/// Some decoded entries, in the order of the scan.
#[derive(Clone, Debug)]
pub struct TypedPage<V> {
    /// Keys and values.
    pub entries: Vec<(Bytes, V)>,
    /// Whether the range has more entries after the last one here.
    pub more: bool,
}

/// Which entries of an index to read.
#[derive(Clone, Debug)]
pub struct IndexScan<'a> {
    /// The index.
    pub index: &'a str,
    /// What the index keys begin with.
    pub prefix: &'a [u8],
    /// The order.
    pub direction: Direction,
    /// The most entries to return; at least 1.
    pub limit: usize,
    /// Where an earlier page ended: its [`IndexPage::next`].
    pub after: Option<Bytes>,
}

/// Some entries that an index leads to, in the order of the index.
#[derive(Clone, Debug)]
pub struct IndexPage<V> {
    /// Primary keys and values.
    pub entries: Vec<(Bytes, V)>,
    /// Where the next page begins; none: there is no more.
    pub next: Option<Bytes>,
}

#[async_trait]
impl<D: DataManager + ?Sized> DataManager for Arc<D> {
    fn snapshot(&self) -> Snapshot {
        (**self).snapshot()
    }

    async fn get(&self, at: &Snapshot, collection: &str, key: &[u8]) -> Result<Option<Bytes>> {
        (**self).get(at, collection, key).await
    }

    async fn scan(&self, at: &Snapshot, scan: &Scan) -> Result<Page> {
        (**self).scan(at, scan).await
    }

    async fn commit(&self, transaction: Transaction) -> Result<Position> {
        (**self).commit(transaction).await
    }

    fn follow(&self, after: Position) -> BoxStream<'static, Result<Committed>> {
        (**self).follow(after)
    }

    async fn wait_for(&self, position: Position) -> Result<()> {
        (**self).wait_for(position).await
    }

    fn system(&self, token: Internal) -> Option<&dyn System> {
        (**self).system(token)
    }
}
