//! How does the toolbox run in a pod: what goes in, what comes out, and when has it failed?

use std::{io, process::Stdio};

use bytes::{Bytes, BytesMut};
use futures::{StreamExt as _, future::FutureExt as _, stream};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    process::{Child, ChildStderr, ChildStdin, ChildStdout},
    sync::oneshot,
};

use super::pod::ProcessPod;
use crate::{
    contract::{ByteStream, StreamError},
    driver::{
        DriverError, Result, ToolboxCall, ToolboxEnd, ToolboxRun,
        tool::{self, Tool, ToolInput},
    },
};

/// The most that is kept of what the toolbox says.
const MESSAGE_BYTES_MAX: u64 = 64 << 10;

const READ_BYTES: usize = 128 << 10;

pub(super) fn run(pod: &ProcessPod, call: ToolboxCall, stdin: Option<ByteStream>) -> Result<ToolboxRun> {
    let doing = || DriverError::io("starting the toolbox");
    let Tool { arguments, working_dir, environment, input } =
        tool::tool(call, |path| pod.expand(path).display().to_string())?;
    let (subcommand, arguments) = arguments.split_first().expect("a tool has a subcommand");
    let mut command = pod.toolbox_command(subcommand);
    command.args(arguments).envs(pod.environment(&environment).map_err(doing())?);
    if let Some(dir) = working_dir {
        command.current_dir(dir);
    }
    let stdin = match input {
        ToolInput::Document(document) => Some(stream::iter([Ok(Bytes::from(document))]).boxed()),
        ToolInput::Given => stdin,
        ToolInput::Nothing => None,
    };
    let child = command
        .stdin(if stdin.is_some() { Stdio::piped() } else { Stdio::null() })
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .map_err(doing())?;
    Ok(stream_of(child, stdin))
}

/// What the output of a running toolbox still needs.
struct Running {
    child: Child,
    stdout: ChildStdout,
    feeding: futures::future::BoxFuture<'static, std::result::Result<(), StreamError>>,
    is_fed: bool,
    listening: futures::future::BoxFuture<'static, io::Result<String>>,
    heard: Option<String>,
    end: oneshot::Sender<ToolboxEnd>,
}

fn stream_of(mut child: Child, stdin: Option<ByteStream>) -> ToolboxRun {
    let (end, ended) = oneshot::channel();
    let feeding = match (child.stdin.take(), stdin) {
        (Some(to), Some(from)) => feed(to, from).boxed(),
        _ => std::future::ready(Ok(())).boxed(),
    };
    let stdout = child.stdout.take().expect("it is piped");
    let listening = listen(child.stderr.take().expect("it is piped")).boxed();
    let running = Running { child, stdout, feeding, is_fed: false, listening, heard: None, end };
    let output = stream::unfold(Some(running), async |running| {
        let mut running = running?;
        match running.read().await {
            Ok(Some(bytes)) => Some((Ok(bytes), Some(running))),
            Ok(None) => running.finish().await.err().map(|error| (Err(error), None)),
            Err(error) => Some((Err(error), None)),
        }
    });
    ToolboxRun { output: output.boxed(), end: async { ended.await.unwrap_or_default() }.boxed() }
}

impl Running {
    /// The next piece of output; none at its end.
    async fn read(&mut self) -> std::result::Result<Option<Bytes>, StreamError> {
        let mut buffer = BytesMut::with_capacity(READ_BYTES);
        loop {
            tokio::select! {
                count = self.stdout.read_buf(&mut buffer) => {
                    return Ok(if count? > 0 { Some(buffer.freeze()) } else { None });
                }
                fed = &mut self.feeding, if !self.is_fed => {
                    self.is_fed = true;
                    fed?;
                }
                heard = &mut self.listening, if self.heard.is_none() => self.heard = Some(heard?),
            }
        }
    }

    /// Its output is at its end: did it succeed?
    async fn finish(mut self) -> std::result::Result<(), StreamError> {
        if !self.is_fed {
            self.feeding.await?;
        }
        let heard = match self.heard {
            Some(heard) => heard,
            None => self.listening.await?,
        };
        let status = self.child.wait().await?;
        let end = tool::ended(status.success(), &heard, &status.to_string())?;
        // Nobody may want to know.
        let _ = self.end.send(end);
        Ok(())
    }
}

/// Hands the stream to the toolbox. That the toolbox stops reading is no error here: its exit status tells why.
async fn feed(mut to: ChildStdin, mut from: ByteStream) -> std::result::Result<(), StreamError> {
    while let Some(piece) = from.next().await {
        if to.write_all(&piece?).await.is_err() {
            return Ok(());
        }
    }
    // It may have stopped reading just now.
    let _ = to.shutdown().await;
    Ok(())
}

async fn listen(stderr: ChildStderr) -> io::Result<String> {
    let mut heard = Vec::new();
    let mut stderr = stderr;
    (&mut stderr).take(MESSAGE_BYTES_MAX).read_to_end(&mut heard).await?;
    // What is more is dropped, so that the toolbox never blocks on it.
    tokio::io::copy(&mut stderr, &mut tokio::io::sink()).await?;
    Ok(String::from_utf8_lossy(&heard).into_owned())
}
