//! Steps are started once, end, and can be stopped.

use std::time::Duration;

use super::world::{World, read_until, rest, start, step, within};
use crate::driver::{DriverError, StepEnd};

pub(super) async fn a_step_prints_and_succeeds(world: World) {
    let pod = world.pod().await;
    start(&*pod, 0, "echo one\necho two").await;
    assert_eq!(rest(&*pod, 0, 0).await, ("one\ntwo\n".to_owned(), StepEnd::Exited { code: 0 }));
    within(pod.remove()).await.expect("it is removed");
}

pub(super) async fn an_exit_status_is_passed_on(world: World) {
    let pod = world.pod().await;
    start(&*pod, 0, "exit 42").await;
    assert_eq!(rest(&*pod, 0, 0).await, (String::new(), StepEnd::Exited { code: 42 }));
    within(pod.remove()).await.expect("it is removed");
}

pub(super) async fn a_step_is_never_started_twice(world: World) {
    let pod = world.pod().await;
    start(&*pod, 0, "echo once").await;
    for pod in [&pod, &world.found().await] {
        let again = step(&**pod, 0, "echo twice").await;
        let error = within(pod.start_step(again)).await.expect_err("it was started");
        assert!(matches!(error, DriverError::AlreadyStarted { step: 0 }), "{error:?}");
    }
    assert_eq!(rest(&*pod, 0, 0).await.0, "once\n");
    within(pod.remove()).await.expect("it is removed");
}

pub(super) async fn a_step_that_was_never_started_is_known(world: World) {
    let pod = world.pod().await;
    start(&*pod, 0, "exit 0").await;
    let Err(error) = within(pod.attach(1, 0)).await else { panic!("it was never started") };
    assert!(matches!(error, DriverError::NotStarted { step: 1 }), "{error:?}");
    within(pod.remove()).await.expect("it is removed");
}

pub(super) async fn a_stopped_step_ends_and_keeps_its_output(world: World) {
    let pod = world.pod().await;
    start(&*pod, 0, "echo begun\nsleep 1000").await;
    let mut attachment = pod.attach(0, 0).await.expect("it is attached to");
    read_until(&mut *attachment, "begun\n").await;
    within(pod.stop(Duration::from_secs(5))).await.expect("it is stopped");
    drop(attachment);
    let (output, end) = rest(&*pod, 0, 0).await;
    assert!(output.starts_with("begun\n"), "{output}");
    assert!(matches!(end, StepEnd::Exited { code } if code != 0), "{end:?}");
    within(pod.stop(Duration::ZERO)).await.expect("nothing is left to stop");
    within(pod.remove()).await.expect("it is removed");
}

pub(super) async fn steps_follow_each_other(world: World) {
    let pod = world.pod().await;
    for number in 0..3 {
        start(&*pod, number, &format!("echo {number}")).await;
        assert_eq!(rest(&*pod, number, 0).await.0, format!("{number}\n"));
    }
    assert_eq!(rest(&*pod, 1, 0).await.0, "1\n", "earlier ones can still be read");
    within(pod.remove()).await.expect("it is removed");
}

pub(super) async fn a_step_that_has_ended_is_not_started_again(world: World) {
    let pod = world.pod().await;
    start(&*pod, 0, "echo once").await;
    rest(&*pod, 0, 0).await;
    let again = step(&*pod, 0, "echo twice").await;
    let error = within(pod.start_step(again)).await.expect_err("it was started");
    assert!(matches!(error, DriverError::AlreadyStarted { step: 0 }), "{error:?}");
    assert_eq!(rest(&*pod, 0, 0).await.0, "once\n");
    within(pod.remove()).await.expect("it is removed");
}

pub(super) async fn steps_of_two_pods_do_not_mix(world: World) {
    let driver = world.driver();
    driver.prepare(&world.executor()).await.expect("the driver can be used");
    let mut pods = Vec::new();
    for number in 0..2 {
        let pod = world.create_of(&*driver, world.another_spec(number)).await.expect("a pod is created");
        start(&*pod, 0, &format!("echo begin {number}\nsleep 0.2\necho end {number}\nexit {number}")).await;
        pods.push(pod);
    }
    for (number, pod) in pods.iter().enumerate() {
        let expected = format!("begin {number}\nend {number}\n");
        assert_eq!(rest(&**pod, 0, 0).await, (expected, StepEnd::Exited { code: number as i32 }));
    }
    within(pods[0].remove()).await.expect("it is removed");
    start(&*pods[1], 1, "echo still here").await;
    assert_eq!(rest(&*pods[1], 1, 0).await.0, "still here\n", "the end of one pod is not that of another");
    within(pods[1].remove()).await.expect("it is removed");
}
