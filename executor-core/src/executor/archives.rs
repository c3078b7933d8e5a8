//! How do workspaces and caches get into a pod and out of it?
//!
//! Archives are streamed between the toolbox in the pod and the run service; they are never held in memory. Every
//! call may be repeated, so an archive that breaks off because the run service does not answer is begun again.

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering},
};

use bytes::Bytes;
use futures::{
    StreamExt as _, TryStreamExt as _,
    future::{BoxFuture, FutureExt as _},
};

use super::{attempt::Attempt, environment, setup::Place, task_log::TaskLog};
use crate::{
    contract::{
        ByteStream, CachePut, ClientError, Contents, FailureClass, RestoreCacheStep, RestoreWorkspaceStep,
        SaveCacheStep, SaveToWorkspaceStep, Step,
    },
    driver::{DriverError, SetupLog as _, ToolboxCall, ToolboxFailed, chain},
};

/// How often a transfer is tried.
const TRIES: u32 = 5;

/// Why a step of archives did not succeed.
#[derive(Debug, thiserror::Error)]
pub(super) enum ArchiveError {
    /// The files or the templates of the task are the reason.
    #[error("{0}")]
    Toolbox(ToolboxFailed),
    #[error("{}", chain(.0))]
    Client(ClientError),
    #[error("{}", .0.user_message())]
    Driver(DriverError),
    #[error("{message}")]
    Transfer { message: String },
}

impl ArchiveError {
    pub(super) fn class(&self) -> FailureClass {
        match self {
            Self::Toolbox(_) => FailureClass::Exit,
            Self::Client(_) | Self::Driver(_) | Self::Transfer { .. } => FailureClass::Infrastructure,
        }
    }

    fn is_retryable(&self) -> bool {
        matches!(self, Self::Client(error) if error.is_retryable()) || matches!(self, Self::Transfer { .. })
    }
}

type Result<T> = std::result::Result<T, ArchiveError>;

/// Does step `number`, which is not a command.
pub(super) async fn run(attempt: &Attempt, number: u32, place: &Place, log: &TaskLog) -> Result<()> {
    let work = Work { attempt, number, place, log };
    match &attempt.entry.task.steps.0[number as usize] {
        Step::Run(_) => unreachable!("a command is not an archive"),
        Step::SaveToWorkspace(step) => work.save_to_workspace(step).await,
        Step::RestoreWorkspace(step) => work.restore_workspace(step).await,
        Step::SaveCache(step) => work.save_cache(step).await,
        Step::RestoreCache(step) => work.restore_cache(step).await,
    }
}

struct Work<'a> {
    attempt: &'a Attempt,
    number: u32,
    place: &'a Place,
    log: &'a TaskLog,
}

impl Work<'_> {
    async fn save_to_workspace(&self, step: &SaveToWorkspaceStep) -> Result<()> {
        let client = &self.attempt.context.client;
        let size = self
            .retried("saving to the workspace", || {
                async {
                    let (archive, watched) = self.archive(&step.contents).await?;
                    let fence = self.attempt.context.current_fence(&self.attempt.held).await;
                    let put = client.put_workspace(&fence, self.number, archive).await;
                    watched.settle(put).map(|()| watched.bytes())
                }
                .boxed()
            })
            .await?;
        self.log.line(&format!("saved {} to the workspace", human(size)));
        Ok(())
    }

    async fn restore_workspace(&self, step: &RestoreWorkspaceStep) -> Result<()> {
        let archives = &self.attempt.entry.task.workspace;
        if archives.is_empty() {
            self.log.line("the workspace is empty: nothing to restore");
        }
        let client = &self.attempt.context.client;
        for archive in archives {
            let size = self
                .retried("restoring the workspace", || {
                    async {
                        let fence = self.attempt.context.current_fence(&self.attempt.held).await;
                        let opened = client.get_workspace(&fence, &archive.task, archive.step).await;
                        self.unpack(&step.dest_dir, false, opened.map_err(ArchiveError::Client)?).await
                    }
                    .boxed()
                })
                .await?;
            let (name, number) = (&archive.name, archive.step + 1);
            self.log.line(&format!("restored {} that step {number} of task `{name}` saved", human(size)));
        }
        Ok(())
    }

    async fn save_cache(&self, step: &SaveCacheStep) -> Result<()> {
        let key = self.render(&step.key).await?;
        let Attempt { context, held, .. } = self.attempt;
        let (client, asked) = (&*context.client, key.as_str());
        let exists = context.call(held, |fence| async move { client.cache_exists(&fence, asked).await }).await;
        if exists.map_err(ArchiveError::Client)? {
            self.log.line(&format!("the cache has `{key}` already: nothing to save"));
            return Ok(());
        }
        let (put, size) = self
            .retried("saving the cache", || {
                async {
                    let (archive, watched) = self.archive(&step.contents).await?;
                    let fence = context.current_fence(held).await;
                    let put = context.client.put_cache(&fence, &key, archive).await;
                    watched.settle(put).map(|put| (put, watched.bytes()))
                }
                .boxed()
            })
            .await?;
        self.log.line(&match put {
            CachePut::Stored => format!("saved {} to the cache as `{key}`", human(size)),
            CachePut::Exists => format!("the cache got `{key}` meanwhile: nothing was saved"),
        });
        Ok(())
    }

    async fn restore_cache(&self, step: &RestoreCacheStep) -> Result<()> {
        let mut keys = Vec::with_capacity(step.keys.len());
        for template in &step.keys {
            keys.push(self.render(template).await?);
        }
        let Attempt { context, held, .. } = self.attempt;
        let found = self
            .retried("restoring the cache", || {
                async {
                    let fence = context.current_fence(held).await;
                    let Some(hit) = context.client.get_cache(&fence, &keys).await.map_err(ArchiveError::Client)? else {
                        return Ok(None);
                    };
                    self.unpack(&step.dest_dir, true, hit.archive).await.map(|size| Some((hit.key, size)))
                }
                .boxed()
            })
            .await?;
        self.log.line(&match found {
            Some((key, size)) => format!("restored {} from the cache `{key}`", human(size)),
            None => format!(
                "the cache has nothing for {}",
                keys.iter().map(|key| format!("`{key}`")).collect::<Vec<_>>().join(", ")
            ),
        });
        Ok(())
    }

    async fn render(&self, template: &str) -> Result<String> {
        let call = ToolboxCall::CacheKey {
            working_dir: self.place.working_dir.clone(),
            template: template.to_owned(),
            environment: environment::environment(&self.attempt.entry.task, None),
        };
        let run = self.place.pod.toolbox(call, None).await.map_err(ArchiveError::Driver)?;
        let key: Vec<Bytes> = run.output.try_collect().await.map_err(toolbox_error)?;
        let key = String::from_utf8(key.concat())
            .map_err(|_| ArchiveError::Toolbox(ToolboxFailed { message: "the cache key is not UTF-8".into() }))?;
        Ok(key.trim_end_matches('\0').to_owned())
    }

    /// Packs files. What becomes of the stream is watched from beside.
    async fn archive(&self, contents: &[Contents]) -> Result<(ByteStream, Watched)> {
        let call = ToolboxCall::Archive { working_dir: self.place.working_dir.clone(), contents: contents.to_vec() };
        let run = self.place.pod.toolbox(call, None).await.map_err(ArchiveError::Driver)?;
        let watched = Watched::default();
        let (bytes, failure) = (watched.bytes.clone(), watched.failure.clone());
        let output = run.output.map(move |item| match item {
            Ok(piece) => {
                bytes.fetch_add(piece.len() as u64, Ordering::Relaxed);
                Ok(piece)
            }
            Err(error) => {
                let text = error.to_string();
                *failure.lock().expect("no panic happens while it is locked") = Some(toolbox_error(error));
                Err(text.into())
            }
        });
        Ok((output.boxed(), watched))
    }

    /// Unpacks an archive; returns its size.
    async fn unpack(&self, dest_dir: &str, overwrite: bool, archive: ByteStream) -> Result<u64> {
        let watched = Watched::default();
        let bytes = watched.bytes.clone();
        let archive = archive.inspect_ok(move |piece| {
            bytes.fetch_add(piece.len() as u64, Ordering::Relaxed);
        });
        let call = ToolboxCall::Unarchive {
            working_dir: self.place.working_dir.clone(),
            dest_dir: dest_dir.to_owned(),
            overwrite,
        };
        let run = self.place.pod.toolbox(call, Some(archive.boxed())).await.map_err(ArchiveError::Driver)?;
        run.output.try_for_each(|_| std::future::ready(Ok(()))).await.map_err(toolbox_error)?;
        for message in run.end.await.messages {
            self.log.line(&message);
        }
        Ok(watched.bytes())
    }

    async fn retried<'a, T>(&'a self, doing: &str, work: impl Fn() -> BoxFuture<'a, Result<T>>) -> Result<T> {
        let context = &self.attempt.context;
        let mut backoff = context.backoff();
        let mut tries = 0;
        loop {
            tries += 1;
            let link = *context.link.borrow();
            match work().await {
                // Our own new registration came in between.
                Err(ArchiveError::Client(ClientError::Fenced { .. })) if link != *context.link.borrow() => {}
                Err(error) if error.is_retryable() && tries < TRIES => {
                    self.log.line(&format!("{doing} broke off, trying again: {error}"));
                    backoff.wait(&context.random).await;
                }
                done => return done,
            }
        }
    }
}

/// What became of an archive while somebody else reads it.
#[derive(Default)]
struct Watched {
    bytes: Arc<AtomicU64>,
    failure: Arc<std::sync::Mutex<Option<ArchiveError>>>,
}

impl Watched {
    fn bytes(&self) -> u64 {
        self.bytes.load(Ordering::Relaxed)
    }

    /// A failure of the toolbox is the reason for whatever the run service says of the stream.
    fn settle<T>(&self, put: std::result::Result<T, ClientError>) -> Result<T> {
        let failure = self.failure.lock().expect("no panic happens while it is locked").take();
        match failure {
            Some(failure) => Err(failure),
            None => put.map_err(ArchiveError::Client),
        }
    }
}

/// A stream of the toolbox ends with what it says itself, or with what happened to the bytes on their way.
fn toolbox_error(error: crate::contract::StreamError) -> ArchiveError {
    match error.downcast::<ToolboxFailed>() {
        Ok(failed) => ArchiveError::Toolbox(*failed),
        Err(error) => ArchiveError::Transfer { message: chain(&*error) },
    }
}

fn human(bytes: u64) -> String {
    const UNITS: [&str; 4] = ["kB", "MB", "GB", "TB"];
    if bytes < 1000 {
        return format!("{bytes} bytes");
    }
    let mut size = bytes as f64 / 1000.0;
    let mut unit = 0;
    while size >= 1000.0 && unit + 1 < UNITS.len() {
        size /= 1000.0;
        unit += 1;
    }
    format!("{size:.1} {}", UNITS[unit])
}

#[cfg(test)]
mod tests {
    #[test]
    fn sizes_are_short() {
        let sizes = [999, 1000, 1_500_000, 2_000_000_000_000_000].map(super::human);
        assert_eq!(sizes, ["999 bytes", "1.0 kB", "1.5 MB", "2000.0 TB"]);
    }
}
