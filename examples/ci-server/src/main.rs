//! The Runyard reference server and its command line, in one binary.

mod cli;
mod client;
mod configdata;
mod evaluate;
mod git;
mod ids;
mod local;
mod server;
#[cfg(test)]
mod testing;
mod tool_homes;
mod trigger;

use std::{io::IsTerminal, process::ExitCode};

use clap::Parser;
use tracing_subscriber::EnvFilter;

fn main() -> ExitCode {
    // First of all: this binary is also the supervisor of the steps that it starts.
    runyard_executor_core::run_toolbox_if_invoked();
    // And the process that evaluates a definition.
    evaluate::run_if_invoked();
    let cli = cli::Cli::parse();
    let level = if cli.is_service() { "info" } else { "off" };
    let filter = EnvFilter::try_from_env("RUNYARD_LOG").unwrap_or_else(|_| EnvFilter::new(level));
    let ansi = std::io::stderr().is_terminal();
    tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).with_ansi(ansi).init();
    // Made before the runtime, and so removed after its threads have ended.
    let temporary = local::Temporary::default();
    match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime.block_on(cli.run(&temporary)),
        Err(error) => {
            eprintln!("error: the program cannot start its threads: {error}");
            ExitCode::FAILURE
        }
    }
}
