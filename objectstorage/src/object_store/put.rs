//! By which requests is an object written?
//!
//! Up to a part, by one put. What is larger is uploaded in parts: while one is sent, the next one is read, so that two
//! are in memory.

use std::sync::Arc;

use futures::{TryFutureExt, future};
use object_store::{PutMultipartOptions, PutPayload, path::Path};

use super::{
    Inner,
    create::{self, id_of},
    error::{Target, WRITING, from_store},
    name::path_of,
    parts::{PART_BYTES, Parts},
    upload::Upload,
};
use crate::{Body, Error, ObjectKey, PutMode, PutOptions, PutSize, Result};

pub(super) async fn put(inner: &Arc<Inner>, key: &ObjectKey, body: Body, options: PutOptions) -> Result<()> {
    let path = path_of(key)?;
    let too_large = || Error::CreateTooLarge { key: key.clone(), limit: PART_BYTES };
    if options.mode == PutMode::Create {
        inner.check_atomic_create()?;
        if matches!(options.size, PutSize::Exact(size) if size > PART_BYTES) {
            return Err(too_large());
        }
    }
    let mut parts = Parts::new(key, body, options.size, inner.settings.unknown_size_max)?;
    let first = parts.next().await?;
    let is_whole = parts.are_finished();
    match options.mode {
        PutMode::Create if is_whole && first.content_length() as u64 <= PART_BYTES => {
            let has_attributes = inner.capabilities.attributes;
            create::create(&*inner.store, &inner.ids, has_attributes, (key, &path), first).await
        }
        PutMode::Create => Err(too_large()),
        PutMode::Overwrite if is_whole => {
            let written = inner.store.put_opts(&path, first, object_store::PutOptions::default()).await;
            written.map(drop).map_err(|error| from_store(error, WRITING, Target::Key(key)))
        }
        PutMode::Overwrite => upload(inner, (key, path), first, parts).await,
    }
}

async fn upload(inner: &Inner, (key, path): (&ObjectKey, Path), first: PutPayload, mut parts: Parts) -> Result<()> {
    let failed = |error| from_store(error, WRITING, Target::Key(key));
    let id = inner.ids.next();
    let mut options = PutMultipartOptions::default();
    if inner.capabilities.attributes {
        options.attributes = create::attributes(&id);
    }
    let mut upload = Upload::begin(inner.store.clone(), path.clone(), options).await.map_err(failed)?;
    if let Err(error) = send(&mut upload, key, first, &mut parts).await {
        upload.abort().await;
        return Err(error);
    }
    match upload.complete().await {
        Ok(()) => Ok(()),
        // Its own retry may have met an upload that was completed already.
        Err(_) if matches!(id_of(&*inner.store, &path).await, Ok(Some(Some(found))) if found == id) => Ok(()),
        Err(error) => Err(failed(error)),
    }
}

async fn send(upload: &mut Upload, key: &ObjectKey, first: PutPayload, parts: &mut Parts) -> Result<()> {
    let failed = |error| from_store(error, WRITING, Target::Key(key));
    let mut sending = upload.send(first);
    while !parts.are_finished() {
        let ((), next) = future::try_join(sending.map_err(failed), parts.next()).await?;
        sending = upload.send(next);
    }
    sending.await.map_err(failed)
}
