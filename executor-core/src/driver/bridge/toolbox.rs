//! How does the toolbox run over a bridge: what goes in, what comes out, and when has it failed?

use std::io;

use bytes::Bytes;
use futures::{FutureExt as _, StreamExt as _, stream};
use runyard_toolbox::bridge::protocol::{FromBridge, PIECE_MAX, Reply, Request, ToBridge};
use tokio::sync::oneshot;

use super::{
    connection::{Connection, Sender},
    pool::Bridges,
};
use crate::{
    contract::{ByteStream, StreamError},
    driver::{
        DriverError, Result, ToolboxCall, ToolboxEnd, ToolboxFailed, ToolboxRun,
        tool::{self, Tool, ToolInput},
    },
};

pub(super) async fn run(
    bridges: &Bridges,
    user: Option<String>,
    call: ToolboxCall,
    stdin: Option<ByteStream>,
) -> Result<ToolboxRun> {
    let Tool { arguments, working_dir, environment, input } = tool::tool(call, str::to_owned)?;
    let environment = environment.into_iter().map(|(name, value)| (name, value.expose().to_owned())).collect();
    let request = Request::Tool { args: arguments, working_dir, environment, user };
    let feeding = match input {
        ToolInput::Document(document) => Some(stream::iter([Ok(Bytes::from(document))]).boxed()),
        ToolInput::Given => stdin,
        ToolInput::Nothing => None,
    };
    // Always a new one: what an idle one that has ended would have swallowed cannot be given again.
    let mut connection = bridges.open().await?;
    connection.request(&request).await.map_err(DriverError::io("starting the toolbox"))?;
    let (end, ended) = oneshot::channel();
    let feeding = Feeding::From(feeding.unwrap_or_else(|| stream::empty().boxed()));
    let running = Running { connection, bridges: bridges.clone(), feeding, end };
    let output = stream::unfold(Some(running), async |running| {
        let mut running = running?;
        match running.next().await {
            Ok(Next::Output(bytes)) => Some((Ok(bytes), Some(running))),
            Ok(Next::End(success, said)) => running.finish(success, &said).err().map(|error| (Err(error), None)),
            Err(error) => Some((Err(error), None)),
        }
    });
    Ok(ToolboxRun { output: output.boxed(), end: async { ended.await.unwrap_or_default() }.boxed() })
}

/// What the output of a running toolbox still needs.
struct Running {
    connection: Connection,
    bridges: Bridges,
    feeding: Feeding,
    end: oneshot::Sender<ToolboxEnd>,
}

/// What is still to go in.
enum Feeding {
    From(ByteStream),
    /// Nothing but what is queued.
    Rest,
    Done,
}

enum Next {
    Output(Bytes),
    End(bool, String),
}

impl Running {
    async fn next(&mut self) -> std::result::Result<Next, StreamError> {
        let Connection { sender, receiver } = &mut self.connection;
        loop {
            let frame = tokio::select! {
                frame = receiver.next() => frame?,
                fed = feed(sender, &mut self.feeding), if !matches!(self.feeding, Feeding::Done) => {
                    fed?;
                    continue;
                }
            };
            return match frame {
                FromBridge::Output(bytes) => Ok(Next::Output(bytes.into())),
                FromBridge::Reply(Reply::ToolEnded { success, said }) => Ok(Next::End(success, said)),
                FromBridge::Reply(Reply::Refused { message } | Reply::Failed { message }) => {
                    Err(ToolboxFailed { message }.into())
                }
                other => Err(io::Error::other(format!("the bridge says {other:?}")).into()),
            };
        }
    }

    fn finish(self, success: bool, said: &str) -> std::result::Result<(), StreamError> {
        // One that did not take all of its input is of no further use: nobody knows where the rest of that begins.
        if matches!(self.feeding, Feeding::Done) {
            self.bridges.put_back(self.connection);
        }
        let end = tool::ended(success, said, "a failure that it says nothing about")?;
        // Nobody may want to know.
        let _ = self.end.send(end);
        Ok(())
    }
}

/// Sends what is queued, then queues the next piece.
///
/// # Cancel safety
/// Dropping the future loses nothing.
async fn feed(sender: &mut Sender, feeding: &mut Feeding) -> std::result::Result<(), StreamError> {
    sender.flush().await?;
    match feeding {
        Feeding::From(from) => match from.next().await {
            Some(piece) => {
                for piece in piece?.chunks(PIECE_MAX) {
                    sender.queue_frame(&ToBridge::Input(piece.to_vec()));
                }
            }
            None => {
                sender.queue_frame(&ToBridge::EndOfInput);
                *feeding = Feeding::Rest;
            }
        },
        Feeding::Rest => *feeding = Feeding::Done,
        Feeding::Done => {}
    }
    Ok(())
}
