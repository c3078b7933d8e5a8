//! `runyard executors`: who executes, and who may.

use clap::{Args, Subcommand};

use super::{Failure, ServerArgs, output};
use crate::server::api::executors::{CreateJoinToken, ExecutorView, JoinTokenView};

#[derive(Debug, Subcommand)]
pub(super) enum ExecutorsCommand {
    /// List the executors of the server
    #[command(after_help = "Example:\n  runyard executors list")]
    List(ListArgs),
    /// Print a new token that lets executors join
    #[command(after_help = "Examples:\n  \
        runyard executors token > join-token\n  \
        runyard executors token --uses 1")]
    Token(TokenArgs),
}

#[derive(Debug, Args)]
pub(super) struct ListArgs {
    #[command(flatten)]
    server: ServerArgs,
}

#[derive(Debug, Args)]
pub(super) struct TokenArgs {
    /// How many executors may join with it; default: any number
    #[arg(long, value_name = "NUMBER")]
    uses: Option<u32>,
    /// What people call it
    #[arg(long, default_value = "executors", value_name = "NAME")]
    name: String,
    #[command(flatten)]
    server: ServerArgs,
}

pub(super) async fn run(command: ExecutorsCommand, json: bool) -> Result<(), Failure> {
    match command {
        ExecutorsCommand::List(args) => list(args, json).await,
        ExecutorsCommand::Token(args) => token(args, json).await,
    }
}

async fn list(args: ListArgs, json: bool) -> Result<(), Failure> {
    let executors: Vec<ExecutorView> = args.server.client()?.get("/executors", &()).await?;
    if json {
        return output::json(&executors);
    }
    let width = executors.iter().map(|executor| executor.name.len()).max().unwrap_or(0);
    for ExecutorView { id, name, state, tasks, task_limit, archs } in executors {
        let archs = archs.join(",");
        output::line(format_args!("{name:width$}  {id}  {state}  {tasks} of {task_limit} tasks  {archs}"))?;
    }
    Ok(())
}

async fn token(args: TokenArgs, json: bool) -> Result<(), Failure> {
    let new = CreateJoinToken { name: args.name, uses: args.uses };
    let created: JoinTokenView = args.server.client()?.post("/join-tokens", &new).await?;
    if json {
        return output::json(&created);
    }
    // The token alone, for a file.
    output::line(format_args!("{}", created.token))
}
