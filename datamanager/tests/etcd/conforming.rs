//! Does the whole suite pass, with one member and with three?

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use runyard_datamanager::{conformance, coordinator::Coordinator};

use crate::server::{Cluster, connect};

async fn conforms(cluster: &Cluster) {
    let stores = AtomicUsize::new(0);
    conformance::run_coordinator(async || {
        let prefix = format!("store/{}", stores.fetch_add(1, Ordering::Relaxed));
        // So patient that no stall of a busy machine counts as an outage, which this is not about.
        let mut settings = cluster.settings(&prefix);
        (settings.lease, settings.request_timeout) = (Duration::from_secs(60), Duration::from_secs(20));
        let one = async || connect(settings.clone()).await as Arc<dyn Coordinator>;
        [one().await, one().await, one().await]
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn one_member_conforms() {
    conforms(&Cluster::start(1).await).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn three_members_conform() {
    conforms(&Cluster::start(3).await).await;
}
