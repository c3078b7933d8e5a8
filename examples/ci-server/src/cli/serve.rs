//! `runyard serve`

use std::{
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    path::PathBuf,
    sync::Arc,
    time::Duration,
};

use clap::Args;
use futures::TryStreamExt;
use runyard_datamanager::{WalDataManager, coordinator::Coordinator};
use runyard_executor_core::Executor;
use runyard_objectstorage::{ListRequest, ObjectStorage};
use runyard_runservice_core::{RUN_DATA, RunService, sealer::AeadSealer};
use tokio_util::sync::CancellationToken;

use super::{Failure, driver::DriverArgs, output};
use crate::{
    git,
    ids::Ids,
    server::{
        self,
        auth::AdminToken,
        coordination::{Coordination, Coordinators},
        data_dir::DataDir,
        listen,
        storage::StorageLocation,
    },
};

/// The data directory, unless told otherwise.
pub(super) const DATA_DEFAULT: &str = "runyard-data";

/// How long a push waits for its runs; usually they are there within milliseconds.
const WAIT_FOR_RUNS: Duration = Duration::from_secs(5);

#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  runyard serve --data /var/lib/runyard --listen 127.0.0.1:8080

Several servers share runs, projects and repositories with a storage and an etcd that all of them reach, each with a
data directory of its own; a program built with `--features s3,etcd` does:
  runyard serve --data a --listen 10.0.0.1:8080 --url http://ci.example.org --admin-token-file token \\
      --storage 's3://runyard-objects/ci?region=eu-central-1' --coordinator etcd://10.0.0.9:2379/ci")]
pub(super) struct ServeArgs {
    /// The directory of what this process needs for itself, and of all data if there is no --storage; made if it does not
    /// exist
    #[arg(long, env = "RUNYARD_DATA", default_value = DATA_DEFAULT, value_name = "DIR")]
    data: PathBuf,
    /// Where runs, logs, repositories and projects are kept: a directory, or s3://BUCKET/PREFIX?endpoint=URL; default:
    /// `objects` in the data directory
    #[arg(long, env = "RUNYARD_STORAGE", value_name = "DIR|URL")]
    storage: Option<StorageLocation>,
    /// Who else uses that storage: `embedded` for nobody, and a server that does so is stopped;
    /// etcd://HOST:PORT[,...]/PREFIX for all servers with the same one
    #[arg(
        long,
        env = "RUNYARD_COORDINATOR",
        hide_env_values = true,
        default_value = "embedded",
        value_name = "embedded|URL"
    )]
    coordinator: Coordination,
    /// A file with the admin token, which several servers have in common; default: one that is made at the first start
    #[arg(long, env = "RUNYARD_ADMIN_TOKEN_FILE", value_name = "FILE")]
    admin_token_file: Option<PathBuf>,
    /// The address at which tasks reach a server, such as that of a load balancer; default: that of this server
    #[arg(long, env = "RUNYARD_URL", value_name = "URL")]
    url: Option<String>,
    /// The address to listen on
    #[arg(long, env = "RUNYARD_LISTEN", default_value = "127.0.0.1:8080", value_name = "HOST:PORT")]
    listen: String,
    /// The largest push, in bytes
    #[arg(long, env = "RUNYARD_PUSH_SIZE_MAX", default_value_t = 1 << 30, value_name = "BYTES")]
    push_size_max: u64,
    #[command(flatten)]
    driver: DriverArgs,
}

impl ServeArgs {
    /// What people call the executor: where there are several, they have to be told apart.
    fn executor_name(&self, address: SocketAddr) -> String {
        if self.coordinator == Coordination::Embedded { "local".to_owned() } else { format!("of {address}") }
    }
}

pub(super) async fn run(args: ServeArgs) -> Result<(), Failure> {
    // The address first: it is what most often cannot be had, and nothing has to be undone.
    let listener = listen::bind(&args.listen).await?;
    let address = listener.local_addr()?;
    let directory = DataDir::open(&args.data)?;
    let (token, is_new) = admin_token(&args, &directory)?;
    let ids = Arc::new(Ids::from_os()?);
    let storage = match &args.storage {
        Some(location) => location.open().await?,
        None => StorageLocation::in_data(&directory).open().await.map_err(|error| directory.content_error(error))?,
    };
    let name = format!("the server at http://{address} (process {})", std::process::id());
    let coordinators = Coordinators::connect(&args.coordinator, &name).await?;
    let failed = |error| match &args.storage {
        Some(location) => Failure::from(location.error(error)),
        None => directory.content_error(error).into(),
    };
    // The second one before the first is opened, and with that taken over from another server.
    let has_runs = check(&storage, RUN_DATA).await.map_err(failed)?;
    if has_runs && !is_there(&storage, server::CONFIG_DATA_PATH).await.map_err(failed)? {
        tracing::warn!(
            "there are runs, but there is no database of projects: an empty one is made now. If there was one, end this \
             server and bring the objects below `{}/` back from a backup",
            server::CONFIG_DATA_PATH
        );
    }
    let open = async |base_path: &str, coordinator: &Arc<dyn Coordinator>| {
        let builder = WalDataManager::builder(storage.clone()).coordinator(Arc::clone(coordinator));
        builder.base_path(base_path).open().await.map_err(failed)
    };
    let config_data = open(server::CONFIG_DATA_PATH, &coordinators.config_data).await?;
    let run_data = open(RUN_DATA, &coordinators.run_data).await?;
    let runs = RunService::builder(run_data.clone(), storage.clone())
        .coordinator(Arc::clone(&coordinators.run_data))
        .process_name(&name)
        .sealer(AeadSealer::new(&token.sealing_key())?)
        .build();
    let end = CancellationToken::new();
    let own_url = args.url.clone().unwrap_or_else(|| own_url(address));
    if let Some(warning) = args.driver.warning(&own_url) {
        tracing::warn!("{warning}");
    }
    let parts = server::Parts {
        config_data: Arc::new(config_data.clone()),
        coordinator: Arc::clone(&coordinators.config_data),
        storage,
        runs: runs.clone(),
        ids,
        token: token.clone(),
        git: git::Settings {
            push_size_max: args.push_size_max,
            wait_for_runs: WAIT_FOR_RUNS,
            ..git::Settings::new(directory.git_cache())
        },
        own_url,
        end: end.clone(),
    };
    let server = server::assemble(parts).await?;
    let executor = Executor::builder(runs.client(), args.driver.open(&directory)?)
        .name(args.executor_name(address))
        .task_limit(args.driver.task_limit())
        .settings(args.driver.settings());
    let executor = executor.open(directory.executor()).await?;

    let place = match &args.storage {
        Some(location) => format!("{location}, and its own in {}", directory.root().display()),
        None => directory.root().display().to_string(),
    };
    output::tell(format_args!("Runyard listens on http://{address}, with its data in {place}"));
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
    let holding = async { tokio::try_join!(hold(&config_data, &end), hold(&run_data, &end)) };
    let ended = tokio::try_join!(serving, triggers, placing, executing, holding, ending);
    output::tell(last_words(executor.held()));
    config_data.close().await;
    run_data.close().await;
    coordinators.close().await;
    ended.map(drop)
}

/// The token that was given, or that of the data directory; and whether it was made now.
fn admin_token(args: &ServeArgs, directory: &DataDir) -> Result<(AdminToken, bool), Failure> {
    if let Some(file) = &args.admin_token_file {
        return Ok((AdminToken::from_file(file)?, false));
    }
    let file = directory.admin_token();
    let token = AdminToken::load_or_create(&file);
    token.map_err(|error| format!("token file `{}` cannot be used: {error}", file.display()).into())
}

/// Finds out whether a database is there, and if it is, whether it could be opened; changes nothing.
async fn check(storage: &Arc<dyn ObjectStorage>, base_path: &str) -> runyard_datamanager::Result<bool> {
    let is_there = is_there(storage, base_path).await?;
    if is_there {
        WalDataManager::builder(Arc::clone(storage)).base_path(base_path).read_only().open().await?.close().await;
    }
    Ok(is_there)
}

async fn is_there(storage: &Arc<dyn ObjectStorage>, base_path: &str) -> runyard_datamanager::Result<bool> {
    let mut objects = storage.list(ListRequest::prefix(format!("{base_path}/")));
    let first = objects.try_next().await.map_err(runyard_datamanager::Error::storage("looking for a database"))?;
    Ok(first.is_some())
}

/// Fails when another server has taken a database over: nothing that this one does counts any more.
async fn hold(data: &WalDataManager, end: &CancellationToken) -> Result<(), Failure> {
    let mut status = data.watch_status();
    let taken_over = status.wait_for(|status| status.taken_over.is_some());
    let Some(Ok(status)) = end.run_until_cancelled(taken_over).await else { return Ok(()) };
    status.taken_over.clone().map_or(Ok(()), |message| Err(message.into()))
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
