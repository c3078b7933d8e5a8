//! A network between one process and etcd that can be cut.

use std::sync::Arc;

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{
        TcpListener, TcpStream,
        tcp::{OwnedReadHalf, OwnedWriteHalf},
    },
    sync::watch,
    task::JoinSet,
};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Network {
    /// Everything arrives.
    Up,
    /// Nothing arrives, and nobody is told.
    Silent,
    /// Connections are reset, and refused.
    Refusing,
}

/// Forwards to one server. Dropping it ends it.
pub(crate) struct Proxy {
    pub(crate) endpoint: String,
    network: Arc<watch::Sender<Network>>,
    _tasks: JoinSet<()>,
}

impl Proxy {
    pub(crate) async fn to(server: String) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let endpoint = listener.local_addr().unwrap().to_string();
        let network = Arc::new(watch::Sender::new(Network::Up));
        let mut tasks = JoinSet::new();
        tasks.spawn(serve(listener, server, Arc::clone(&network)));
        Self { endpoint, network, _tasks: tasks }
    }

    pub(crate) fn set(&self, network: Network) {
        self.network.send_replace(network);
    }
}

async fn serve(listener: TcpListener, server: String, network: Arc<watch::Sender<Network>>) {
    let mut connections = JoinSet::new();
    while let Ok((client, _)) = listener.accept().await {
        connections.spawn(connect(client, server.clone(), network.subscribe()));
    }
}

async fn connect(client: TcpStream, server: String, mut network: watch::Receiver<Network>) {
    // What is silent stays so: a connection that is begun then waits until the network is up again.
    if network.wait_for(|network| *network != Network::Silent).await.is_ok_and(|network| *network == Network::Refusing)
    {
        return;
    }
    let Ok(server) = TcpStream::connect(server).await else { return };
    let ((from_client, to_client), (from_server, to_server)) = (client.into_split(), server.into_split());
    tokio::select! {
        () = forward(from_client, to_server, network.clone()) => {}
        () = forward(from_server, to_client, network.clone()) => {}
    }
}

async fn forward(mut from: OwnedReadHalf, mut to: OwnedWriteHalf, mut network: watch::Receiver<Network>) {
    let mut bytes = vec![0; 16_384];
    loop {
        let now = *network.borrow_and_update();
        match now {
            Network::Refusing => return,
            Network::Silent => {
                if network.changed().await.is_err() {
                    return;
                }
            }
            Network::Up => {
                tokio::select! {
                    changed = network.changed() => if changed.is_err() { return },
                    read = from.read(&mut bytes) => match read {
                        Ok(0) | Err(_) => return,
                        Ok(length) => {
                            // What was read when the network went silent is not lost, but late.
                            if network.wait_for(|network| *network != Network::Silent).await.is_err()
                                || to.write_all(&bytes[..length]).await.is_err()
                            {
                                return;
                            }
                        }
                    }
                }
            }
        }
    }
}
