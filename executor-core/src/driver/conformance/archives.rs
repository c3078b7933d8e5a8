//! Files go out of a pod and into another one, and keys are rendered in it.

use bytes::Bytes;
use futures::{StreamExt as _, TryStreamExt as _, stream};

use super::world::{World, rest, start, within};
use crate::{
    contract::{Contents, Environment},
    driver::{Pod, StepEnd, ToolboxCall, ToolboxFailed},
};

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

/// The files of `~/in`, as an archive.
async fn archived(pod: &dyn Pod) -> Bytes {
    let contents = Contents { source_dir: "in".into(), dest_dir: String::new(), paths: vec!["**".into()] };
    let working_dir = pod.create_dir("~").await.expect("the home");
    call(pod, ToolboxCall::Archive { working_dir, contents: vec![contents] }, None).await.expect("it is packed")
}

async fn unarchive(pod: &dyn Pod, dest_dir: &str, overwrite: bool, archive: Bytes) -> Result<Bytes, String> {
    let working_dir = pod.create_dir("~").await.expect("the home");
    let unarchive = ToolboxCall::Unarchive { working_dir, dest_dir: dest_dir.into(), overwrite };
    call(pod, unarchive, Some(archive)).await
}

pub(super) async fn an_archive_is_as_the_files_were(world: World) {
    let pod = world.pod().await;
    let make = "mkdir -p in/empty in/a/b; printf x > in/a/b/run; chmod 755 in/a/b/run; printf y > in/plain; chmod 640 in/plain; \
                ln -s a/b/run in/link; ln -s /no/where in/dangling; printf z > 'in/odd name'";
    start(&*pod, 0, make).await;
    assert_eq!(rest(&*pod, 0, 0).await.1, StepEnd::Exited { code: 0 });
    let archive = archived(&*pod).await;
    unarchive(&*pod, "out", false, archive).await.expect("it is unpacked");
    let look = "cd out; test -d empty; test -x a/b/run; test \"$(stat -c %a plain)\" = 640; readlink link; readlink dangling; \
                cat a/b/run plain 'odd name'";
    start(&*pod, 1, look).await;
    assert_eq!(rest(&*pod, 1, 0).await, ("a/b/run\n/no/where\nxyz".to_owned(), StepEnd::Exited { code: 0 }));
    within(pod.remove()).await.expect("it is removed");
}

pub(super) async fn what_is_in_the_way_is_replaced_if_that_is_asked_for(world: World) {
    let pod = world.pod().await;
    start(&*pod, 0, "mkdir in out; echo new > in/file; echo old > out/file").await;
    rest(&*pod, 0, 0).await;
    let archive = archived(&*pod).await;
    let error = unarchive(&*pod, "out", false, archive.clone()).await.expect_err("another content is in the way");
    assert!(error.contains("file"), "{error}");
    unarchive(&*pod, "out", true, archive).await.expect("it is replaced");
    start(&*pod, 1, "cat out/file").await;
    assert_eq!(rest(&*pod, 1, 0).await.0, "new\n");
    within(pod.remove()).await.expect("it is removed");
}

pub(super) async fn no_archive_leaves_its_directory(world: World) {
    let pod = world.pod().await;
    pod.create_dir("~/out").await.expect("a directory");
    unarchive(&*pod, "out", true, zstd(&tar("../evil", b"outside"))).await.expect_err("it leads out");
    start(&*pod, 0, "test ! -e evil; ls out").await;
    assert_eq!(rest(&*pod, 0, 0).await, (String::new(), StepEnd::Exited { code: 0 }));
    within(pod.remove()).await.expect("it is removed");
}

pub(super) async fn a_call_of_the_toolbox_that_nobody_waits_for_disturbs_nothing(world: World) {
    let pod = world.pod().await;
    let working_dir = pod.create_dir("~").await.expect("the home");
    let unarchive = ToolboxCall::Unarchive { working_dir, dest_dir: "out".into(), overwrite: false };
    let never = stream::pending().boxed();
    let run = pod.toolbox(unarchive, Some(never)).await.expect("the toolbox starts");
    drop(run);
    start(&*pod, 0, "echo still here").await;
    assert_eq!(rest(&*pod, 0, 0).await.0, "still here\n");
    within(pod.stop(std::time::Duration::ZERO)).await.expect("it is stopped");
    within(pod.remove()).await.expect("it is removed");
}

/// A tar archive of one file (POSIX.1-2001, "ustar Interchange Format"), by hand: no program would write such a name.
fn tar(name: &str, content: &[u8]) -> Vec<u8> {
    let mut header = [0_u8; 512];
    let mut put = |at: usize, text: &str| header[at..at + text.len()].copy_from_slice(text.as_bytes());
    put(0, name);
    put(100, "0000644\0");
    put(108, "0000000\0");
    put(116, "0000000\0");
    put(124, &format!("{:011o}\0", content.len()));
    put(136, "00000000000\0");
    put(148, "        ");
    put(156, "0");
    put(257, "ustar\x0000");
    let sum: u32 = header.iter().map(|&byte| u32::from(byte)).sum();
    header[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
    let mut archive = header.to_vec();
    archive.extend_from_slice(content);
    archive.resize(archive.len().next_multiple_of(512) + 1024, 0);
    archive
}

/// One frame with one raw block (RFC 8878, 3.1.1), for up to 64 KiB.
fn zstd(content: &[u8]) -> Bytes {
    let length = u16::try_from(content.len() - 256).expect("it is short, and not too short");
    let block = u32::try_from(content.len()).expect("it is short") << 3 | 1;
    let frame = [&[0x28, 0xb5, 0x2f, 0xfd, 0x60][..], &length.to_le_bytes(), &block.to_le_bytes()[..3], content];
    frame.concat().into()
}
