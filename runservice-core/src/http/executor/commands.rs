//! What is an executor told, as lines of one long answer?

use axum::{extract::State, response::Response};
use futures::{StreamExt, stream, stream::BoxStream};
use runyard_executor_core::{
    contract::{ClientError, Command, Registration},
    http::wire::{Commands, Line, Register},
};

use super::auth::Caller;
use crate::{
    RunService,
    client::client_error,
    http::{
        body,
        extract::{Json, Params},
        problem::Failed,
    },
    rows::RegistrationCall,
};

type Told = BoxStream<'static, Result<Command, ClientError>>;

pub(super) async fn register(
    State(runs): State<RunService>,
    caller: Caller,
    Json(Register { client, number, status }): Json<Register>,
) -> Result<Response, Failed> {
    caller.is(&status.id)?;
    runs.core().note_token_used(&caller.token, &caller.executor).await?;
    let registered = runs.core().register(status, Some(RegistrationCall { client, number })).await;
    let Registration { epoch, commands } = registered.map_err(client_error("registering an executor"))?;
    Ok(tell(runs, caller, epoch, commands))
}

/// Goes on after a connection that broke.
pub(super) async fn resume(
    State(runs): State<RunService>,
    caller: Caller,
    Params(Commands { executor, epoch }): Params<Commands>,
) -> Result<Response, Failed> {
    caller.is(&executor)?;
    let resumed = runs.core().resume(&executor, epoch).await;
    match resumed.map_err(client_error("connecting an executor again"))? {
        Some(commands) => Ok(tell(runs, caller, epoch, commands)),
        None => Err(ClientError::Replaced { executor }.into()),
    }
}

fn tell(runs: RunService, caller: Caller, epoch: u64, commands: Told) -> Response {
    // Without a last line, an end is a broken connection, which the executor takes up again.
    let told = commands.map(|told| told.ok().map(|command| Line::Command { command }));
    let told = told.chain(stream::once(async { Some(Line::Replaced) }));
    let told = told.take_while(|line| std::future::ready(line.is_some())).filter_map(std::future::ready);
    let told = stream::once(async move { Line::Connected { epoch } }).chain(told);
    let told = body::kept_alive(told.map(|line| body::line(&line)).boxed(), body::line(&Line::Alive));
    // Looked at before each line: after its token is revoked, here or in another process, nobody is told a secret.
    let told = told.boxed().then(move |line| {
        let (runs, caller) = (runs.clone(), caller.clone());
        async move {
            let still = runs.core().executor_of(&caller.token).await;
            still.is_ok_and(|executor| executor.as_ref() == Some(&caller.executor)).then_some(line)
        }
    });
    body::lines(told.take_while(|line| std::future::ready(line.is_some())).filter_map(std::future::ready))
}
