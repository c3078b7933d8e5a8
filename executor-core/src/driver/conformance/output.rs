//! Output is neither lost nor repeated.

use super::world::{World, bytes, read_until, rest, start, within};
use crate::driver::{Attachment, StepEnd, StepEvent};

pub(super) async fn any_offset_can_be_read(world: World) {
    let pod = world.pod().await;
    start(&*pod, 0, "echo 123456789").await;
    for offset in [0, 1, 9, 10] {
        assert_eq!(rest(&*pod, 0, offset).await.0, "123456789\n"[offset as usize..]);
    }
    within(pod.remove()).await.expect("it is removed");
}

pub(super) async fn a_step_goes_on_without_its_executor(world: World) {
    let pod = world.pod().await;
    start(&*pod, 0, "echo one\nsleep 0.3\necho two\nexit 5").await;
    let mut attachment = pod.attach(0, 0).await.expect("it is attached to");
    let end = read_until(&mut *attachment, "one\n").await;
    attachment.ack(end).await.expect("it is acknowledged");
    drop((attachment, pod));
    let found = world.found().await;
    assert_eq!(rest(&*found, 0, end).await, ("two\n".to_owned(), StepEnd::Exited { code: 5 }));
    within(found.remove()).await.expect("it is removed");
}

pub(super) async fn an_acknowledged_end_can_be_attached_to_again(world: World) {
    let pod = world.pod().await;
    start(&*pod, 0, "echo all\nexit 6").await;
    let mut attachment = pod.attach(0, 0).await.expect("it is attached to");
    let end = read_until(&mut *attachment, "all\n").await;
    attachment.ack(end).await.expect("it is acknowledged");
    drop(attachment);
    for _ in 0..2 {
        assert_eq!(rest(&*world.found().await, 0, end).await, (String::new(), StepEnd::Exited { code: 6 }));
    }
    within(pod.remove()).await.expect("it is removed");
}

pub(super) async fn output_arrives_while_the_command_runs(world: World) {
    let pod = world.pod().await;
    start(&*pod, 0, "echo one\nsleep 1000").await;
    let mut attachment = pod.attach(0, 0).await.expect("it is attached to");
    assert_eq!(read_until(&mut *attachment, "one\n").await, 4);
    within(pod.remove()).await.expect("it is removed");
}

pub(super) async fn a_step_that_has_ended_can_still_be_read(world: World) {
    let pod = world.pod().await;
    start(&*pod, 0, "echo over\nexit 4").await;
    let expected = ("over\n".to_owned(), StepEnd::Exited { code: 4 });
    for _ in 0..2 {
        assert_eq!(rest(&*pod, 0, 0).await, expected);
    }
    assert_eq!(rest(&*world.found().await, 0, 0).await, expected);
    within(pod.remove()).await.expect("it is removed");
}

pub(super) async fn the_later_of_two_readers_gets_everything(world: World) {
    let pod = world.pod().await;
    start(&*pod, 0, "echo one\nsleep 0.3\necho two").await;
    let mut earlier = pod.attach(0, 0).await.expect("it is attached to");
    read_until(&mut *earlier, "one\n").await;
    assert_eq!(rest(&*pod, 0, 0).await, ("one\ntwo\n".to_owned(), StepEnd::Exited { code: 0 }));
    drop(earlier);
    within(pod.remove()).await.expect("it is removed");
}

pub(super) async fn a_reader_that_waits_can_be_interrupted(world: World) {
    let pod = world.pod().await;
    start(&*pod, 0, "echo one\nsleep 0.3\necho two").await;
    let mut attachment = pod.attach(0, 0).await.expect("it is attached to");
    let mut output = Vec::new();
    // Dropped again and again while it waits, as in a `select!`.
    loop {
        let next = tokio::time::timeout(std::time::Duration::from_millis(5), attachment.next());
        match next.await {
            Err(_) => {}
            Ok(Ok(StepEvent::Output { bytes, .. })) => output.extend_from_slice(&bytes),
            Ok(Ok(StepEvent::Ended(end))) => break assert_eq!(end, StepEnd::Exited { code: 0 }),
            Ok(Err(error)) => panic!("{error:?}"),
        }
    }
    assert_eq!(output, b"one\ntwo\n");
    within(pod.remove()).await.expect("it is removed");
}

pub(super) async fn both_outputs_arrive_in_order(world: World) {
    let pod = world.pod().await;
    start(&*pod, 0, "for i in 1 2 3; do echo out $i; echo err $i >&2; done").await;
    assert_eq!(rest(&*pod, 0, 0).await.0, "out 1\nerr 1\nout 2\nerr 2\nout 3\nerr 3\n");
    within(pod.remove()).await.expect("it is removed");
}

pub(super) async fn any_bytes_are_kept(world: World) {
    let pod = world.pod().await;
    start(&*pod, 0, "printf '\\000\\377\\376\\r\\033[1mno line end'").await;
    let mut attachment: Box<dyn Attachment> = within(pod.attach(0, 0)).await.expect("it is attached to");
    let (output, end) = bytes(&mut *attachment, 0).await;
    assert_eq!((&output[..], end), (&b"\x00\xff\xfe\r\x1b[1mno line end"[..], StepEnd::Exited { code: 0 }));
    within(pod.remove()).await.expect("it is removed");
}

pub(super) async fn a_line_of_megabytes_is_whole(world: World) {
    const LENGTH: usize = 8 << 20;
    let pod = world.pod().await;
    start(&*pod, 0, &format!("head -c {LENGTH} /dev/zero | tr '\\000' x; echo")).await;
    let (output, end) = rest(&*pod, 0, 0).await;
    assert_eq!(end, StepEnd::Exited { code: 0 });
    assert!(output.len() == LENGTH + 1 && output[..LENGTH].bytes().all(|byte| byte == b'x'), "{}", output.len());
    within(pod.remove()).await.expect("it is removed");
}

pub(super) async fn a_long_output_is_whole(world: World) {
    let pod = world.pod().await;
    start(&*pod, 0, "i=0; while [ $i -lt 20000 ]; do i=$((i+1)); echo line $i; done").await;
    let expected: String = (1..=20_000).map(|number| format!("line {number}\n")).collect();
    assert!(rest(&*pod, 0, 0).await.0 == expected);
    within(pod.remove()).await.expect("it is removed");
}
