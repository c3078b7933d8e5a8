//! How does an upload in parts end, if it does not end well? It is aborted, always.

use std::{sync::Arc, time::Duration};

use object_store::{MultipartUpload, ObjectStore, PutMultipartOptions, PutPayload, UploadPart, path::Path};
use tokio::{runtime::Handle, sync::oneshot, time::timeout};

/// How long an upload may take to begin, retries included.
const BEGIN_TIMEOUT: Duration = Duration::from_secs(180);
/// How long it is tried to abort an upload, retries included.
const ABORT_TIMEOUT: Duration = Duration::from_secs(60);

/// An upload that is aborted when it is dropped before it was completed.
///
/// Aborting takes a request, so it goes on in a task of its own, for [`ABORT_TIMEOUT`] at most. What it cannot abort
/// (the server is away, the process ends) is for a lifecycle rule of the bucket.
#[derive(Debug)]
pub(super) struct Upload {
    /// `None` once it has ended.
    inner: Option<Box<dyn MultipartUpload>>,
    runtime: Handle,
}

impl Upload {
    /// Begins an upload.
    ///
    /// The request is made in a task of its own: whoever drops this future would not know the upload that the server
    /// may have begun nevertheless.
    pub(super) async fn begin(
        store: Arc<dyn ObjectStore>,
        path: Path,
        options: PutMultipartOptions,
    ) -> object_store::Result<Self> {
        let runtime = Handle::current();
        let (sender, receiver) = oneshot::channel();
        tokio::spawn(async move {
            if let Ok(begun) = timeout(BEGIN_TIMEOUT, store.put_multipart_opts(&path, options)).await {
                // If nobody waits for it any more, this drops it, which aborts it.
                drop(sender.send(begun.map(|inner| Self { inner: Some(inner), runtime })));
            }
        });
        receiver.await.unwrap_or_else(|source| {
            Err(object_store::Error::Generic { store: "multipart upload", source: source.into() })
        })
    }

    /// The request that sends the next part, once it is polled.
    pub(super) fn send(&mut self, part: PutPayload) -> UploadPart {
        self.inner.as_mut().expect("it has not ended: ending it consumes it").put_part(part)
    }

    /// Makes the object appear; an error says that it may have.
    pub(super) async fn complete(mut self) -> object_store::Result<()> {
        let completed = match &mut self.inner {
            Some(inner) => inner.complete().await.map(drop),
            None => Ok(()),
        };
        match completed {
            Ok(()) => self.inner = None,
            Err(_) => self.abort().await,
        }
        completed
    }

    /// Removes what was sent.
    pub(super) async fn abort(mut self) {
        if let Some(inner) = self.inner.take() {
            // In a task, so that it goes on if this future is dropped. It does not panic.
            let _ = self.runtime.spawn(abort(inner)).await;
        }
    }
}

impl Drop for Upload {
    fn drop(&mut self) {
        if let Some(inner) = self.inner.take() {
            drop(self.runtime.spawn(abort(inner)));
        }
    }
}

async fn abort(mut upload: Box<dyn MultipartUpload>) {
    let reason: Box<dyn std::error::Error + Send + Sync> = match timeout(ABORT_TIMEOUT, upload.abort()).await {
        Ok(Ok(())) => return,
        Ok(Err(error)) => error.into(),
        Err(elapsed) => elapsed.into(),
    };
    tracing::warn!(%reason, "an upload could not be aborted: a lifecycle rule of the bucket has to remove it");
}
