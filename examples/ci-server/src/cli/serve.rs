//! `runyard serve`

use std::{
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    path::PathBuf,
    sync::Arc,
};

use clap::Args;
use runyard_datamanager::WalDataManager;
use runyard_objectstorage::PosixStorage;
use runyard_runservice_core::{RUN_DATA, RunService};
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
    let run_data = WalDataManager::builder(storage.clone()).base_path(RUN_DATA).open().await?;
    let runs = RunService::builder(run_data.clone(), storage.clone()).build();
    let address = listener.local_addr()?;
    let parts = server::Parts {
        config_data: Arc::new(config_data.clone()),
        storage,
        runs: runs.clone(),
        ids,
        token: token.clone(),
        git: git::Settings { push_size_max: args.push_size_max, ..git::Settings::new(directory.git_cache()) },
        own_url: own_url(address),
    };
    let server = server::assemble(parts).await?;

    println!("Runyard listens on http://{}, with its data in {}", address, directory.root().display());
    if is_new {
        println!("Admin token (kept in {}): {}", directory.admin_token().display(), token.as_str());
    }
    let end = CancellationToken::new();
    let ending = async {
        listen::asked_to_end().await?;
        tracing::info!("ending");
        end.cancel();
        Ok::<_, Failure>(())
    };
    let serving = async { listen::serve(listener, server.router, end.clone()).await.map_err(Failure::from) };
    let triggers = async { server.triggers.run(end.clone()).await.map_err(Failure::from) };
    let placing = async { runs.run(end.clone()).await.map_err(Failure::from) };
    tokio::try_join!(serving, triggers, placing, ending)?;
    config_data.close().await;
    run_data.close().await;
    Ok(())
}

/// The address of this server, as tasks on the same machine reach it.
fn own_url(address: SocketAddr) -> String {
    let ip = match address.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => IpAddr::V4(Ipv4Addr::LOCALHOST),
        IpAddr::V6(ip) if ip.is_unspecified() => IpAddr::V6(Ipv6Addr::LOCALHOST),
        ip => ip,
    };
    format!("http://{}", SocketAddr::new(ip, address.port()))
}
