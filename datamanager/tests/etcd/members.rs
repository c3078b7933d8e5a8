//! Does a cluster of three go on without one of them?

use rustix::process::Signal;

use crate::{
    contenders::{Contenders, MARGIN, NOTICED_WITHIN},
    server::Cluster,
};

/// Three contenders, each of which prefers another member.
async fn three(cluster: &Cluster) -> Contenders {
    let mut settings = Vec::new();
    for n in 0..3 {
        let mut rotated = cluster.settings("store");
        rotated.endpoints.rotate_left(n);
        settings.push(rotated);
    }
    let contenders = Contenders::start(settings).await;
    contenders.are_back().await;
    contenders
}

#[tokio::test(flavor = "multi_thread")]
async fn without_its_leader_a_cluster_goes_on() {
    let mut cluster = Cluster::start(3).await;
    let contenders = three(&cluster).await;
    for _ in 0..2 {
        let leader = cluster.leader().await;
        cluster.kill(leader).await;
        contenders.are_back().await;
        cluster.start_member(leader).await;
        contenders.are_back().await;
    }
    contenders.never_two_for_longer_than(NOTICED_WITHIN);
}

#[tokio::test(flavor = "multi_thread")]
async fn without_most_of_its_members_nobody_leads() {
    let mut cluster = Cluster::start(3).await;
    let contenders = three(&cluster).await;
    let leader = cluster.leader().await;
    let stays = (leader + 1) % 3;
    for n in (0..3).filter(|n| *n != stays) {
        cluster.kill(n).await;
    }
    contenders.nobody_leads().await;
    cluster.start_all().await;
    contenders.are_back().await;
    contenders.never_two_for_longer_than(NOTICED_WITHIN);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_member_that_is_frozen_is_left() {
    let cluster = Cluster::start(3).await;
    let contenders = three(&cluster).await;
    let leader = cluster.leader().await;
    // It is frozen, and its connections stand.
    cluster.signal(leader, Signal::STOP);
    contenders.are_back().await;
    cluster.signal(leader, Signal::CONT);
    contenders.are_back().await;
    // etcd 3.4 that wakes up as a leader, and is none any more, revokes leases that live on (etcd-io/etcd#15247): all can
    // lose theirs at
    // once, and hear of it one after the other.
    contenders.never_two_for_longer_than(MARGIN);
}
