//! A network that breaks: it cuts connections after so many bytes, drawn from a seed.

use std::sync::{
    Arc,
    atomic::{AtomicU32, Ordering},
};

use rand::{Rng, SeedableRng, rngs::StdRng};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    task::JoinSet,
};
use tokio_util::task::AbortOnDropHandle;

/// The most connections that are cut: what survives so many survives more, and a test ends.
const CUTS_MAX: u32 = 300;

/// Forwards to one server. Dropping it ends it.
pub(crate) struct Proxy {
    pub(crate) address: String,
    cuts: Arc<AtomicU32>,
    _serving: AbortOnDropHandle<()>,
}

impl Proxy {
    /// In front of a server. Which connection lasts for how many bytes depends on the seed alone.
    pub(crate) async fn to(server: String, seed: u64) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("bound").to_string();
        let cuts = Arc::new(AtomicU32::new(0));
        let serving = serve(listener, server, StdRng::seed_from_u64(seed), Arc::clone(&cuts));
        Self { address, cuts, _serving: AbortOnDropHandle::new(tokio::spawn(serving)) }
    }

    /// How many connections were cut.
    pub(crate) fn cuts(&self) -> u32 {
        self.cuts.load(Ordering::Relaxed)
    }
}

async fn serve(listener: TcpListener, server: String, mut rng: StdRng, cuts: Arc<AtomicU32>) {
    let mut connections = JoinSet::new();
    let mut short = 0;
    while let Ok((client, _)) = listener.accept().await {
        while connections.try_join_next().is_some() {}
        let bytes = bytes(&mut rng, cuts.load(Ordering::Relaxed), &mut short);
        connections.spawn(connect(client, server.clone(), bytes, Arc::clone(&cuts)));
    }
}

/// How many bytes a connection lasts for, both ways together: often not even the head of a request, but not more than
/// twice in a row, because executors try some things five times and then give up.
fn bytes(rng: &mut StdRng, cuts: u32, short: &mut u32) -> usize {
    let (kind, size) = (rng.next_u32() % 4, rng.next_u32() as usize);
    if kind == 3 || *short == 2 || cuts >= CUTS_MAX {
        *short = 0;
        return if cuts >= CUTS_MAX { usize::MAX } else { 10_000_000 + size % 10_000_000 };
    }
    *short += 1;
    match kind {
        0 => size % 300,
        1 => size % 3_000,
        _ => size % 1_000_000,
    }
}

async fn connect(mut client: TcpStream, server: String, mut left: usize, cuts: Arc<AtomicU32>) {
    let Ok(mut server) = TcpStream::connect(server).await else { return };
    let (mut there, mut back) = (vec![0; 16_384], vec![0; 16_384]);
    loop {
        let (read, bytes, to) = tokio::select! {
            read = client.read(&mut there) => (read, &there, &mut server),
            read = server.read(&mut back) => (read, &back, &mut client),
        };
        let Ok(length @ 1..) = read else { return };
        let passed = length.min(left);
        left -= passed;
        if to.write_all(&bytes[..passed]).await.is_err() {
            return;
        }
        if passed < length {
            cuts.fetch_add(1, Ordering::Relaxed);
            return;
        }
    }
}
