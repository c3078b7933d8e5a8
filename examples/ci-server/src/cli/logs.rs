//! `runyard logs`

use std::time::Duration;

use clap::Args;
use futures::TryStreamExt;
use tokio::time::Instant;

use super::{Failure, output, runs::RunArgs};
use crate::{
    client::{Client, Error},
    server::api::{
        logs::LogQuery,
        runs::{RunDetailView, TaskView},
    },
};

/// How long a follower waits for a server that went away, and how often it looks.
const PATIENCE: Duration = Duration::from_secs(60);
const RETRY_INTERVAL: Duration = Duration::from_millis(500);

#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  runyard logs 7 --project hello\n  runyard logs 7 test --project hello --follow")]
pub(super) struct LogsArgs {
    #[command(flatten)]
    run: RunArgs,
    /// The task; default: all of them, one after the other
    task: Option<String>,
    /// Only this step: `setup`, or its index counted from 0
    #[arg(long)]
    step: Option<String>,
    /// Wait for what is not yet written, until the log ends
    #[arg(long, short)]
    follow: bool,
}

pub(super) async fn run(args: LogsArgs) -> Result<(), Failure> {
    let (client, detail) = args.run.find().await?;
    let tasks: Vec<&TaskView> = match &args.task {
        None => detail.tasks.iter().collect(),
        Some(name) => vec![find_task(&detail, name)?],
    };
    if detail.tasks.is_empty() {
        detail.run.setup_errors.iter().for_each(|error| eprintln!("{error}"));
    }
    for task in &tasks {
        if tasks.len() > 1 {
            output::line(format_args!("==> {}", task.name))?;
        }
        let all = || std::iter::once("setup".to_owned()).chain((0..task.steps.len()).map(|index| index.to_string()));
        let steps = args.step.clone().map_or_else(|| all().collect(), |step| vec![step]);
        for step in steps {
            let heading = heading(task, &step).filter(|_| args.step.is_none());
            let (task, follow) = (task.name.clone(), args.follow);
            let query = LogQuery { task, step, attempt: None, offset: 0, follow };
            print_log(&client, &detail.run.id, query, heading).await?;
        }
    }
    Ok(())
}

/// What stands above the output of a step; nothing above the setup.
fn heading(task: &TaskView, step: &str) -> Option<String> {
    let index: usize = step.parse().ok()?;
    let name = &task.steps.get(index)?.name;
    Some(format!("-- step {} of {}: {name}", index + 1, task.steps.len()))
}

fn find_task<'a>(detail: &'a RunDetailView, name: &str) -> Result<&'a TaskView, Failure> {
    detail.tasks.iter().find(|task| task.name == name).ok_or_else(|| {
        let names: Vec<_> = detail.tasks.iter().map(|task| format!("`{}`", task.name)).collect();
        format!("run #{} has no task `{name}`; it has {}", detail.run.number, names.join(", ")).into()
    })
}

/// Prints a log; with `follow`, also across a restart of the server.
async fn print_log(client: &Client, run: &str, mut query: LogQuery, heading: Option<String>) -> Result<(), Failure> {
    let mut give_up_at = None;
    loop {
        let printed = query.offset;
        let Err(error) = print_from(client, run, &mut query, heading.as_deref()).await else { return Ok(()) };
        if query.offset > printed {
            give_up_at = None;
        }
        let give_up_at = *give_up_at.get_or_insert_with(|| Instant::now() + PATIENCE);
        let passes = matches!(error.downcast_ref(), Some(Error::Unreachable { .. } | Error::BrokenOff { .. }));
        if !query.follow || !passes || Instant::now() > give_up_at {
            return Err(error);
        }
        // Nothing tells when a server is back, so it has to be tried.
        tokio::time::sleep(RETRY_INTERVAL).await;
    }
}

/// Prints from the query's offset on, and moves the offset along. The heading comes before the first byte, if there is
/// one.
async fn print_from(client: &Client, run: &str, query: &mut LogQuery, heading: Option<&str>) -> Result<(), Failure> {
    let mut log = client.stream(&format!("/runs/{run}/logs"), query).await?;
    while let Some(piece) = log.try_next().await? {
        if let (0, Some(heading)) = (query.offset, heading) {
            output::line(heading)?;
        }
        output::bytes(&piece)?;
        query.offset += piece.len() as u64;
    }
    Ok(())
}
