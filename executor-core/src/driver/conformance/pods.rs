//! Pods are made, found and removed.

use std::{collections::BTreeSet, sync::Arc, time::Duration};

use tokio_util::sync::CancellationToken;

use super::world::{World, rest, start, within};
use crate::{
    contract::ExecutorId,
    driver::{DriverError, Pod, StepEnd},
};

pub(super) async fn a_pod_is_found_by_its_owner_alone(world: World) {
    let pod = world.pod().await;
    let found = world.found().await;
    let spec = world.spec();
    for pod in [&pod, &found] {
        assert_eq!((pod.id(), pod.task(), pod.attempt()), (&spec.id, &spec.task, spec.attempt));
        assert_eq!(*pod.executor(), spec.executor);
    }
    let stranger = ExecutorId::parse("conformance-stranger").expect("an id");
    assert!(world.driver().pods(&stranger).await.expect("pods are listed").is_empty());
    within(found.remove()).await.expect("it is removed");
}

pub(super) async fn a_removed_pod_is_gone_and_may_be_removed_again(world: World) {
    let pod = world.pod().await;
    start(&*pod, 0, "sleep 1000").await;
    let found = world.found().await;
    within(pod.remove()).await.expect("it is removed");
    assert!(world.driver().pods(&world.executor()).await.expect("pods are listed").is_empty());
    within(pod.remove()).await.expect("a second time");
    within(found.remove()).await.expect("and by another process");
}

pub(super) async fn a_cancelled_creation_leaves_nothing(world: World) {
    let cancel = CancellationToken::new();
    cancel.cancel();
    let error = within(world.create(&cancel)).await.expect_err("it is cancelled");
    assert!(matches!(error, DriverError::Cancelled { .. }), "{error:?}");
    assert!(world.driver().pods(&world.executor()).await.expect("pods are listed").is_empty());
}

pub(super) async fn directories_are_absolute_and_may_exist(world: World) {
    let pod = world.pod().await;
    let home = pod.create_dir("~").await.expect("the home");
    assert!(home.starts_with('/'), "{home}");
    for _ in 0..2 {
        let dir = pod.create_dir("~/a/b").await.expect("a directory");
        assert_eq!(dir, format!("{home}/a/b"));
    }
    within(pod.remove()).await.expect("it is removed");
}

/// Meaningful on a runtime with several threads.
pub(super) async fn pods_come_and_go_beside_each_other(world: World) {
    const AT_ONCE: usize = 4;
    const ROUNDS: usize = 25;

    let world = Arc::new(world);
    let driver = world.driver();
    driver.prepare(&world.executor()).await.expect("the driver can be used");
    let come_and_go = |at: usize| {
        let (world, driver) = (world.clone(), driver.clone());
        tokio::spawn(async move {
            for round in 0..ROUNDS {
                let spec = world.another_spec(at * ROUNDS + round);
                let pod = world.create_of(&*driver, spec.clone()).await.expect("a pod is created");
                let listed = driver.pods(&world.executor()).await.expect("pods are listed");
                assert!(listed.iter().any(|pod| *pod.id() == spec.id), "its own pod is among them");
                pod.create_dir("~/a").await.expect("it is whole");
                within(pod.remove()).await.expect("it is removed");
            }
        })
    };
    let all: Vec<_> = (0..AT_ONCE).map(come_and_go).collect();
    for one in all {
        one.await.expect("none disturbs another");
    }
    assert!(driver.pods(&world.executor()).await.expect("pods are listed").is_empty());
}

pub(super) async fn a_driver_may_be_prepared_again_beside_its_pods(world: World) {
    let pod = world.pod().await;
    start(&*pod, 0, "echo one\nsleep 0.3\necho two").await;
    world.driver().prepare(&world.executor()).await.expect("the driver can be used");
    assert_eq!(world.found().await.id(), pod.id());
    assert_eq!(rest(&*pod, 0, 0).await, ("one\ntwo\n".to_owned(), StepEnd::Exited { code: 0 }));
    within(pod.remove()).await.expect("it is removed");
}

pub(super) async fn all_pods_of_an_owner_are_found(world: World) {
    let driver = world.driver();
    driver.prepare(&world.executor()).await.expect("the driver can be used");
    let mut made = Vec::new();
    for number in 0..3 {
        made.push(world.create_of(&*driver, world.another_spec(number)).await.expect("a pod is created"));
    }
    let ids = |pods: &[Arc<dyn Pod>]| pods.iter().map(|pod| pod.id().clone()).collect::<BTreeSet<_>>();
    let found = world.driver().pods(&world.executor()).await.expect("pods are listed");
    assert_eq!(ids(&found), ids(&made));
    for pod in made {
        within(pod.remove()).await.expect("it is removed");
    }
}

pub(super) async fn a_pod_is_the_same_for_whoever_has_it(world: World) {
    let pod = world.pod().await;
    let found = world.found().await;
    assert_eq!(found.create_dir("~").await.expect("the home"), pod.create_dir("~").await.expect("the home"));
    start(&*found, 0, "echo hello").await;
    assert_eq!(rest(&*pod, 0, 0).await.0, "hello\n");
    start(&*pod, 1, "sleep 1000").await;
    within(found.stop(Duration::ZERO)).await.expect("it is stopped");
    assert!(matches!(rest(&*pod, 1, 0).await.1, StepEnd::Exited { code } if code != 0));
    within(found.remove()).await.expect("it is removed");
}

pub(super) async fn a_pod_in_which_nothing_runs_can_be_stopped(world: World) {
    let pod = world.pod().await;
    for _ in 0..2 {
        within(pod.stop(Duration::from_secs(20))).await.expect("there is nothing to stop");
    }
    start(&*pod, 0, "echo hello").await;
    assert_eq!(rest(&*pod, 0, 0).await.0, "hello\n");
    within(pod.remove()).await.expect("it is removed");
}
