//! A run service with its workers, served on loopback, and the ways to it.

use std::{sync::Arc, time::Duration};

use runyard_datamanager::{DataManager, MemoryDataManager};
use runyard_executor_core::{
    contract::{ExecutorId, RunServiceClient, TaskName},
    http::{Endpoint, HttpClient, HttpSettings},
};
use runyard_objectstorage::MemoryStorage;
use runyard_runservice_core::{
    EventSequence, ExecutorState, IdSource, NewJoinToken, RunDetail, RunService, Settings,
    http::{self, ManagementApi, ManagementClient},
    model::{GroupPath, Run, RunConfig},
};
use tokio_util::{sync::CancellationToken, task::AbortOnDropHandle};

use crate::proxy::Proxy;

/// How a client reaches the service.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Way {
    InProcess,
    Http,
    Breaking,
}

pub(crate) struct World {
    pub(crate) runs: RunService,
    pub(crate) way: Way,
    pub(crate) address: String,
    pub(crate) proxy: Option<Proxy>,
    _workers: AbortOnDropHandle<()>,
    _server: AbortOnDropHandle<()>,
}

impl World {
    pub(crate) async fn new(way: Way) -> Self {
        let settings = Settings { archive_bytes_max: 8 << 20, ..Settings::default() };
        Self::over(MemoryDataManager::new(), way, settings, ManagementApi::new).await
    }

    pub(crate) async fn over(
        data: impl DataManager,
        way: Way,
        settings: Settings,
        api: impl FnOnce(RunService) -> ManagementApi,
    ) -> Self {
        // Features of other crates may have built reqwest with TLS of nobody's choice.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let builder = RunService::builder(data, MemoryStorage::new()).settings(settings);
        let runs = builder.ids(IdSource::from_seed(1)).build();
        let working = runs.clone();
        let workers = async move { working.run(CancellationToken::new()).await.expect("the workers go on") };
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("bound").to_string();
        let app = axum::Router::new()
            .nest("/executors", http::executor_router(runs.clone()))
            .nest("/api", api(runs.clone()).router());
        let server = async move { axum::serve(listener, app).await.expect("it serves") };
        let proxy = match way {
            Way::Breaking => Some(Proxy::to(address.clone(), seed()).await),
            Way::InProcess | Way::Http => None,
        };
        let _workers = AbortOnDropHandle::new(tokio::spawn(workers));
        let _server = AbortOnDropHandle::new(tokio::spawn(server));
        Self { runs, way, address, proxy, _workers, _server }
    }

    pub(crate) fn endpoint(&self, path: &str) -> Endpoint {
        let address = self.proxy.as_ref().map_or(&self.address, |proxy| &proxy.address);
        let settings = HttpSettings {
            tries: 60,
            backoff_first: Duration::from_millis(1),
            backoff_max: Duration::from_millis(20),
            ..HttpSettings::default()
        };
        // Without connections that are kept, so that the network breaks more of them.
        let http = reqwest::Client::builder().pool_max_idle_per_host(usize::from(self.proxy.is_none()));
        let http = http.build().expect("a client");
        let endpoint = Endpoint::new(&format!("http://{address}/{path}")).expect("a URL");
        endpoint.http_client(http).settings(settings).seed(1)
    }

    /// A client of an executor, which has joined if it has to.
    pub(crate) async fn client(&self, executor: &str) -> Arc<dyn RunServiceClient> {
        match self.way {
            Way::InProcess => self.runs.client(),
            Way::Http | Way::Breaking => Arc::new(self.http_client(executor).await),
        }
    }

    pub(crate) async fn http_client(&self, executor: &str) -> HttpClient {
        let join = self.runs.create_join_token(NewJoinToken::default()).await.expect("made");
        let client = HttpClient::new(self.endpoint("executors"));
        client.join(&join.token, &id(executor)).await.expect("joined");
        client
    }

    pub(crate) fn management(&self) -> ManagementClient {
        ManagementClient::new(self.endpoint("api"))
    }

    pub(crate) async fn create(&self, config: RunConfig) -> Run {
        self.runs.create(config.into()).await.expect("created")
    }

    /// Waits until an executor is not connected any more, of which no event tells.
    pub(crate) async fn gone(&self, executor: &str) {
        let gone = async {
            loop {
                let detail = self.runs.executor(&id(executor)).await.expect("it has registered");
                if matches!(detail.state, ExecutorState::Disconnected { .. }) {
                    break;
                }
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
        };
        tokio::time::timeout(Duration::from_secs(30), gone).await.expect("gone in time");
    }

    pub(crate) async fn finished(&self, run: &Run) -> RunDetail {
        use futures::StreamExt as _;
        let mut events = self.runs.events(EventSequence::ZERO);
        loop {
            let detail = self.runs.get(&run.id).await.expect("the run exists");
            if detail.run.phase.is_final() {
                return detail;
            }
            events.next().await.expect("events go on").expect("readable");
        }
    }
}

impl Drop for World {
    fn drop(&mut self) {
        if let Some(proxy) = &self.proxy {
            println!("{} connections were cut", proxy.cuts());
        }
    }
}

/// The seed of a network, printed: that of a failed test draws the same again.
fn seed() -> u64 {
    let given = std::env::var("RUNYARD_SEED").ok().map(|seed| seed.parse().expect("a number"));
    let seed = given.unwrap_or(1);
    println!("RUNYARD_SEED={seed}");
    seed
}

pub(crate) fn id(id: &str) -> ExecutorId {
    ExecutorId::parse(id).expect("valid")
}

pub(crate) fn name(name: &str) -> TaskName {
    TaskName::parse(name).expect("valid")
}

pub(crate) fn group(branch: &str) -> GroupPath {
    GroupPath::new("project", "p").and_then(|project| project.child("branch", branch)).expect("valid")
}

/// Bytes that do not repeat.
pub(crate) fn noise(bytes: usize) -> Vec<u8> {
    use rand::{Rng as _, SeedableRng as _};
    let mut noise = vec![0; bytes];
    rand::rngs::StdRng::seed_from_u64(7).fill_bytes(&mut noise);
    noise
}
