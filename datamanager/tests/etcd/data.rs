//! Does a store that three processes share lose or repeat nothing, and go on by itself, whatever becomes of their etcd?

use std::{sync::Arc, time::Duration};

use runyard_datamanager::coordinator::{Coordinator, CoordinatorStatus, EtcdCoordinator};
use rustix::process::Signal;
use tokio::time::timeout;

use crate::{
    contenders::BACK_WITHIN,
    namespaces::{HUB, Star},
    server::{Cluster, LEASE, connect, settings},
    service::Service,
};

async fn coordinators(cluster: &Cluster) -> Vec<Arc<EtcdCoordinator>> {
    let mut coordinators = Vec::new();
    for n in 0..3 {
        let mut settings = cluster.settings("store");
        // Each prefers another member, if there are several.
        let members = settings.endpoints.len();
        settings.endpoints.rotate_left(n % members);
        coordinators.push(connect(settings).await);
    }
    coordinators
}

/// Waits until a process has noticed that it hears nothing, and returns why.
async fn notices(coordinator: &EtcdCoordinator) -> String {
    let mut status = coordinator.status();
    let gone = timeout(BACK_WITHIN, status.wait_for(|status| !status.is_connected())).await.expect("it is noticed");
    match &*gone.unwrap() {
        CoordinatorStatus::Disconnected { reason, .. } => reason.clone(),
        other => panic!("{other:?}"),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn etcd_is_killed_and_restarted() {
    let mut cluster = Cluster::start(1).await;
    let service = Service::start(coordinators(&cluster).await).await;
    cluster.kill_all().await;
    let reason = notices(service.coordinator(0)).await;
    assert!(reason.contains(&cluster.endpoint(0)), "{reason}");
    // Without it, too, and everybody still sees what the others do.
    service.commits_go_on().await;
    cluster.start_all().await;
    service.is_back().await;
    service.check().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn etcd_loses_everything() {
    let mut cluster = Cluster::start(1).await;
    let service = Service::start(coordinators(&cluster).await).await;
    cluster.kill_all().await;
    cluster.wipe();
    cluster.start_all().await;
    service.is_back().await;
    service.check().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn etcd_is_restored_from_an_older_snapshot() {
    let mut cluster = Cluster::start(1).await;
    let service = Service::start(coordinators(&cluster).await).await;
    let snapshot = cluster.snapshot().await;
    // What is announced now is beyond what the snapshot knows.
    service.is_back().await;
    cluster.kill_all().await;
    cluster.restore(&snapshot).await;
    cluster.start_all().await;
    service.is_back().await;
    service.check().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn etcd_stands_still_for_longer_than_a_lease() {
    let cluster = Cluster::start(1).await;
    let service = Service::start(coordinators(&cluster).await).await;
    cluster.signal(0, Signal::STOP);
    for n in 0..3 {
        notices(service.coordinator(n)).await;
    }
    // Nothing happens but that time passes.
    tokio::time::sleep(LEASE + Duration::from_secs(1)).await;
    service.commits_go_on().await;
    cluster.signal(0, Signal::CONT);
    service.is_back().await;
    service.check().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_leader_of_three_members_is_killed() {
    let mut cluster = Cluster::start(3).await;
    let service = Service::start(coordinators(&cluster).await).await;
    for _ in 0..2 {
        let leader = cluster.leader().await;
        cluster.kill(leader).await;
        service.is_back().await;
        cluster.start_member(leader).await;
        service.is_back().await;
    }
    service.check().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_network_of_one_process_after_the_other_is_cut() {
    let star = Star::new(3);
    let cluster = Cluster::start_in(&star.hub(), HUB).await;
    let mut inhabitants = Vec::new();
    for n in 0..3 {
        inhabitants.push(star.inhabit(n, settings(cluster.endpoints(), "store")).await);
    }
    let service = Service::start(inhabitants.iter().map(|one| Arc::clone(&one.coordinator)).collect()).await;
    for n in 0..3 {
        star.cut(n);
        let reason = notices(service.coordinator(n)).await;
        assert!(reason.contains(HUB), "{reason}");
        // It still commits and sees everything, and one of the others leads if it did.
        service.commits_go_on().await;
        service.somebody_leads().await;
        star.mend(n);
        service.is_back().await;
    }
    service.check().await;
}
