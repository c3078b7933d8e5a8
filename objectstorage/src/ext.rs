//! Conveniences on top of [`ObjectStorage`], for every implementation at once.

use std::sync::Arc;

use async_trait::async_trait;
use bytes::{Bytes, BytesMut};
use futures::TryStreamExt;

use crate::{
    Body, Durability, GetRange, ListEntry, ListRequest, ObjectKey, ObjectMeta, ObjectStorage, PutMode, PutOptions,
    PutSize, Result,
};

/// What callers write most often; a blanket implementation covers every storage.
#[async_trait]
pub trait ObjectStorageExt: ObjectStorage {
    /// Reads a whole object into memory. For objects that are known to be small.
    async fn get_bytes(&self, key: &ObjectKey) -> Result<Bytes> {
        self.get_range_bytes(key, GetRange::Full).await
    }

    /// Reads part of an object into memory.
    async fn get_range_bytes(&self, key: &ObjectKey, range: GetRange) -> Result<Bytes> {
        let mut object = self.get(key, range).await?;
        let Some(first) = object.stream.try_next().await? else { return Ok(Bytes::new()) };
        let Some(second) = object.stream.try_next().await? else { return Ok(first) };
        let mut all = BytesMut::with_capacity((object.range.end - object.range.start) as usize);
        all.extend_from_slice(&first);
        all.extend_from_slice(&second);
        while let Some(piece) = object.stream.try_next().await? {
            all.extend_from_slice(&piece);
        }
        Ok(all.freeze())
    }

    /// Writes an object from memory, durable when the call returns.
    async fn put_bytes(&self, key: &ObjectKey, bytes: Bytes, mode: PutMode) -> Result<()> {
        let size = PutSize::Exact(bytes.len() as u64);
        self.put(key, Body::from(bytes), PutOptions { size, durability: Durability::Synced, mode }).await
    }

    /// Whether an object exists.
    async fn exists(&self, key: &ObjectKey) -> Result<bool> {
        match self.head(key).await {
            Ok(_) => Ok(true),
            Err(error) if error.is_not_found() => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// Collects every object below a prefix into memory. For listings that are known to be small.
    async fn list_objects(&self, prefix: &str) -> Result<Vec<ObjectMeta>> {
        self.list(ListRequest::prefix(prefix))
            .try_filter_map(|entry| async move {
                Ok(match entry {
                    ListEntry::Object(meta) => Some(meta),
                    ListEntry::Prefix(_) => None,
                })
            })
            .try_collect()
            .await
    }
}

impl<S: ObjectStorage + ?Sized> ObjectStorageExt for S {}

#[async_trait]
impl<S: ObjectStorage + ?Sized> ObjectStorage for Arc<S> {
    async fn head(&self, key: &ObjectKey) -> Result<ObjectMeta> {
        (**self).head(key).await
    }

    async fn get(&self, key: &ObjectKey, range: GetRange) -> Result<crate::GetObject> {
        (**self).get(key, range).await
    }

    async fn put(&self, key: &ObjectKey, body: Body, options: PutOptions) -> Result<()> {
        (**self).put(key, body, options).await
    }

    async fn delete(&self, key: &ObjectKey) -> Result<()> {
        (**self).delete(key).await
    }

    fn list(&self, request: ListRequest) -> futures::stream::BoxStream<'static, Result<ListEntry>> {
        (**self).list(request)
    }
}
