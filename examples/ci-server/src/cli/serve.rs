//! `runyard serve`

use std::{
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    path::PathBuf,
    sync::Arc,
    time::Duration,
};

use clap::Args;
use runyard_datamanager::WalDataManager;
use runyard_executor_core::{Executor, driver::ProcessDriver};
use runyard_objectstorage::PosixStorage;
use runyard_runservice_core::{RUN_DATA, RunService};
use tokio_util::sync::CancellationToken;

use super::{Failure, output};
use crate::{
    git,
    ids::Ids,
    server::{self, auth::AdminToken, data_dir::DataDir, listen},
    tool_homes,
};

/// The data directory, unless told otherwise.
pub(super) const DATA_DEFAULT: &str = "runyard-data";

/// How long a push waits for its runs; usually they are there within milliseconds.
const WAIT_FOR_RUNS: Duration = Duration::from_secs(5);

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
    /// The most tasks at a time; default: as many as the machine has processors
    #[arg(long, env = "RUNYARD_TASK_LIMIT", value_name = "NUMBER")]
    task_limit: Option<u32>,
}

impl ServeArgs {
    fn task_limit(&self) -> u32 {
        let processors = || std::thread::available_parallelism().map_or(2, |number| number.get() as u32);
        self.task_limit.unwrap_or_else(processors)
    }
}

pub(super) async fn run(args: ServeArgs) -> Result<(), Failure> {
    // The address first: it is what most often cannot be had, and nothing has to be undone.
    let listener = listen::bind(&args.listen).await?;
    let directory = DataDir::open(&args.data)?;
    let (token, is_new) = AdminToken::load_or_create(&directory.admin_token())
        .map_err(|error| format!("token file `{}` cannot be used: {error}", directory.admin_token().display()))?;
    let ids = Arc::new(Ids::from_os()?);
    let storage =
        Arc::new(PosixStorage::open(directory.objects()).await.map_err(|error| directory.content_error(error))?);
    let open = async |base_path: &str| {
        let opened = WalDataManager::builder(storage.clone()).base_path(base_path).open().await;
        opened.map_err(|error| directory.content_error(error))
    };
    let (config_data, run_data) = (open(server::CONFIG_DATA_PATH).await?, open(RUN_DATA).await?);
    let runs = RunService::builder(run_data.clone(), storage.clone()).build();
    let address = listener.local_addr()?;
    let end = CancellationToken::new();
    let parts = server::Parts {
        config_data: Arc::new(config_data.clone()),
        storage,
        runs: runs.clone(),
        ids,
        token: token.clone(),
        git: git::Settings {
            push_size_max: args.push_size_max,
            wait_for_runs: WAIT_FOR_RUNS,
            ..git::Settings::new(directory.git_cache())
        },
        own_url: own_url(address),
        end: end.clone(),
    };
    let server = server::assemble(parts).await?;
    let driver = Arc::new(ProcessDriver::builder().environment(tool_homes::here()).open(directory.pods())?);
    let executor = Executor::builder(runs.client(), driver).name("local").task_limit(args.task_limit());
    let executor = executor.open(directory.executor()).await?;

    output::tell(format_args!("Runyard listens on http://{address}, with its data in {}", directory.root().display()));
    if is_new {
        output::tell(format_args!("Admin token (kept in {}): {}", directory.admin_token().display(), token.as_str()));
    }
    let ending = async {
        listen::asked_to_end().await?;
        end.cancel();
        Ok::<_, Failure>(())
    };
    let serving = async { listen::serve(listener, server.router, end.clone()).await.map_err(Failure::from) };
    let triggers = async { server.triggers.run(end.clone()).await.map_err(Failure::from) };
    let placing = async { runs.run(end.clone()).await.map_err(Failure::from) };
    let executing = async { executor.run(end.clone()).await.map_err(Failure::from) };
    let ended = tokio::try_join!(serving, triggers, placing, executing, ending);
    output::tell(last_words(executor.held()));
    config_data.close().await;
    run_data.close().await;
    ended.map(drop)
}

/// What becomes of the tasks that the executor holds.
fn last_words(held: usize) -> String {
    match held {
        0 => "Ended; the executor holds no task.".to_owned(),
        1 => "Ended; 1 task is with the executor: it goes on under its supervisor, and the next start takes it up."
            .to_owned(),
        _ => format!(
            "Ended; {held} tasks are with the executor: they go on under their supervisors, and the next start takes them up."
        ),
    }
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
