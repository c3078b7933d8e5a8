//! A server in the process of a test, and a git client as a user has it.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
};

use runyard_datamanager::{WalDataManager, coordinator::EmbeddedCoordinator};
use runyard_objectstorage::PosixStorage;
use runyard_runservice_core::{RUN_DATA, RunService};
use tempfile::TempDir;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::{
    client::Client,
    configdata::{ConfigData, Project, ProjectId, ProjectName},
    git::{self, GitService},
    ids::Ids,
    server::{self, Assembled, auth::AdminToken, data_dir::DataDir, listen},
};

/// A data directory, which outlives the servers on it.
pub(crate) struct Home {
    directory: TempDir,
    objects: PathBuf,
    pub(crate) push_size_max: u64,
}

impl Home {
    pub(crate) fn new() -> Self {
        let directory = tempfile::tempdir().expect("a directory");
        let objects = directory.path().join("data/objects");
        Self { directory, objects, push_size_max: 1 << 30 }
    }

    /// A data directory for one more server on the storage of another one.
    pub(crate) fn sharing(other: &Self) -> Self {
        Self { objects: other.objects.clone(), ..Self::new() }
    }

    pub(crate) fn path(&self, below: &str) -> PathBuf {
        self.directory.path().join("data").join(below)
    }

    /// Starts a server, the whole of it but for the signals.
    pub(crate) async fn start(&self) -> TestServer {
        let directory = DataDir::open(&self.path("")).expect("the directory is free");
        let storage = Arc::new(PosixStorage::open(&self.objects).await.expect("a storage"));
        let data = open_data(&storage, server::CONFIG_DATA_PATH).await;
        let run_data = open_data(&storage, RUN_DATA).await;
        let runs = RunService::builder(run_data.clone(), storage.clone()).build();
        let (token, _) = AdminToken::load_or_create(&directory.admin_token()).expect("a token");
        let listener = listen::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("bound").to_string();
        let end = CancellationToken::new();
        let parts = server::Parts {
            config_data: Arc::new(data.clone()),
            coordinator: Arc::new(EmbeddedCoordinator::new()),
            storage,
            runs,
            ids: Arc::new(Ids::from_os().expect("random bytes")),
            token: token.clone(),
            git: git::Settings { push_size_max: self.push_size_max, ..git::Settings::new(directory.git_cache()) },
            own_url: format!("http://{address}"),
            end: end.clone(),
        };
        let Assembled { router, .. } = server::assemble(parts).await.expect("a server");
        // Without the worker of the triggers: tests look at what a push leaves to it.
        let serving = tokio::spawn(listen::serve(listener, router, end.clone()));
        let config = ConfigData::new(Arc::new(data.clone()));
        let token = token.as_str().to_owned();
        TestServer { address, token, config, data: [data, run_data], end, serving, _directory: directory }
    }

    /// The git service alone, as a server would have it.
    pub(crate) async fn git_service(&self) -> (ConfigData, GitService) {
        let storage = Arc::new(PosixStorage::open(&self.objects).await.expect("a storage"));
        let config = ConfigData::new(Arc::new(open_data(&storage, server::CONFIG_DATA_PATH).await));
        let ids = Arc::new(Ids::from_os().expect("random bytes"));
        let settings = git::Settings::new(self.path("cache/git"));
        let service = GitService::open(config.clone(), storage, ids, settings).await.expect("a git service");
        (config, service)
    }

    /// A git client with an empty repository on branch `main`.
    pub(crate) async fn work(&self, name: &str) -> Work {
        let work = Work { directory: self.directory.path().join(name) };
        std::fs::create_dir_all(&work.directory).expect("a directory");
        work.git(&["init", "-q", "-b", "main"]).await;
        work
    }
}

async fn open_data(storage: &Arc<PosixStorage>, base_path: &str) -> WalDataManager {
    WalDataManager::builder(storage.clone()).base_path(base_path).open().await.expect("a data manager")
}

pub(crate) struct TestServer {
    pub(crate) address: String,
    pub(crate) token: String,
    pub(crate) config: ConfigData,
    data: [WalDataManager; 2],
    end: CancellationToken,
    serving: JoinHandle<std::io::Result<()>>,
    _directory: DataDir,
}

impl TestServer {
    pub(crate) fn client(&self) -> Client {
        Client::new(&format!("http://{}", self.address), Some(self.token.clone())).expect("an address")
    }

    /// The address of a repository, with the credentials in it.
    pub(crate) fn git_url(&self, project: &str) -> String {
        format!("http://me:{}@{}/git/{project}.git", self.token, self.address)
    }

    /// Sees what other servers have committed, of which nobody tells it here.
    pub(crate) async fn catch_up(&self) {
        for data in &self.data {
            data.catch_up().await.expect("readable");
        }
    }

    pub(crate) async fn stop(self) {
        self.end.cancel();
        self.serving.await.expect("no panic").expect("it ended well");
        for data in self.data {
            data.close().await;
        }
    }
}

pub(crate) async fn create_project(config: &ConfigData, name: &str) -> Project {
    let id = ProjectId::generate(&Ids::from_os().expect("random bytes"));
    config.create_project(id, ProjectName::parse(name).expect("a name")).await.expect("a new project")
}

/// A working copy.
pub(crate) struct Work {
    directory: PathBuf,
}

/// How a command of a git client ended.
#[derive(Debug)]
pub(crate) struct Ended {
    pub(crate) success: bool,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

impl Work {
    pub(crate) fn path(&self) -> &Path {
        &self.directory
    }

    pub(crate) fn write(&self, file: &str, content: impl AsRef<[u8]>) {
        let file = self.directory.join(file);
        std::fs::create_dir_all(file.parent().expect("below the directory")).expect("a directory");
        std::fs::write(file, content).expect("written");
    }

    /// Commits a file, and returns the commit.
    pub(crate) async fn commit(&self, file: &str, content: impl AsRef<[u8]>) -> String {
        self.write(file, content);
        self.git(&["add", "-A"]).await;
        self.git(&["commit", "-q", "-m", &format!("Change {file}")]).await;
        self.git(&["rev-parse", "HEAD"]).await
    }

    /// Runs git, which must succeed, and returns what it printed.
    pub(crate) async fn git(&self, args: &[&str]) -> String {
        let ended = self.try_git(args).await;
        assert!(ended.success, "git {args:?}: {}", ended.stderr);
        ended.stdout.trim().to_owned()
    }

    pub(crate) async fn try_git(&self, args: &[&str]) -> Ended {
        let mut command = tokio::process::Command::new("git");
        command.args(args).current_dir(&self.directory).kill_on_drop(true);
        command.env("HOME", &self.directory).env("GIT_CONFIG_GLOBAL", "/dev/null").env("GIT_CONFIG_NOSYSTEM", "1");
        command.env("GIT_TERMINAL_PROMPT", "0").env("LC_ALL", "C");
        for role in ["AUTHOR", "COMMITTER"] {
            command.env(format!("GIT_{role}_NAME"), "A Tester").env(format!("GIT_{role}_EMAIL"), "tester@example.org");
        }
        let output = command.output().await.expect("git runs");
        let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).into_owned();
        Ended { success: output.status.success(), stdout: text(output.stdout), stderr: text(output.stderr) }
    }
}
