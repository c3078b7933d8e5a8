//! Does everything come back by itself after etcd was killed, wiped, restored or frozen, and do two ever lead?

use std::time::Duration;

use runyard_datamanager::coordinator::{Coordinator, CoordinatorStatus, LostReason};
use rustix::process::Signal;
use tokio::time::{Instant, timeout};

use crate::{
    contenders::{BACK_WITHIN, Contenders, MARGIN, NOTICED_WITHIN},
    server::{Cluster, LEASE, connect},
};

async fn three(cluster: &Cluster) -> Contenders {
    let contenders = Contenders::start(vec![cluster.settings("store"); 3]).await;
    contenders.are_back().await;
    contenders
}

#[tokio::test(flavor = "multi_thread")]
async fn a_kill_and_a_restart_are_noticed_and_survived() {
    let mut cluster = Cluster::start(1).await;
    let contenders = three(&cluster).await;
    let leader = contenders.leader().await;
    let mut status = contenders.coordinators[leader].status();
    cluster.kill_all().await;
    let gone = timeout(LEASE, status.wait_for(|status| !status.is_connected())).await.expect("it is noticed").unwrap();
    assert!(
        matches!(&*gone, CoordinatorStatus::Disconnected { reason, .. } if reason.contains("127.0.0.1")),
        "{gone:?}"
    );
    drop(gone);
    cluster.start_all().await;
    contenders.are_back().await;
    contenders.never_two_for_longer_than(NOTICED_WITHIN);
}

#[tokio::test(flavor = "multi_thread")]
async fn while_etcd_is_down_for_longer_than_a_lease_nobody_leads() {
    let mut cluster = Cluster::start(1).await;
    let contenders = three(&cluster).await;
    cluster.kill_all().await;
    contenders.nobody_leads().await;
    assert!(contenders.reigns().iter().all(|reign| matches!(reign.ended, Some((_, LostReason::LeaseExpired)))));
    cluster.start_all().await;
    contenders.are_back().await;
    contenders.never_two_for_longer_than(NOTICED_WITHIN);
}

#[tokio::test(flavor = "multi_thread")]
async fn after_all_data_is_lost_everything_is_campaigned_for_anew() {
    let mut cluster = Cluster::start(1).await;
    let contenders = three(&cluster).await;
    cluster.kill_all().await;
    cluster.wipe();
    let wiped = Instant::now();
    cluster.start_all().await;
    contenders.next_leader(wiped).await;
    contenders.are_back().await;
    contenders.never_two_for_longer_than(LEASE + MARGIN);
}

#[tokio::test(flavor = "multi_thread")]
async fn after_a_snapshot_of_another_leader_is_restored_one_leads() {
    let mut cluster = Cluster::start(1).await;
    let mut contenders = three(&cluster).await;
    let first = contenders.leader().await;
    let snapshot = cluster.snapshot().await;
    // The leader of the snapshot goes, and somebody leads of whom the snapshot knows as one who waits.
    let before = Instant::now();
    contenders.coordinators[first].close().await;
    assert_ne!(contenders.next_leader(before).await.contender, first);
    contenders.coordinators.remove(first);
    contenders.are_back().await;
    cluster.kill_all().await;
    cluster.restore(&snapshot).await;
    let restored = Instant::now();
    cluster.start_all().await;
    // The key of the one that went is there again, until its lease has run out.
    contenders.next_leader(restored).await;
    contenders.are_back().await;
    contenders.never_two_for_longer_than(LEASE + MARGIN);
}

#[tokio::test(flavor = "multi_thread")]
async fn while_etcd_is_frozen_for_longer_than_a_lease_nobody_leads() {
    let cluster = Cluster::start(1).await;
    let contenders = three(&cluster).await;
    cluster.signal(0, Signal::STOP);
    contenders.nobody_leads().await;
    for coordinator in &contenders.coordinators {
        let mut status = coordinator.status();
        timeout(LEASE, status.wait_for(|status| !status.is_connected())).await.expect("it is noticed").unwrap();
    }
    cluster.signal(0, Signal::CONT);
    contenders.are_back().await;
    contenders.never_two_for_longer_than(NOTICED_WITHIN);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_candidate_whose_key_is_deleted_is_told_at_once() {
    let cluster = Cluster::start(1).await;
    let coordinator = connect(cluster.settings("store")).await;
    let candidacy = coordinator.campaign("scheduler").await.unwrap();
    cluster.ctl(&["del", "--prefix", "store/leader/"]).await;
    let reason = timeout(LEASE, candidacy.lost()).await.expect("before its lease has run out");
    assert_eq!(reason, LostReason::Forgotten);
    drop(candidacy);
    timeout(BACK_WITHIN, coordinator.campaign("scheduler")).await.expect("it can campaign again").unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lease_that_is_revoked_is_replaced() {
    let cluster = Cluster::start(1).await;
    let contenders = three(&cluster).await;
    let before = Instant::now();
    let leases = cluster.ctl(&["lease", "list"]).await;
    for lease in leases.lines().filter(|line| line.len() == 16 && line.bytes().all(|byte| byte.is_ascii_hexdigit())) {
        cluster.ctl(&["lease", "revoke", lease]).await;
    }
    contenders.next_leader(before).await;
    contenders.are_back().await;
    contenders.never_two_for_longer_than(MARGIN);
}

#[tokio::test(flavor = "multi_thread")]
async fn who_closes_or_is_dropped_hands_over_without_waiting_for_the_lease() {
    let cluster = Cluster::start(1).await;
    let mut settings = cluster.settings("store");
    settings.lease = Duration::from_secs(600);
    let [first, second, third] = [(); 3].map(|()| connect(settings.clone()));
    let (first, second, third) = tokio::join!(first, second, third);
    let led = first.campaign("scheduler").await.unwrap();
    first.close().await;
    assert_eq!(led.lost().await, LostReason::Closed);
    assert_eq!(*first.status().borrow(), CoordinatorStatus::Closed);
    let error = first.campaign("scheduler").await.expect_err("closed");
    assert!(error.to_string().contains("closed"), "{error}");
    let led = timeout(BACK_WITHIN, second.campaign("scheduler")).await.expect("the role is free").unwrap();
    drop(second);
    timeout(BACK_WITHIN, third.campaign("scheduler")).await.expect("the role is free").unwrap();
    assert_eq!(led.lost().await, LostReason::Closed);
}
