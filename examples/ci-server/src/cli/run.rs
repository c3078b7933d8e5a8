//! `runyard run`

use std::{num::NonZeroU32, path::PathBuf, process::ExitCode};

use clap::Args;

use crate::local::{self, Options, RefChoice, Temporary};

#[derive(Debug, Args)]
#[command(
    long_about = "Run a repository's definition here and now\n\n\
        Runs what .runyard/config.yml (or config.json) in DIR defines, as processes of this machine and from the \
        working tree as it is: changed files and files that git neither tracks nor ignores are part of it. The \
        repository stays untouched.",
    after_help = "Examples:\n  \
        runyard run\n  \
        runyard run examples/hello --store /tmp/store\n  \
        runyard run --run release --tag v1.2.0 --var TOKEN=abc\n\n\
        Exit status: 0 if every run succeeded, 1 if one did not, 2 if nothing could be run as it was asked for, \
        130 if a signal ended it. The first Ctrl-C stops the tasks, the second ends them at once.\n\n\
        With --json every line is an object with one key: created, event, log, waits, note, and at last result."
)]
pub(super) struct RunArgs {
    /// The directory with the definition, in a git repository
    #[arg(default_value = ".")]
    dir: PathBuf,
    /// A run of the definition, whatever its `when` says; can be repeated [default: those for this branch or tag]
    #[arg(long = "run", value_name = "NAME")]
    runs: Vec<String>,
    /// Run as if this branch was checked out
    #[arg(long, value_name = "BRANCH", conflicts_with = "tag")]
    branch: Option<String>,
    /// Run as if this tag had been pushed
    #[arg(long, value_name = "TAG")]
    tag: Option<String>,
    /// A variable for `from_variable`; wins over --var-file; can be repeated. Logs show what a step prints of it
    #[arg(long = "var", value_name = "NAME=VALUE")]
    vars: Vec<String>,
    /// A file of variables: lines NAME=VALUE, or a map in .json or .yml; can be repeated
    #[arg(long = "var-file", value_name = "FILE")]
    var_files: Vec<PathBuf>,
    /// Keep logs, archives and caches in this directory, and use the caches in it [default: keep nothing]
    #[arg(long, env = "RUNYARD_STORE", value_name = "DIR")]
    store: Option<PathBuf>,
    /// The most tasks at a time [default: the number of processors]
    #[arg(long, short, env = "RUNYARD_JOBS", value_name = "N")]
    jobs: Option<NonZeroU32>,
    /// Approve tasks that need an approval; without it, a run that waits for nothing else is stopped
    #[arg(long)]
    approve: bool,
}

/// Runs, and says what went wrong on standard error.
pub(super) async fn run(args: RunArgs, temporary: &Temporary, json: bool) -> ExitCode {
    let reference = match (args.branch, args.tag) {
        (Some(branch), _) => RefChoice::Branch(branch),
        (None, Some(tag)) => RefChoice::Tag(tag),
        (None, None) => RefChoice::Current,
    };
    let processors = || std::thread::available_parallelism().ok().and_then(|count| u32::try_from(count.get()).ok());
    let options = Options {
        dir: args.dir,
        runs: args.runs,
        reference,
        vars: args.vars,
        var_files: args.var_files,
        store: args.store,
        jobs: args.jobs.map(NonZeroU32::get).or_else(processors).unwrap_or(1),
        approve: args.approve,
        json,
    };
    match Box::pin(local::run(options, temporary)).await {
        Ok(ending) => ExitCode::from(ending.code()),
        Err(error) => {
            super::print_failure(&error, json);
            ExitCode::from(error.code())
        }
    }
}
