//! Commands are real ones: what they get, and how they end.

use std::time::Duration;

use super::world::{World, read_until, rest, start, step, within};
use crate::{
    contract::Environment,
    driver::{StepEnd, StepSpec},
};

pub(super) async fn the_environment_reaches_the_command(world: World) {
    let pod = world.pod().await;
    let mut spec = step(&*pod, 0, "echo \"$NAME\"; test \"$HOME\" = \"$PWD\"").await;
    spec.environment = Environment::from([("NAME".to_owned(), "a value with 'quotes' and\na line".into())]);
    pod.start_step(spec).await.expect("it is started");
    let expected = "a value with 'quotes' and\na line\n".to_owned();
    assert_eq!(rest(&*pod, 0, 0).await, (expected, StepEnd::Exited { code: 0 }));
    within(pod.remove()).await.expect("it is removed");
}

pub(super) async fn secrets_are_masked(world: World) {
    let pod = world.pod().await;
    let secret = "hunter2-and-more";
    let command = "printf 'pass hunter2-a'; echo nd-more; printf \"$NAME\" | base64; printf 'the end: hunter2-'";
    let mut spec = step(&*pod, 0, command).await;
    spec.environment = Environment::from([("NAME".to_owned(), secret.into())]);
    spec.secrets = vec![secret.to_owned()];
    pod.start_step(spec).await.expect("it is started");
    let expected = "pass ***\n***\nthe end: hunter2-".to_owned();
    assert_eq!(rest(&*pod, 0, 0).await, (expected, StepEnd::Exited { code: 0 }));
    within(pod.remove()).await.expect("it is removed");
}

pub(super) async fn files_stay_in_the_pod(world: World) {
    let pod = world.pod().await;
    start(&*pod, 0, "echo kept > file").await;
    rest(&*pod, 0, 0).await;
    start(&*pod, 1, "cat file").await;
    assert_eq!(rest(&*pod, 1, 0).await.0, "kept\n");
    within(pod.remove()).await.expect("it is removed");
}

pub(super) async fn a_missing_shell_is_no_exit_status(world: World) {
    let pod = world.pod().await;
    let mut spec = step(&*pod, 0, "true").await;
    spec.shell = vec!["/no/such/shell".to_owned()];
    pod.start_step(spec).await.expect("the supervisor is started");
    let (_, end) = rest(&*pod, 0, 0).await;
    let StepEnd::NotStarted { message } = end else { panic!("{end:?}") };
    assert!(message.contains("/no/such/shell"), "{message}");
    within(pod.remove()).await.expect("it is removed");
}

pub(super) async fn what_runs_in_the_background_ends_with_the_pod(world: World) {
    let pod = world.pod().await;
    start(&*pod, 0, "(while :; do date > alive; sleep 0.02; done) > /dev/null 2>&1 &").await;
    rest(&*pod, 0, 0).await;
    start(&*pod, 1, "while ! test -e alive; do sleep 0.02; done; rm alive; while ! test -e alive; do sleep 0.02; done")
        .await;
    assert_eq!(rest(&*pod, 1, 0).await.1, StepEnd::Exited { code: 0 }, "it runs on between steps");
    within(pod.stop(Duration::ZERO)).await.expect("it is stopped");
    start(&*pod, 2, "rm -f alive; sleep 0.3; test ! -e alive").await;
    assert_eq!(rest(&*pod, 2, 0).await.1, StepEnd::Exited { code: 0 }, "it has ended");
    within(pod.remove()).await.expect("it is removed");
}

pub(super) async fn any_value_reaches_the_command(world: World) {
    let pod = world.pod().await;
    let values = ["", " ", "a=b", "'\"`$(exit 9)", "two\nlines\n", &"long ".repeat(20_000)];
    let mut spec =
        step(&*pod, 0, "i=0; while [ $i -lt 6 ]; do eval \"printf '<%s>' \\\"\\$V$i\\\"\"; i=$((i+1)); done").await;
    let named = values.iter().enumerate().map(|(number, value)| (format!("V{number}"), (*value).into()));
    spec.environment = named.collect();
    pod.start_step(spec).await.expect("it is started");
    let expected: String = values.iter().map(|value| format!("<{value}>")).collect();
    assert_eq!(rest(&*pod, 0, 0).await, (expected, StepEnd::Exited { code: 0 }));
    within(pod.remove()).await.expect("it is removed");
}

pub(super) async fn a_long_command_is_read_to_its_end(world: World) {
    let pod = world.pod().await;
    let comment = format!("# {}\n", "x".repeat(98));
    start(&*pod, 0, &format!("{}echo the end", comment.repeat(10_000))).await;
    assert_eq!(rest(&*pod, 0, 0).await.0, "the end\n");
    within(pod.remove()).await.expect("it is removed");
}

pub(super) async fn another_shell_reads_the_command(world: World) {
    let pod = world.pod().await;
    let spec = StepSpec { shell: vec!["cat".to_owned()], ..step(&*pod, 0, "this is no command").await };
    pod.start_step(spec).await.expect("it is started");
    assert_eq!(rest(&*pod, 0, 0).await.0, "this is no command");
    within(pod.remove()).await.expect("it is removed");
}

pub(super) async fn a_command_runs_in_its_working_directory(world: World) {
    let pod = world.pod().await;
    let dir = pod.create_dir("~/some/where").await.expect("a directory");
    let spec = StepSpec { working_dir: dir.clone(), ..step(&*pod, 0, "pwd; echo here > file").await };
    pod.start_step(spec).await.expect("it is started");
    assert_eq!(rest(&*pod, 0, 0).await.0, format!("{dir}\n"));
    start(&*pod, 1, "cat some/where/file").await;
    assert_eq!(rest(&*pod, 1, 0).await.0, "here\n");
    within(pod.remove()).await.expect("it is removed");
}

pub(super) async fn a_missing_working_directory_is_named(world: World) {
    let pod = world.pod().await;
    let spec = StepSpec { working_dir: "/no/such/place".to_owned(), ..step(&*pod, 0, "true").await };
    pod.start_step(spec).await.expect("the supervisor is started");
    let (_, end) = rest(&*pod, 0, 0).await;
    let StepEnd::NotStarted { message } = end else { panic!("{end:?}") };
    assert!(message.contains("/no/such/place"), "{message}");
    within(pod.remove()).await.expect("it is removed");
}

pub(super) async fn a_signal_is_an_exit_status(world: World) {
    let pod = world.pod().await;
    for (number, signal, code) in [(0, "KILL", 137), (1, "TERM", 143)] {
        start(&*pod, number, &format!("echo before; kill -{signal} $$; echo after")).await;
        assert_eq!(rest(&*pod, number, 0).await, ("before\n".to_owned(), StepEnd::Exited { code }));
    }
    within(pod.remove()).await.expect("it is removed");
}

pub(super) async fn a_command_may_clean_up_when_it_is_stopped(world: World) {
    let pod = world.pod().await;
    start(&*pod, 0, "trap 'echo bye; exit 3' TERM; echo ready; while :; do sleep 0.02; done 2>/dev/null").await;
    let mut attachment = pod.attach(0, 0).await.expect("it is attached to");
    read_until(&mut *attachment, "ready\n").await;
    within(pod.stop(Duration::from_secs(20))).await.expect("it is stopped");
    let (output, end) = rest(&*pod, 0, 0).await;
    assert!(output.ends_with("bye\n"), "{output}");
    assert_eq!(end, StepEnd::Exited { code: 3 });
    within(pod.remove()).await.expect("it is removed");
}

pub(super) async fn a_command_that_ignores_a_stop_is_killed(world: World) {
    let pod = world.pod().await;
    start(&*pod, 0, "trap '' TERM; echo ready; while :; do sleep 0.02; done").await;
    let mut attachment = pod.attach(0, 0).await.expect("it is attached to");
    read_until(&mut *attachment, "ready\n").await;
    within(pod.stop(Duration::from_millis(100))).await.expect("it is stopped");
    assert_eq!(rest(&*pod, 0, 0).await, ("ready\n".to_owned(), StepEnd::Exited { code: 137 }));
    within(pod.remove()).await.expect("it is removed");
}

pub(super) async fn a_terminal_is_one_and_a_pipe_is_none(world: World) {
    let pod = world.pod().await;
    let command = "if test -t 1 && test -t 2; then echo yes; else echo no; fi";
    let spec = StepSpec { tty: true, ..step(&*pod, 0, command).await };
    pod.start_step(spec).await.expect("it is started");
    assert_eq!(rest(&*pod, 0, 0).await.0, "yes\r\n");
    start(&*pod, 1, command).await;
    assert_eq!(rest(&*pod, 1, 0).await.0, "no\n");
    within(pod.remove()).await.expect("it is removed");
}

pub(super) async fn nothing_can_be_read_from_the_input(world: World) {
    let pod = world.pod().await;
    start(&*pod, 0, "cat; echo done").await;
    assert_eq!(rest(&*pod, 0, 0).await.0, "done\n", "it is at its end, and does not wait");
    within(pod.remove()).await.expect("it is removed");
}
