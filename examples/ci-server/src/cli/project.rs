//! `runyard project`

use clap::{Args, Subcommand};

use super::{Failure, ServerArgs, output};
use crate::{
    client::Client,
    server::api::{
        Items, PageQuery,
        projects::{CreateProject, ProjectView},
    },
};

#[derive(Debug, Subcommand)]
pub(super) enum ProjectCommand {
    /// Create a project, whose repository can be pushed to at once
    #[command(
        after_help = "Example:\n  runyard project create hello\n  git push http://127.0.0.1:8080/git/hello.git main"
    )]
    Create(CreateArgs),
    /// List all projects
    #[command(after_help = "Example:\n  runyard project list --json")]
    List(ListArgs),
}

#[derive(Debug, Args)]
pub(super) struct CreateArgs {
    /// Its name: a-z, 0-9, `.`, `_` and `-`
    name: String,
    #[command(flatten)]
    server: ServerArgs,
}

#[derive(Debug, Args)]
pub(super) struct ListArgs {
    #[command(flatten)]
    server: ServerArgs,
}

pub(super) async fn run(command: ProjectCommand, json: bool) -> Result<(), Failure> {
    match command {
        ProjectCommand::Create(args) => create(args, json).await,
        ProjectCommand::List(args) => list(args, json).await,
    }
}

async fn create(args: CreateArgs, json: bool) -> Result<(), Failure> {
    let client = args.server.client()?;
    let project: ProjectView = client.post("/projects", &CreateProject { name: args.name }).await?;
    if json {
        return output::json(&project);
    }
    output::line(format_args!("Created project {} ({}).", project.name, project.id))?;
    output::line(format_args!("Push to it (any user name, the token as the password):"))?;
    output::line(format_args!("  git push {} HEAD", client.url(&project.git_path)))?;
    Ok(())
}

async fn list(args: ListArgs, json: bool) -> Result<(), Failure> {
    let client = args.server.client()?;
    let projects = all_projects(&client).await?;
    if json {
        return output::json(&projects);
    }
    if projects.is_empty() {
        output::line(format_args!("There is no project yet: create one with `runyard project create <name>`."))?;
    }
    let width = projects.iter().map(|project| project.name.len()).max().unwrap_or(0);
    for project in projects {
        output::line(format_args!("{:width$}  {}  {}", project.name, project.id, client.url(&project.git_path)))?;
    }
    Ok(())
}

async fn all_projects(client: &Client) -> Result<Vec<ProjectView>, Failure> {
    let mut projects = Vec::new();
    let mut query = PageQuery::default();
    loop {
        let page: Items<ProjectView> = client.get("/projects", &query).await?;
        projects.extend(page.items);
        match page.next_cursor {
            Some(cursor) => query.cursor = Some(cursor),
            None => return Ok(projects),
        }
    }
}
