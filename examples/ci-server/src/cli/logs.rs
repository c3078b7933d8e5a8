//! `runyard logs`

use clap::Args;
use futures::TryStreamExt;

use super::{Failure, output, runs::RunArgs};
use crate::{
    client::Client,
    server::api::{
        logs::LogQuery,
        runs::{RunDetailView, TaskView},
    },
};

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
        detail.run.setup_errors.iter().for_each(|error| eprintln!("error: {error}"));
    }
    for task in &tasks {
        if tasks.len() > 1 {
            output::line(format_args!("==> {}", task.name))?;
        }
        let all = || std::iter::once("setup".to_owned()).chain((0..task.steps.len()).map(|index| index.to_string()));
        let steps = args.step.clone().map_or_else(|| all().collect(), |step| vec![step]);
        for step in steps {
            let (task, follow) = (task.name.clone(), args.follow);
            print_log(&client, &detail.run.id, &LogQuery { task, step, attempt: None, offset: 0, follow }).await?;
        }
    }
    Ok(())
}

fn find_task<'a>(detail: &'a RunDetailView, name: &str) -> Result<&'a TaskView, Failure> {
    detail.tasks.iter().find(|task| task.name == name).ok_or_else(|| {
        let names: Vec<_> = detail.tasks.iter().map(|task| format!("`{}`", task.name)).collect();
        format!("run #{} has no task `{name}`; it has {}", detail.run.number, names.join(", ")).into()
    })
}

async fn print_log(client: &Client, run: &str, query: &LogQuery) -> Result<(), Failure> {
    let mut log = client.stream(&format!("/runs/{run}/logs"), query).await?;
    while let Some(piece) = log.try_next().await? {
        output::bytes(&piece)?;
    }
    Ok(())
}
