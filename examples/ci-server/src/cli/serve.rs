//! `runyard serve`

use std::{path::PathBuf, sync::Arc};

use clap::Args;
use runyard_datamanager::WalDataManager;
use runyard_objectstorage::PosixStorage;
use tokio_util::sync::CancellationToken;

use super::Failure;
use crate::{
    git,
    ids::Ids,
    server::{self, auth::AdminToken, data_dir::DataDir, listen},
};

/// The data directory, unless told otherwise.
pub(super) const DATA_DEFAULT: &str = "runyard-data";

#[derive(Debug, Args)]
#[command(after_help = "Example:\n  runyard serve --data /var/lib/runyard --listen 127.0.0.1:8080")]
pub(super) struct ServeArgs {
    /// The directory of all data; made if it does not exist
    #[arg(long, env = "RUNYARD_DATA", default_value = DATA_DEFAULT, value_name = "DIR")]
    data: PathBuf,
    /// The address to listen on
    #[arg(long, env = "RUNYARD_LISTEN", default_value = "127.0.0.1:8080", value_name = "HOST:PORT")]
    listen: String,
    /// The largest push, in bytes
    #[arg(long, env = "RUNYARD_PUSH_SIZE_MAX", default_value_t = 1 << 30, value_name = "BYTES")]
    push_size_max: u64,
}

pub(super) async fn run(args: ServeArgs) -> Result<(), Failure> {
    // The address first: it is what most often cannot be had, and nothing has to be undone.
    let listener = listen::bind(&args.listen).await?;
    let directory = DataDir::open(&args.data)?;
    let (token, is_new) = AdminToken::load_or_create(&directory.admin_token())
        .map_err(|error| format!("token file `{}` cannot be used: {error}", directory.admin_token().display()))?;
    let ids = Arc::new(Ids::from_os()?);
    let storage = Arc::new(PosixStorage::open(directory.objects()).await?);
    let config_data = WalDataManager::builder(storage.clone()).base_path(server::CONFIG_DATA_PATH).open().await?;
    let git = git::Settings { push_size_max: args.push_size_max, ..git::Settings::new(directory.git_cache()) };
    let parts = server::Parts { config_data: Arc::new(config_data.clone()), storage, ids, token: token.clone(), git };
    let router = server::router(parts).await?;

    println!("Runyard listens on http://{}, with its data in {}", listener.local_addr()?, directory.root().display());
    if is_new {
        println!("Admin token (kept in {}): {}", directory.admin_token().display(), token.as_str());
    }
    let end = CancellationToken::new();
    let ending = async {
        listen::asked_to_end().await?;
        tracing::info!("ending");
        end.cancel();
        Ok(())
    };
    tokio::try_join!(listen::serve(listener, router, end.clone()), ending)?;
    config_data.close().await;
    Ok(())
}
