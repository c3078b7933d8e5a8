//! What can be typed after `runyard`?

mod config;
mod data;
mod driver;
mod executor;
mod executors;
mod logs;
mod output;
mod project;
mod run;
mod runs;
mod serve;

use std::{path::Path, process::ExitCode};

use clap::{Args, Parser, Subcommand};

use crate::{
    client::{self, Client},
    local::Temporary,
};

/// Continuous integration on nothing but a directory.
#[derive(Debug, Parser)]
#[command(name = "runyard", version, max_term_width = 100)]
pub(crate) struct Cli {
    #[command(subcommand)]
    command: Command,
    /// Print results as JSON
    #[arg(long, global = true)]
    json: bool,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run a repository's definition here and now
    Run(run::RunArgs),
    /// Run the server, with everything in one process
    Serve(serve::ServeArgs),
    /// Execute the tasks of a server that is somewhere else
    Executor(executor::ExecutorArgs),
    /// List executors, and let further ones join
    #[command(subcommand)]
    Executors(executors::ExecutorsCommand),
    /// Create and list projects
    #[command(subcommand)]
    Project(project::ProjectCommand),
    /// List, show, stop, cancel and approve runs
    #[command(subcommand)]
    Runs(runs::RunsCommand),
    /// Print the output of a run
    Logs(logs::LogsArgs),
    /// Look after the databases of a data directory
    #[command(subcommand)]
    Data(data::DataCommand),
    /// Check and show definitions
    #[command(subcommand)]
    Config(config::ConfigCommand),
    /// Print the version
    #[command(after_help = "Example:\n  runyard version --json")]
    Version,
}

/// Which server, and who is asking.
#[derive(Debug, Args)]
struct ServerArgs {
    /// The address of the server
    #[arg(long, env = "RUNYARD_SERVER", default_value = "http://127.0.0.1:8080", value_name = "URL")]
    server: String,
    /// The token; default: the content of ./runyard-data/admin-token, if that file exists
    #[arg(long, env = "RUNYARD_TOKEN", hide_env_values = true, value_name = "TOKEN")]
    token: Option<String>,
}

impl ServerArgs {
    fn client(&self) -> Result<Client, client::Error> {
        let from_file = || std::fs::read_to_string(Path::new(serve::DATA_DEFAULT).join("admin-token")).ok();
        let token = self.token.clone().or_else(from_file).map(|token| token.trim().to_owned());
        Client::new(&self.server, token)
    }
}

/// What makes a command fail; shown with its causes.
type Failure = Box<dyn std::error::Error + Send + Sync>;

impl Cli {
    /// Runs the command; says what went wrong on standard error. What it needs for a while is in `temporary`.
    pub(crate) async fn run(self, temporary: &Temporary) -> ExitCode {
        let json = self.json;
        let done = match self.command {
            Command::Run(args) => return run::run(args, temporary, json).await,
            Command::Serve(args) => serve::run(args).await,
            Command::Executor(args) => Box::pin(executor::run(args)).await,
            Command::Executors(command) => executors::run(command, json).await,
            Command::Project(command) => project::run(command, json).await,
            Command::Runs(command) => runs::run(command, json).await,
            Command::Logs(args) => logs::run(args).await,
            Command::Data(command) => data::run(command, json).await,
            Command::Config(command) => config::run(command, json).await,
            Command::Version => print_version(json),
        };
        match done {
            Ok(()) => ExitCode::SUCCESS,
            Err(failure) => {
                print_failure(&*failure, json);
                ExitCode::FAILURE
            }
        }
    }

    /// Whether the command is a service, whose log is wanted.
    pub(crate) fn is_service(&self) -> bool {
        matches!(self.command, Command::Serve(_) | Command::Executor(_))
    }
}

fn print_version(json: bool) -> Result<(), Failure> {
    let version = env!("CARGO_PKG_VERSION");
    match json {
        true => output::json(&serde_json::json!({ "version": version })),
        false => output::line(format_args!("runyard {version}")),
    }
}

fn print_failure(failure: &(dyn std::error::Error + 'static), json: bool) {
    if let (true, Some(client::Error::Refused(problem))) = (json, failure.downcast_ref()) {
        eprintln!("{}", serde_json::json!({ "error": problem }));
        return;
    }
    let mut text = failure.to_string();
    let mut source = failure.source();
    while let Some(cause) = source {
        let cause_text = cause.to_string();
        // A transparent error repeats its source.
        if !text.ends_with(&cause_text) {
            text = format!("{text}: {cause_text}");
        }
        source = cause.source();
    }
    match json {
        true => eprintln!("{}", serde_json::json!({ "error": { "detail": text } })),
        false => eprintln!("error: {text}"),
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_definition_of_the_command_line_is_sound_and_every_command_has_an_example() {
        Cli::command().debug_assert();
        fn check(command: &clap::Command, path: &str) {
            let path = format!("{path} {}", command.get_name());
            match command.has_subcommands() {
                true => command.get_subcommands().for_each(|below| check(below, &path)),
                false => {
                    let help = command.get_after_help().map(ToString::to_string).unwrap_or_default();
                    assert!(help.contains("Example"), "{path} has no example");
                }
            }
        }
        check(&Cli::command(), "");
    }
}
