//! Network namespaces, so that the kernel itself cuts the network between a process and etcd. This takes root.
//!
//! ```text
//! hub: bridge 10.99.0.1, etcd listens there     spoke n: 10.99.0.(n + 2), one process connects from there
//! ```
//!
//! Nothing of it can be reached from the namespace of the machine.

use std::{
    fs::File,
    os::fd::AsFd,
    process::Command,
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
    thread::JoinHandle,
};

use runyard_datamanager::coordinator::{EtcdCoordinator, EtcdSettings};
use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};
use tokio::sync::oneshot;

use crate::server::connect;

/// Where etcd is reached from the spokes.
pub(crate) const HUB: &str = "10.99.0.1";

/// A hub and its spokes. Dropping it removes them.
pub(crate) struct Star {
    name: String,
    spokes: usize,
}

/// A process whose sockets are in a spoke. Dropping it ends it.
pub(crate) struct Inhabitant {
    pub(crate) coordinator: Arc<EtcdCoordinator>,
    end: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

#[track_caller]
fn ip(arguments: &str) {
    let output =
        Command::new("ip").args(arguments.split(' ')).output().expect("`ip` is to be installed: package iproute2");
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "`ip {arguments}`, which takes root: {said}");
}

impl Star {
    pub(crate) fn new(spokes: usize) -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let name = format!("ry{}n{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
        let star = Self { name, spokes };
        let hub = star.hub();
        ip(&format!("netns add {hub}"));
        ip(&format!("-n {hub} link add hub type bridge"));
        ip(&format!("-n {hub} address add {HUB}/24 dev hub"));
        ip(&format!("-n {hub} link set hub up"));
        ip(&format!("-n {hub} link set lo up"));
        for n in 0..spokes {
            let spoke = star.spoke(n);
            ip(&format!("netns add {spoke}"));
            ip(&format!("-n {hub} link add spoke{n} type veth peer name eth0 netns {spoke}"));
            ip(&format!("-n {hub} link set spoke{n} master hub up"));
            ip(&format!("-n {spoke} address add 10.99.0.{}/24 dev eth0", n + 2));
            ip(&format!("-n {spoke} link set eth0 up"));
        }
        star
    }

    pub(crate) fn hub(&self) -> String {
        format!("{}-hub", self.name)
    }

    fn spoke(&self, n: usize) -> String {
        format!("{}-{n}", self.name)
    }

    /// Cuts a spoke off: its packets arrive nowhere, and nobody is told.
    pub(crate) fn cut(&self, n: usize) {
        ip(&format!("-n {} link set spoke{n} down", self.hub()));
    }

    pub(crate) fn mend(&self, n: usize) {
        ip(&format!("-n {} link set spoke{n} up", self.hub()));
    }

    /// Connects from a spoke: all sockets are opened there, those of reconnections too.
    pub(crate) async fn inhabit(&self, n: usize, settings: EtcdSettings) -> Inhabitant {
        let namespace = format!("/run/netns/{}", self.spoke(n));
        let (connected, coordinator) = oneshot::channel();
        let (end, ended) = oneshot::channel();
        let thread = std::thread::spawn(move || {
            let namespace = File::open(namespace).unwrap();
            move_into_link_name_space(namespace.as_fd(), Some(LinkNameSpaceType::Network)).unwrap();
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(async {
                assert!(connected.send(connect(settings).await).is_ok(), "the test waits for it");
                let _ = ended.await;
            });
        });
        let coordinator = coordinator.await.expect("it could be connected");
        Inhabitant { coordinator, end: Some(end), thread: Some(thread) }
    }
}

impl Drop for Star {
    fn drop(&mut self) {
        let names = (0..self.spokes).map(|n| self.spoke(n)).chain([self.hub()]);
        for name in names {
            // Whatever was made before a panic goes.
            let _ = Command::new("ip").args(["netns", "delete", &name]).output();
        }
    }
}

impl Drop for Inhabitant {
    fn drop(&mut self) {
        drop(self.end.take());
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}
