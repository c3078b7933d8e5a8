//! Commands are real ones.

use std::time::Duration;

use bytes::Bytes;
use futures::{StreamExt as _, TryStreamExt as _, stream};

use super::world::{World, rest, start, step, within};
use crate::{
    contract::{Contents, Environment},
    driver::{Pod, StepEnd, ToolboxCall, ToolboxFailed},
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

pub(super) async fn a_long_output_is_whole(world: World) {
    let pod = world.pod().await;
    start(&*pod, 0, "i=0; while [ $i -lt 20000 ]; do i=$((i+1)); echo line $i; done").await;
    let expected: String = (1..=20_000).map(|number| format!("line {number}\n")).collect();
    assert!(rest(&*pod, 0, 0).await.0 == expected);
    within(pod.remove()).await.expect("it is removed");
}

async fn call(pod: &dyn Pod, call: ToolboxCall, stdin: Option<Bytes>) -> Result<Bytes, String> {
    let stdin = stdin.map(|bytes| stream::iter([Ok(bytes)]).boxed());
    let run = pod.toolbox(call, stdin).await.expect("the toolbox starts");
    let pieces: Result<Vec<Bytes>, _> = within(run.output.try_collect()).await;
    match pieces {
        Ok(pieces) => Ok(pieces.concat().into()),
        Err(error) => Err(error.downcast::<ToolboxFailed>().expect("it is the toolbox that failed").message),
    }
}

pub(super) async fn archives_go_out_and_in(world: World) {
    let pod = world.pod().await;
    start(&*pod, 0, "mkdir -p in/sub; echo text > in/sub/file; ln -s file in/sub/link; chmod 750 in/sub/file").await;
    rest(&*pod, 0, 0).await;
    let home = pod.create_dir("~").await.expect("the home");
    let contents = Contents { source_dir: "in".into(), dest_dir: "x".into(), paths: vec!["**".into()] };
    let archive = ToolboxCall::Archive { working_dir: home.clone(), contents: vec![contents] };
    let archive = call(&*pod, archive, None).await.expect("it is packed");
    let unarchive = ToolboxCall::Unarchive { working_dir: home, dest_dir: "out".into(), overwrite: false };
    call(&*pod, unarchive.clone(), Some(archive.clone())).await.expect("it is unpacked");
    call(&*pod, unarchive.clone(), Some(archive.clone())).await.expect("the same files may be there");
    start(&*pod, 1, "cat out/x/sub/link; test -x out/x/sub/file; echo other > out/x/sub/file").await;
    assert_eq!(rest(&*pod, 1, 0).await, ("text\n".to_owned(), StepEnd::Exited { code: 0 }));
    let error = call(&*pod, unarchive, Some(archive)).await.expect_err("another content is in the way");
    assert!(error.contains("sub/file"), "{error}");
    within(pod.remove()).await.expect("it is removed");
}

pub(super) async fn a_failing_toolbox_says_why(world: World) {
    let pod = world.pod().await;
    let working_dir = pod.create_dir("~").await.expect("the home");
    let unarchive =
        ToolboxCall::Unarchive { working_dir: working_dir.clone(), dest_dir: "out".into(), overwrite: false };
    let error = call(&*pod, unarchive, Some("no archive".into())).await.expect_err("it is no archive");
    assert!(!error.is_empty());
    let key = ToolboxCall::CacheKey { working_dir, template: "{{ nonsense }}".into(), environment: Environment::new() };
    let error = call(&*pod, key, None).await.expect_err("it is no template");
    assert!(error.contains("nonsense"), "{error}");
    within(pod.remove()).await.expect("it is removed");
}

pub(super) async fn cache_keys_see_files_and_variables(world: World) {
    let pod = world.pod().await;
    start(&*pod, 0, "printf abc > lock").await;
    rest(&*pod, 0, 0).await;
    let key = ToolboxCall::CacheKey {
        working_dir: pod.create_dir("~").await.expect("the home"),
        template: "k-{{ env \"BRANCH\" }}-{{ md5sum \"lock\" }}".into(),
        environment: Environment::from([("BRANCH".to_owned(), "main".into())]),
    };
    let key = call(&*pod, key, None).await.expect("it is rendered");
    assert_eq!(key, "k-main-900150983cd24fb0d6963f7d28e17f72\0");
    within(pod.remove()).await.expect("it is removed");
}
