//! The servers under test: started, stopped, killed, wiped and restored.

use std::{
    path::{Path, PathBuf},
    process::Stdio,
    sync::{
        Arc, Mutex,
        atomic::{AtomicU16, Ordering},
    },
    time::Duration,
};

use runyard_datamanager::coordinator::{EtcdCoordinator, EtcdSettings};
use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;
use tokio::{
    io::{AsyncBufReadExt, BufReader},
    process::{Child, Command},
};

/// The lease of all tests: as short as etcd takes it, and a second.
pub(crate) const LEASE: Duration = Duration::from_secs(3);

/// What starts and answers takes a second; this is for machines that do much else.
const STARTS_WITHIN: Duration = Duration::from_secs(60);

/// Some members of one cluster. Dropping it kills them.
pub(crate) struct Cluster {
    directory: TempDir,
    members: Vec<Member>,
    /// Further arguments of each member.
    arguments: Vec<String>,
    /// What `etcdctl` is called with.
    pub(crate) ctl: Vec<String>,
    scheme: &'static str,
    /// Where clients reach the members.
    host: &'static str,
    /// The network namespace that the members run in; none: that of the test.
    within: Option<String>,
}

struct Member {
    name: String,
    client_port: u16,
    peer_port: u16,
    process: Option<Child>,
}

impl Cluster {
    /// Starts so many members.
    pub(crate) async fn start(members: usize) -> Self {
        Self::start_with(members, "http", Vec::new(), Vec::new()).await
    }

    pub(crate) async fn start_with(
        members: usize,
        scheme: &'static str,
        arguments: Vec<String>,
        ctl: Vec<String>,
    ) -> Self {
        Self::start_within(None, "127.0.0.1", members, scheme, arguments, ctl).await
    }

    /// Starts so many members in a network namespace that has that address.
    pub(crate) async fn start_in(namespace: &str, host: &'static str) -> Self {
        Self::start_within(Some(namespace.to_owned()), host, 1, "http", Vec::new(), Vec::new()).await
    }

    async fn start_within(
        within: Option<String>,
        host: &'static str,
        members: usize,
        scheme: &'static str,
        arguments: Vec<String>,
        ctl: Vec<String>,
    ) -> Self {
        let member = |n| Member { name: format!("m{n}"), client_port: port(), peer_port: port(), process: None };
        let members: Vec<_> = (0..members).map(member).collect();
        let directory = tempfile::tempdir().unwrap();
        let mut cluster = Self { directory, members, arguments, ctl, scheme, host, within };
        cluster.start_all().await;
        cluster
    }

    /// Starts all members that do not run, and waits until they answer.
    pub(crate) async fn start_all(&mut self) {
        let stopped: Vec<_> = (0..self.members.len()).filter(|n| self.members[*n].process.is_none()).collect();
        let mut started = Vec::new();
        for n in stopped {
            started.push((n, self.spawn(n)));
        }
        for (n, mut process) in started {
            serving(&mut process).await;
            self.members[n].process = Some(process);
        }
    }

    pub(crate) async fn start_member(&mut self, n: usize) {
        let mut process = self.spawn(n);
        serving(&mut process).await;
        self.members[n].process = Some(process);
    }

    fn spawn(&self, n: usize) -> Child {
        let Member { name, client_port, peer_port, .. } = &self.members[n];
        let client = format!("{}://{}:{client_port}", self.scheme, self.host);
        let peer = format!("http://127.0.0.1:{peer_port}");
        let mut command = match &self.within {
            Some(namespace) => inside(namespace, "etcd"),
            None => Command::new("etcd"),
        };
        command.args(["--name", name, "--logger", "zap", "--initial-cluster", &self.initial_cluster()]);
        command.arg("--data-dir").arg(self.data_directory(n));
        command.args(["--listen-client-urls", &client, "--advertise-client-urls", &client]);
        command.args(["--listen-peer-urls", &peer, "--initial-advertise-peer-urls", &peer]);
        command.args(&self.arguments);
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped()).kill_on_drop(true);
        command.spawn().expect("etcd is to be installed: `scripts/etcd install`")
    }

    fn initial_cluster(&self) -> String {
        let members =
            self.members.iter().map(|member| format!("{}=http://127.0.0.1:{}", member.name, member.peer_port));
        members.collect::<Vec<_>>().join(",")
    }

    fn data_directory(&self, n: usize) -> PathBuf {
        self.directory.path().join(&self.members[n].name)
    }

    /// A place for files, which is gone with the cluster.
    pub(crate) fn path(&self) -> &Path {
        self.directory.path()
    }

    pub(crate) fn endpoint(&self, n: usize) -> String {
        format!("{}:{}", self.host, self.members[n].client_port)
    }

    pub(crate) fn endpoints(&self) -> Vec<String> {
        (0..self.members.len()).map(|n| self.endpoint(n)).collect()
    }

    pub(crate) fn settings(&self, prefix: &str) -> EtcdSettings {
        settings(self.endpoints(), prefix)
    }

    /// Kills a member, as a power cut does.
    pub(crate) async fn kill(&mut self, n: usize) {
        let mut process = self.members[n].process.take().expect("it runs");
        process.kill().await.unwrap();
    }

    pub(crate) async fn kill_all(&mut self) {
        for n in 0..self.members.len() {
            self.kill(n).await;
        }
    }

    /// Removes everything that the members know, which do not run.
    pub(crate) fn wipe(&self) {
        for n in 0..self.members.len() {
            std::fs::remove_dir_all(self.data_directory(n)).unwrap();
        }
    }

    /// Makes a snapshot of everything that the cluster knows.
    pub(crate) async fn snapshot(&self) -> PathBuf {
        let path = self.path().join("snapshot");
        self.ctl(&["--endpoints", &self.endpoint(0), "snapshot", "save", path.to_str().unwrap()]).await;
        path
    }

    /// Puts a snapshot in place of everything that the members know, which do not run.
    pub(crate) async fn restore(&self, snapshot: &Path) {
        self.wipe();
        for (n, member) in self.members.iter().enumerate() {
            let peer = format!("http://127.0.0.1:{}", member.peer_port);
            let (snapshot, directory) = (snapshot.to_str().unwrap(), self.data_directory(n));
            let place = ["--name", &member.name, "--data-dir", directory.to_str().unwrap()];
            let cluster = ["--initial-cluster", &self.initial_cluster(), "--initial-advertise-peer-urls", &peer];
            self.ctl(&[&["snapshot", "restore", snapshot][..], &place, &cluster].concat()).await;
        }
    }

    /// Freezes a member, or lets it go on.
    pub(crate) fn signal(&self, n: usize, signal: Signal) {
        let pid = self.members[n].process.as_ref().and_then(Child::id).expect("it runs");
        kill_process(Pid::from_raw(pid.cast_signed()).unwrap(), signal).unwrap();
    }

    /// The member that leads the others.
    pub(crate) async fn leader(&self) -> usize {
        let status = self.ctl(&["--endpoints", &self.endpoints().join(","), "-w", "json", "endpoint", "status"]).await;
        let status: serde_json::Value = serde_json::from_str(&status).unwrap();
        let leads = |status: &serde_json::Value| status["Status"]["leader"] == status["Status"]["header"]["member_id"];
        let endpoint = status.as_array().unwrap().iter().find(|status| leads(status)).unwrap()["Endpoint"].clone();
        self.endpoints().iter().position(|other| endpoint.as_str().unwrap().ends_with(other)).unwrap()
    }

    /// What `etcdctl` prints, asked of all members unless the arguments say otherwise.
    pub(crate) async fn ctl(&self, arguments: &[&str]) -> String {
        let mut command = Command::new("etcdctl");
        command.env("ETCDCTL_API", "3").args(&self.ctl).args(arguments).kill_on_drop(true);
        if !arguments.contains(&"--endpoints") {
            command.args(["--endpoints", &self.endpoints().join(",")]);
        }
        let output = command.output().await.expect("etcdctl is to be installed: `scripts/etcd install`");
        assert!(output.status.success(), "etcdctl {arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap()
    }
}

/// A command that runs in a network namespace.
fn inside(namespace: &str, program: &str) -> Command {
    let mut command = Command::new("ip");
    command.args(["netns", "exec", namespace, program]);
    command
}

/// The settings of all tests.
pub(crate) fn settings(endpoints: Vec<String>, prefix: &str) -> EtcdSettings {
    let mut settings = EtcdSettings::new(endpoints, prefix);
    settings.lease = LEASE;
    settings
}

pub(crate) async fn connect(settings: EtcdSettings) -> Arc<EtcdCoordinator> {
    Arc::new(EtcdCoordinator::connect(settings).await.unwrap())
}

/// Waits until a server says that it serves, and then takes in what else it says.
async fn serving(process: &mut Child) {
    let mut lines = BufReader::new(process.stderr.take().unwrap()).lines();
    let said = Arc::new(Mutex::new(Vec::new()));
    let listens = async {
        while let Some(line) = lines.next_line().await.unwrap() {
            if line.contains("ready to serve client requests") || line.contains("serving client traffic") {
                return true;
            }
            said.lock().unwrap().push(line);
        }
        false
    };
    let serves = tokio::time::timeout(STARTS_WITHIN, listens).await.unwrap_or(false);
    assert!(serves, "etcd does not start: {}", said.lock().unwrap().join("\n"));
    tokio::spawn(async move { while let Ok(Some(_)) = lines.next_line().await {} });
}

/// A port that is free, and that no outgoing connection takes while its server is down: those take higher ones.
pub(crate) fn port() -> u16 {
    static NEXT: AtomicU16 = AtomicU16::new(0);
    loop {
        let port =
            15_000 + (std::process::id() as u16).wrapping_mul(61) % 15_000 + NEXT.fetch_add(1, Ordering::Relaxed);
        if std::net::TcpListener::bind(("127.0.0.1", port)).is_ok() {
            return port;
        }
    }
}
