//! How is a fetch answered? By `git upload-pack` on a cache that was just brought up to date.

use std::{path::Path, process::Stdio};

use axum::body::Body;
use bytes::{Bytes, BytesMut};
use futures::{StreamExt, future::BoxFuture, stream};
use tokio::{
    io::{AsyncRead, AsyncReadExt},
    process::{Child, ChildStdout},
};

use super::{
    Error, Result,
    command::{complaints, git, output},
    pktline,
};

/// How much of the answer is read at once, in bytes.
const READ_BYTES: usize = 64 * 1024;

/// The list of refs that a fetch begins with, or the capabilities in protocol version 2.
pub(super) async fn advertisement(git_dir: &Path, protocol: &str) -> Result<Bytes> {
    let mut command = git(git_dir);
    command.env("GIT_PROTOCOL", protocol).args(["upload-pack", "--stateless-rpc", "--advertise-refs"]).arg(git_dir);
    let refs = output(command, "listing refs", b"").await?;
    let mut out = BytesMut::new();
    if !protocol.split(':').any(|part| part == "version=2") {
        pktline::write(&mut out, "# service=git-upload-pack\n");
        pktline::flush(&mut out);
    }
    out.extend_from_slice(&refs);
    Ok(out.freeze())
}

/// Answers a request of a fetch, as a stream: the program reads no faster than the client sends and writes no faster
/// than it takes, and it dies when the client goes away.
pub(super) fn answer(
    git_dir: &Path,
    protocol: &str,
    mut request: impl AsyncRead + Send + Unpin + 'static,
) -> Result<Body> {
    let mut command = git(git_dir);
    command.env("GIT_PROTOCOL", protocol).args(["upload-pack", "--stateless-rpc"]).arg(git_dir).stdin(Stdio::piped());
    let mut child = command.spawn().map_err(Error::io("starting", "git"))?;
    let mut stdin = child.stdin.take().expect("stdin is piped");
    let stdout = child.stdout.take().expect("stdout is piped");
    let stderr = child.stderr.take().expect("stderr is piped");
    let feed = async move {
        // The program says to the client what it misses in a request that ends early.
        let _ = tokio::io::copy(&mut request, &mut stdin).await;
    };
    let listen = async move {
        let complaints = complaints(stderr).await;
        if !complaints.is_empty() {
            tracing::info!(complaints, "git upload-pack complained");
        }
    };
    let beside: BoxFuture<'static, ()> = Box::pin(async {
        tokio::join!(feed, listen);
    });
    let answer = Answer { _child: child, stdout, beside: Some(beside) };
    let pieces = stream::try_unfold(answer, |mut answer| async {
        let piece = answer.next_piece().await?;
        Ok::<_, std::io::Error>((!piece.is_empty()).then_some((piece, answer)))
    });
    Ok(Body::from_stream(pieces.fuse()))
}

struct Answer {
    /// Killed when the answer is dropped.
    _child: Child,
    stdout: ChildStdout,
    /// Feeds the program and listens to its complaints, while its output is waited for.
    beside: Option<BoxFuture<'static, ()>>,
}

impl Answer {
    /// Empty at the end.
    async fn next_piece(&mut self) -> std::io::Result<Bytes> {
        let mut piece = BytesMut::with_capacity(READ_BYTES);
        loop {
            let Some(beside) = &mut self.beside else {
                self.stdout.read_buf(&mut piece).await?;
                return Ok(piece.freeze());
            };
            tokio::select! {
                read = self.stdout.read_buf(&mut piece) => {
                    read?;
                    return Ok(piece.freeze());
                }
                () = beside => self.beside = None,
            }
        }
    }
}
