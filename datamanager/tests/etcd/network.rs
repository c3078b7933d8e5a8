//! What if the network between one process and etcd is cut?

use std::{sync::Arc, time::Duration};

use runyard_datamanager::coordinator::{Coordinator, CoordinatorStatus, EtcdCoordinator};
use tokio::time::{Instant, timeout};

use crate::{
    contenders::{BACK_WITHIN, Contenders, MARGIN, NOTICED_WITHIN},
    proxy::{Network, Proxy},
    server::{Cluster, LEASE, connect, settings},
};

/// Three contenders, each behind a network of its own.
async fn three(cluster: &Cluster) -> (Contenders, Vec<Proxy>) {
    let mut proxies = Vec::new();
    for _ in 0..3 {
        proxies.push(Proxy::to(cluster.endpoint(0)).await);
    }
    let settings = proxies.iter().map(|proxy| settings(vec![proxy.endpoint.clone()], "store"));
    let contenders = Contenders::start(settings.collect()).await;
    contenders.are_back().await;
    (contenders, proxies)
}

/// A coordinator with a lease of its own, behind a network of its own.
async fn behind_a_proxy(cluster: &Cluster, lease: Duration) -> (Arc<EtcdCoordinator>, Proxy) {
    let proxy = Proxy::to(cluster.endpoint(0)).await;
    let mut patient = settings(vec![proxy.endpoint.clone()], "store");
    patient.lease = lease;
    (connect(patient).await, proxy)
}

async fn the_leader_is_replaced_when_its_network_is(cut: Network) {
    let cluster = Cluster::start(1).await;
    let (contenders, proxies) = three(&cluster).await;
    for _ in 0..2 {
        let leader = contenders.leader().await;
        let began = Instant::now();
        proxies[leader].set(cut);
        let next = contenders.next_leader(began).await;
        assert_ne!(next.contender, leader);
        contenders.does_not_lead(leader).await;
        // It was told with the last keep-alive before the cut; etcd looks for what has run out every half a second.
        let took = next.began - began;
        assert!(took <= LEASE + MARGIN, "replaced after {took:?}");
        proxies[leader].set(Network::Up);
        contenders.are_back().await;
    }
    contenders.never_two_for_longer_than(NOTICED_WITHIN);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_leader_that_is_cut_off_stops_believing_before_the_next_one_leads() {
    the_leader_is_replaced_when_its_network_is(Network::Silent).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_leader_whose_connections_are_refused_stops_believing_before_the_next_one_leads() {
    the_leader_is_replaced_when_its_network_is(Network::Refusing).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cut_that_is_shorter_than_the_lease_costs_no_candidacy() {
    let cluster = Cluster::start(1).await;
    let (coordinator, proxy) = behind_a_proxy(&cluster, Duration::from_secs(60)).await;
    let other = connect(cluster.settings("store")).await;
    let candidacy = coordinator.campaign("scheduler").await.unwrap();
    let (mut status, mut announced) = (coordinator.status(), coordinator.announced());
    announced.mark_unchanged();
    proxy.set(Network::Refusing);
    timeout(BACK_WITHIN, status.wait_for(|status| !status.is_connected())).await.expect("noticed").unwrap();
    // Announced while nobody is there to be told, in both directions.
    other.announce(7);
    coordinator.announce(9);
    proxy.set(Network::Up);
    timeout(BACK_WITHIN, announced.changed()).await.expect("there is a notification after the connection").unwrap();
    let mut heard = other.announced();
    timeout(BACK_WITHIN, heard.wait_for(|heard| heard.lsn == 9)).await.expect("it is passed on").unwrap();
    timeout(BACK_WITHIN, status.wait_for(CoordinatorStatus::is_connected)).await.expect("connected").unwrap();
    assert!(!candidacy.is_lost());
    // And it leads in etcd as well: the other one waits until it resigns.
    let mut campaign = Box::pin(other.campaign("scheduler"));
    let _barrier = other.campaign("another role").await.unwrap();
    assert!(futures::poll!(campaign.as_mut()).is_pending());
    drop(candidacy);
    timeout(BACK_WITHIN, campaign).await.expect("its turn").unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_given_up_while_cut_off_is_free_after_it() {
    let cluster = Cluster::start(1).await;
    let (coordinator, proxy) = behind_a_proxy(&cluster, Duration::from_secs(60)).await;
    let other = connect(cluster.settings("store")).await;
    let candidacy = coordinator.campaign("a").await.unwrap();
    let campaign = other.campaign("a");
    proxy.set(Network::Refusing);
    timeout(BACK_WITHIN, coordinator.status().wait_for(|status| !status.is_connected())).await.unwrap().unwrap();
    drop(candidacy);
    let waiting = coordinator.campaign("b");
    proxy.set(Network::Up);
    timeout(BACK_WITHIN, campaign).await.expect("it was resigned").unwrap();
    timeout(BACK_WITHIN, waiting).await.expect("what is wanted meanwhile is got afterwards").unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_watch_that_fell_behind_a_compaction_is_made_anew() {
    let cluster = Cluster::start(1).await;
    // A lease so long that nothing but the watch can notice that nothing arrives.
    let (coordinator, proxy) = behind_a_proxy(&cluster, Duration::from_secs(6_000)).await;
    let other = connect(cluster.settings("store")).await;
    let first = other.campaign("scheduler").await.unwrap();
    let waiting = coordinator.campaign("scheduler");
    let mut status = coordinator.status();
    proxy.set(Network::Silent);
    // More than all that lies between etcd and the coordinator holds.
    let large = "x".repeat(100_000);
    for _ in 0..200 {
        cluster.ctl(&["put", "store/unknown", &large]).await;
    }
    drop(first);
    let revision = cluster.ctl(&["-w", "json", "put", "store/unknown", ""]).await;
    let revision: serde_json::Value = serde_json::from_str(&revision).unwrap();
    cluster.ctl(&["compact", &revision["header"]["revision"].to_string()]).await;
    status.mark_unchanged();
    proxy.set(Network::Up);
    let reason = timeout(BACK_WITHIN, async {
        loop {
            if let CoordinatorStatus::Disconnected { reason, .. } = &*status.borrow_and_update() {
                break reason.clone();
            }
            status.changed().await.unwrap();
        }
    });
    let reason = reason.await.expect("etcd ends the watch");
    assert!(reason.contains("compacted"), "{reason}");
    timeout(BACK_WITHIN, waiting).await.expect("what happened meanwhile is known").unwrap();
    other.announce(5);
    timeout(BACK_WITHIN, coordinator.announced().wait_for(|heard| heard.lsn == 5)).await.unwrap().unwrap();
}
