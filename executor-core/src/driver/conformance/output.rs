//! Output is neither lost nor repeated.

use super::world::{World, read_until, rest, start, within};
use crate::driver::StepEnd;

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
