//! `runyard data`: what can an operator do with the databases of a data directory?
//!
//! Those that only read work beside a running server. The others need the directory for themselves.

mod place;
mod show;
mod transfer;

use std::path::PathBuf;

use clap::{Args, Subcommand};
use runyard_datamanager::{DataManager, Direction, KeyRange, Scan};
use serde_json::json;

use self::place::{Database, Place};
use super::{Failure, output, serve::DATA_DEFAULT};

/// How many entries are read at a time.
const PAGE: usize = 256;

#[derive(Debug, Subcommand)]
pub(super) enum DataCommand {
    /// Read every object of the databases, and name what is damaged or missing (also while a server runs)
    #[command(
        after_help = "Fails if anything is damaged. Logs, archives, caches and repositories are objects beside the \
                      databases, and are not looked at; nor can a log that ends too early be told from one that ended \
                      there. No object is written.\n\nExample:\n  runyard data verify --data /var/lib/runyard"
    )]
    Verify(DatabasesArgs),
    /// Print the entries of a database (also while a server runs)
    #[command(
        after_help = "Keys that are no text are printed as 0x..., those of appended entries as <position>#<number>. No object is written.\n\n\
                      Examples:\n  runyard data dump --database run --collection runs\n  \
                      runyard data dump --database config --collection projects --json"
    )]
    Dump(DumpArgs),
    /// Write everything that a database holds as lines of JSON (also while a server runs)
    #[command(
        after_help = "What is committed meanwhile is not in it. Logs, archives and repositories are objects beside the \
                      databases, and not in it either: to move or back up a server, stop it and copy its data directory. \
                      An export can hold credentials. No object is written.\n\n\
                      Example:\n  runyard data export --database run > run.jsonl"
    )]
    Export(DatabaseArgs),
    /// Take an export into a database that has nothing yet; the server has to be stopped
    #[command(after_help = "All of it is taken in, or nothing.\n\n\
                      Examples:\n  runyard data import --data new-data --database run run.jsonl\n  \
                      runyard data export --database run | runyard data import --data new-data --database run -")]
    Import(transfer::ImportArgs),
    /// Make a checkpoint, so that the next start reads less; the server has to be stopped, and makes them by itself
    #[command(after_help = "Example:\n  runyard data checkpoint --data /var/lib/runyard")]
    Checkpoint(CheckpointArgs),
    /// Print what the databases consist of (also while a server runs)
    #[command(after_help = "No object is written.\n\nExample:\n  runyard data stats --json")]
    Stats(DatabasesArgs),
}

/// Where the databases are.
#[derive(Debug, Args)]
pub(super) struct DirectoryArgs {
    /// The data directory of `runyard serve`, or the store of `runyard run --store`
    #[arg(long, env = "RUNYARD_DATA", default_value = DATA_DEFAULT, value_name = "DIR")]
    data: PathBuf,
}

/// Some databases.
#[derive(Debug, Args)]
pub(super) struct DatabasesArgs {
    #[command(flatten)]
    directory: DirectoryArgs,
    /// Only this database; default: all that there are
    #[arg(long)]
    database: Option<Database>,
}

/// One database.
#[derive(Debug, Args)]
pub(super) struct DatabaseArgs {
    #[command(flatten)]
    directory: DirectoryArgs,
    /// Which one
    #[arg(long)]
    database: Database,
}

#[derive(Debug, Args)]
pub(super) struct CheckpointArgs {
    #[command(flatten)]
    of: DatabasesArgs,
    /// If the newest checkpoint is damaged, remove it, and go on from the one before and the log after that: nothing is
    /// lost. Copy the data directory first
    #[arg(long, requires = "database")]
    from_previous: bool,
}

#[derive(Debug, Args)]
pub(super) struct DumpArgs {
    #[command(flatten)]
    of: DatabaseArgs,
    /// Only this collection; default: all of them
    #[arg(long, value_name = "NAME")]
    collection: Option<String>,
    /// Only entries whose keys begin like this
    #[arg(long, value_name = "TEXT", default_value = "", hide_default_value = true)]
    prefix: String,
}

pub(super) async fn run(command: DataCommand, json: bool) -> Result<(), Failure> {
    match command {
        DataCommand::Verify(args) => verify(args, json).await,
        DataCommand::Dump(args) => dump(args, json).await,
        DataCommand::Export(args) => transfer::export(args).await,
        DataCommand::Import(args) => transfer::import(args, json).await,
        DataCommand::Checkpoint(args) => checkpoint(args, json).await,
        DataCommand::Stats(args) => stats(args, json).await,
    }
}

async fn verify(args: DatabasesArgs, json: bool) -> Result<(), Failure> {
    let place = Place::to_read(&args.directory.data).await?;
    let (mut reports, mut damaged) = (Vec::new(), 0);
    for database in place.databases(args.database).await? {
        let report = place.verify(database).await?;
        damaged += report.damaged.len();
        match json {
            true => reports.push(show::report_json(database, &report)),
            false => output::line(show::report_text(database, &report))?,
        }
    }
    if json {
        output::json(&reports)?;
    }
    match damaged {
        0 => Ok(()),
        1 => Err("1 object is damaged or missing".into()),
        _ => Err(format!("{damaged} objects are damaged or missing").into()),
    }
}

async fn dump(args: DumpArgs, json: bool) -> Result<(), Failure> {
    let place = Place::to_read(&args.of.directory.data).await?;
    let database = args.of.database;
    let data = place.read(database).await?;
    let at = data.snapshot();
    let mut collections = data.collections(&at)?;
    if let Some(only) = &args.collection {
        if !collections.contains(only) {
            let names = collections.join(", ");
            return Err(format!("database {database} has no collection `{only}`; it has: {names}").into());
        }
        collections.retain(|name| name == only);
    }
    for collection in collections {
        let mut range = KeyRange::prefix(&args.prefix);
        loop {
            let scan = Scan { collection: collection.clone(), range, direction: Direction::Ascending, limit: PAGE };
            let page = data.scan(&at, &scan).await.map_err(|source| place.failed(database, source))?;
            let show = if json { show::entry_json } else { show::entry_text };
            let lines: String = page.entries.iter().map(|(key, value)| show(&collection, key, value)).collect();
            output::bytes(lines.as_bytes())?;
            match page.entries.last() {
                Some((last, _)) if page.more => range = scan.range.after(last),
                _ => break,
            }
        }
    }
    Ok(())
}

async fn checkpoint(args: CheckpointArgs, json: bool) -> Result<(), Failure> {
    let CheckpointArgs { of: args, from_previous } = args;
    let place = Place::alone(&args.directory.data, false).await?;
    let mut made = Vec::new();
    for database in place.databases(args.database).await? {
        let data = match from_previous {
            true => place.write_from_previous(database).await?,
            false => place.write_existing(database).await?,
        };
        let checkpoint = data.checkpoint().await.map_err(|source| place.failed(database, source))?;
        data.close().await;
        if json {
            made.push(json!({
                "database": database.to_string(),
                "checkpoint": checkpoint.number,
                "position": checkpoint.position.to_string(),
                "bytes_written": checkpoint.bytes_written,
            }));
        } else {
            let (number, position, bytes) = (checkpoint.number, checkpoint.position, checkpoint.bytes_written);
            output::line(format_args!(
                "Database {database}: checkpoint {number} has everything up to {position}; {bytes} bytes were written."
            ))?;
        }
    }
    if json { output::json(&made) } else { Ok(()) }
}

async fn stats(args: DatabasesArgs, json: bool) -> Result<(), Failure> {
    let place = Place::to_read(&args.directory.data).await?;
    let mut all = Vec::new();
    for database in place.databases(args.database).await? {
        let stats = place.read(database).await?.stats().await.map_err(|source| place.failed(database, source))?;
        match json {
            true => all.push(show::stats_json(database, &stats)),
            false => output::line(show::stats_text(database, &stats))?,
        }
    }
    if json { output::json(&all) } else { Ok(()) }
}
