//! `runyard executor`: executes the tasks of a server that is somewhere else.

use std::{
    fs,
    io::{self, Write as _},
    os::unix::fs::OpenOptionsExt as _,
    path::{Path, PathBuf},
    sync::Arc,
};

use clap::Args;
use runyard_executor_core::{
    Executor,
    contract::ClientError,
    http::{Endpoint, HttpClient},
};
use tokio_util::sync::CancellationToken;

use super::{Failure, driver::DriverArgs, output};
use crate::{
    client,
    server::{EXECUTORS_PATH, data_dir::DataDir, listen},
};

/// The directory, unless told otherwise.
const DATA_DEFAULT: &str = "runyard-executor";

#[derive(Debug, Args)]
#[command(
    long_about = "Execute the tasks of a server that is somewhere else\n\n\
        The executor calls the server, which needs no way to it. The first time it joins with a token that \
        `runyard executors token` prints where the server is administered; from then on it has a token of its own.",
    after_help = "Examples:\n  \
        runyard executor --server http://ci.example.org:8080 --join-token-file join-token\n  \
        runyard executor --server http://ci.example.org:8080 --driver docker --docker-network host\n\n\
        The first Ctrl-C, or SIGTERM, ends it at once; running steps go on, and the next start attaches to them again."
)]
pub(super) struct ExecutorArgs {
    /// The address of the server
    #[arg(long, env = "RUNYARD_SERVER", default_value = "http://127.0.0.1:8080", value_name = "URL")]
    server: String,
    /// The directory of its journal, its token, and of what tasks leave; made if it does not exist
    #[arg(long, env = "RUNYARD_EXECUTOR_DATA", default_value = DATA_DEFAULT, value_name = "DIR")]
    data: PathBuf,
    /// A file with a join token; needed the first time
    #[arg(long, env = "RUNYARD_JOIN_TOKEN_FILE", value_name = "FILE")]
    join_token_file: Option<PathBuf>,
    /// What people call it; default: its id
    #[arg(long, env = "RUNYARD_EXECUTOR_NAME", value_name = "NAME")]
    name: Option<String>,
    #[command(flatten)]
    driver: DriverArgs,
}

pub(super) async fn run(args: ExecutorArgs) -> Result<(), Failure> {
    let directory = DataDir::open(&args.data)?;
    // First: it may have to say whose TLS the program has, before any client is made.
    let http = client::http()?;
    // For its errors: an address that is none, or one with a TLS that this program does not speak.
    client::Client::new(&args.server, None)?;
    let endpoint = Endpoint::new(&format!("{}{EXECUTORS_PATH}", args.server.trim_end_matches('/')))?;
    let client = HttpClient::new(endpoint.http_client(http));
    let driver = args.driver.open(&directory)?;
    let mut builder = Executor::builder(Arc::new(client.clone()), driver).task_limit(args.driver.task_limit());
    if let Some(name) = &args.name {
        builder = builder.name(name);
    }
    let executor = builder.settings(args.driver.settings()).open(directory.executor()).await?;
    let token = directory.root().join("token");
    let join_token = args.join_token_file.as_deref();
    join(&client, &executor, &token, join_token, &args.server).await?;
    output::tell(format_args!("Executor {} works for {}", executor.id(), args.server));
    let end = CancellationToken::new();
    let ending = async {
        listen::asked_to_end().await?;
        end.cancel();
        Ok::<_, Failure>(())
    };
    let executing = async {
        let ran = executor.run(end.clone()).await;
        end.cancel();
        ran.map_err(Failure::from)
    };
    let ended = tokio::select! {
        executed = executing => executed,
        // The executor hears of it too, and returns at once.
        Err(error) = ending => Err(error),
    };
    if executor.held() > 0 {
        output::tell(format_args!("{} tasks go on; the next start attaches to them again", executor.held()));
    }
    ended
}

/// Shows the token that was kept, or exchanges the join token for one, which is kept.
async fn join(
    client: &HttpClient,
    executor: &Executor,
    kept: &Path,
    join_token: Option<&Path>,
    server: &str,
) -> Result<(), Failure> {
    match fs::read_to_string(kept) {
        // One that is empty was about to be written when the disk was full: joining again is allowed until it was shown.
        Ok(token) if !token.trim().is_empty() => {
            client.set_token(token.trim());
            return Ok(());
        }
        Ok(_) => {}
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => return Err(format!("token file `{}` cannot be read: {error}", kept.display()).into()),
    }
    let Some(file) = join_token else {
        return Err(format!(
            "this executor has never joined a server: get a token with `runyard executors token --server {server}`, and \
             give its file with --join-token-file"
        )
        .into());
    };
    let join_token = fs::read_to_string(file);
    let join_token =
        join_token.map_err(|error| format!("join token file `{}` cannot be read: {error}", file.display()))?;
    let token = client.join(join_token.trim(), executor.id()).await.map_err(|error| refusal(&error, server))?;
    // It appears whole: half of it would lock the executor out.
    let new = kept.with_extension("new");
    let written = fs::OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&new);
    written
        .and_then(|mut file| file.write_all(token.as_bytes()).and_then(|()| file.sync_all()))
        .and_then(|()| fs::rename(&new, kept))
        .map_err(|error| format!("token file `{}` cannot be written: {error}", kept.display()).into())
}

fn refusal(error: &ClientError, server: &str) -> String {
    let mut text = error.to_string();
    let mut source = std::error::Error::source(error);
    while let Some(cause) = source {
        text = format!("{text}: {cause}");
        source = cause.source();
    }
    format!("this executor cannot join the server at {server}: {text}")
}
