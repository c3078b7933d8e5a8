//! `runyard runs`

use std::num::NonZeroUsize;

use clap::{Args, Subcommand};

use super::{Failure, ServerArgs, output};
use crate::{
    client::{Client, segment},
    server::api::{
        Items, PageQuery,
        runs::{Approve, RunDetailView, RunView, TaskView},
    },
};

#[derive(Debug, Subcommand)]
pub(super) enum RunsCommand {
    /// List the runs of a project, the newest first
    #[command(after_help = "Example:\n  runyard runs list --project hello --limit 5")]
    List(ListArgs),
    /// Show a run with its tasks
    #[command(after_help = "Example:\n  runyard runs show 7 --project hello")]
    Show(RunArgs),
    /// Stop a running run
    #[command(after_help = "Example:\n  runyard runs stop 7 --project hello")]
    Stop(RunArgs),
    /// Cancel a queued run
    #[command(after_help = "Example:\n  runyard runs cancel 7 --project hello")]
    Cancel(RunArgs),
    /// Approve a task that waits for it
    #[command(after_help = "Example:\n  runyard runs approve 7 deploy --project hello")]
    Approve(ApproveArgs),
}

#[derive(Debug, Args)]
pub(super) struct ListArgs {
    /// The project, by name or id
    #[arg(long, env = "RUNYARD_PROJECT")]
    project: String,
    /// The most runs to list
    #[arg(long, default_value = "20")]
    limit: NonZeroUsize,
    #[command(flatten)]
    server: ServerArgs,
}

/// Which run.
#[derive(Debug, Args)]
pub(super) struct RunArgs {
    /// The run: its number in the project, or its id
    run: String,
    /// The project, by name or id; needed where the run is a number
    #[arg(long, env = "RUNYARD_PROJECT")]
    project: Option<String>,
    #[command(flatten)]
    server: ServerArgs,
}

#[derive(Debug, Args)]
pub(super) struct ApproveArgs {
    #[command(flatten)]
    run: RunArgs,
    /// The task
    task: String,
}

impl RunArgs {
    /// The client of the server, and the run as it is now.
    pub(super) async fn find(&self) -> Result<(Client, RunDetailView), Failure> {
        let client = self.server.client()?;
        let run = segment(self.run.trim_start_matches('#'));
        let is_number = run.bytes().all(|byte| byte.is_ascii_digit());
        let path = match (&self.project, is_number) {
            (Some(project), true) => format!("/projects/{}/runs/{run}", segment(project)),
            (None, true) => return Err(format!("`{run}` is a number: say of which project, with --project").into()),
            (_, false) => format!("/runs/{run}"),
        };
        let found = client.get(&path, &()).await?;
        Ok((client, found))
    }
}

pub(super) async fn run(command: RunsCommand, json: bool) -> Result<(), Failure> {
    match command {
        RunsCommand::List(args) => list(args, json).await,
        RunsCommand::Show(args) => {
            let (_, detail) = args.find().await?;
            print_detail(&detail, json)
        }
        RunsCommand::Stop(args) => act(&args, "stop", &(), json).await,
        RunsCommand::Cancel(args) => act(&args, "cancel", &(), json).await,
        RunsCommand::Approve(args) => act(&args.run, "approve", &Approve { task: args.task }, json).await,
    }
}

async fn list(args: ListArgs, json: bool) -> Result<(), Failure> {
    let client = args.server.client()?;
    let path = format!("/projects/{}/runs", segment(&args.project));
    let mut runs: Vec<RunView> = Vec::new();
    let mut cursor = None;
    let limit = args.limit.get();
    while runs.len() < limit {
        let query = PageQuery { cursor, limit: Some((limit - runs.len()).min(100)) };
        let page: Items<RunView> = client.get(&path, &query).await?;
        runs.extend(page.items);
        cursor = page.next_cursor;
        if cursor.is_none() {
            break;
        }
    }
    if json {
        return output::json(&runs);
    }
    if runs.is_empty() {
        output::line(format_args!("Project {} has no runs yet: push to its repository.", args.project))?;
    }
    for run in runs {
        output::line(line(&run))?;
    }
    Ok(())
}

async fn act(args: &RunArgs, action: &str, body: &impl serde::Serialize, json: bool) -> Result<(), Failure> {
    let (client, detail) = args.find().await?;
    let run: RunView = client.post(&format!("/runs/{}/{action}", detail.run.id), body).await?;
    match json {
        true => output::json(&run),
        false => output::line(line(&run)),
    }
}

/// A run on one line.
fn line(run: &RunView) -> String {
    let annotation = |key: &str| run.annotations.get(key).map(String::as_str).unwrap_or_default();
    let name = if annotation("branch").is_empty() { annotation("tag") } else { annotation("branch") };
    let commit: String = annotation("commit").chars().take(8).collect();
    let title = annotation("message").lines().next().unwrap_or_default();
    format!("#{:<5} {:<10} {:<16} {name} {commit} {title}", run.number, state(run), run.name)
}

/// The result once it is known, the phase before.
fn state(run: &RunView) -> &str {
    match (run.phase.as_str(), run.result.as_str()) {
        ("finished", result) => result,
        ("running", _) if run.stop_requested => "stopping",
        (phase, _) => phase,
    }
}

fn print_detail(detail: &RunDetailView, json: bool) -> Result<(), Failure> {
    if json {
        return output::json(detail);
    }
    output::line(line(&detail.run))?;
    output::line(format_args!("  id {}", detail.run.id))?;
    if let Some(reason) = &detail.waiting_reason {
        output::line(format_args!("  {reason}"))?;
    }
    for error in &detail.run.setup_errors {
        output::line(format_args!("  {error}"))?;
    }
    for warning in &detail.warnings {
        output::line(format_args!("  {warning}"))?;
    }
    let width = detail.tasks.iter().map(|task| task.name.chars().count()).max().unwrap_or(0);
    for task in &detail.tasks {
        output::line(format_args!("  {:width$}  {}", task.name, task_state(task)))?;
    }
    Ok(())
}

/// How far a task is, and why it is there.
fn task_state(task: &TaskView) -> String {
    match (&task.failure, &task.waiting_reason) {
        (Some(failure), _) => format!("{} ({}: {})", task.status, failure.class.as_str(), failure.message),
        (None, Some(reason)) => format!("{} ({reason})", task.status),
        (None, None) => task.status.clone(),
    }
}
