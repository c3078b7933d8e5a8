//! `runyard data export` and `import`

use std::path::{Path, PathBuf};

use bytes::BytesMut;
use clap::Args;
use futures::{StreamExt, TryStreamExt};
use runyard_datamanager::{Error, Imported, WalDataManager};
use serde_json::json;
use tokio::io::{AsyncBufReadExt, AsyncRead, AsyncReadExt, BufReader};
use tokio_util::io::ReaderStream;

use super::{DatabaseArgs, Place, place::Database};
use crate::cli::{Failure, output};

/// How much is printed, and read, at a time.
const PIECE_BYTES: usize = 64 << 10;

/// Why nobody else may write during an import, as whoever starts a server in the middle of one reads it.
const REASON: &str = "an import was begun and did not end: give `runyard data import` again, with the same export";

#[derive(Debug, Args)]
pub(in crate::cli) struct ImportArgs {
    #[command(flatten)]
    of: DatabaseArgs,
    /// What `runyard data export` has written; `-` is the standard input
    file: PathBuf,
}

pub(super) async fn export(args: DatabaseArgs) -> Result<(), Failure> {
    let place = Place::to_read(&args.directory.data).await?;
    let data = place.read(args.database).await?;
    let mut lines = data.export(None);
    let mut piece = BytesMut::new();
    while let Some(line) = lines.next().await {
        piece.extend_from_slice(&line.map_err(|source| place.failed(args.database, source))?);
        if piece.len() >= PIECE_BYTES {
            output::bytes(&piece.split())?;
        }
    }
    output::bytes(&piece)
}

pub(super) async fn import(args: ImportArgs, json: bool) -> Result<(), Failure> {
    let database = args.of.database;
    let lines: Box<dyn AsyncRead + Send + Unpin> = match args.file == Path::new("-") {
        true => Box::new(tokio::io::stdin()),
        false => {
            let opened = tokio::fs::File::open(&args.file).await;
            Box::new(opened.map_err(|error| format!("`{}` cannot be read: {error}", args.file.display()))?)
        }
    };
    let mut lines = BufReader::with_capacity(PIECE_BYTES, lines);
    let mut first = Vec::new();
    let read = (&mut lines).take(PIECE_BYTES as u64).read_until(b'\n', &mut first).await;
    read.map_err(|error| format!("`{}` cannot be read: {error}", args.file.display()))?;
    if let Some(other) = exported_database(&first).filter(|other| *other != database) {
        return Err(format!(
            "`{}` is an export of database {other}, and not of {database}: import it with --database {other}",
            args.file.display()
        )
        .into());
    }
    let lines = std::io::Cursor::new(first).chain(lines);
    let place = Place::alone(&args.of.directory.data, true).await?;
    let data = place.write(database).await?;
    let imported = import_maintained(&data, lines).await;
    data.close().await;
    let imported = imported.map_err(|source| place.failed(database, source))?;
    let (entries, position) = (imported.entries, imported.position);
    if json {
        return output::json(&json!({ "entries": entries, "position": position.to_string() }));
    }
    output::line(format_args!("Imported {entries} entries into database {database}, at position {position}."))
}

/// Which of the databases the first line of an export names.
fn exported_database(header: &[u8]) -> Option<Database> {
    let header: serde_json::Value = serde_json::from_slice(header).ok()?;
    Database::of_base_path(header.get("base_path")?.as_str()?)
}

async fn import_maintained(data: &WalDataManager, lines: impl AsyncRead + Send) -> Result<Imported, Error> {
    match data.enter_maintenance(REASON).await {
        // One that was killed is done again.
        Err(Error::Maintenance { reason }) if reason == REASON => {}
        entered => drop(entered?),
    }
    let lines = ReaderStream::with_capacity(lines, PIECE_BYTES).map_err(|error| error.to_string());
    let imported = data.import(lines).await;
    // Also after a failure: nothing was changed by it.
    let left = data.leave_maintenance().await;
    let imported = imported?;
    left?;
    Ok(imported)
}
