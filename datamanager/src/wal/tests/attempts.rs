//! What becomes of checkpoints and cleanings that fail. The clock is paused: waiting costs nothing.

use runyard_objectstorage::{CallKind, Verdict};

use super::*;

#[tokio::test(start_paused = true)]
async fn checkpoints_that_fail_leave_one_table_for_the_next_one_that_covers_everything() {
    let objects = objects();
    let process = Process::open(&objects).await;
    process.storage.plan(|call| match call.name.contains("/manifest/") && call.kind == CallKind::Put {
        true => Verdict::FailBefore,
        false => Verdict::Pass,
    });
    for n in 1..=5 {
        process.write(n).await;
        process.data.checkpoint().await.unwrap_err();
        assert_eq!(process.data.handle.store.tables(), 2);
    }
    process.storage.revive();
    let checkpoint = process.data.checkpoint().await.unwrap();
    assert_eq!(checkpoint.position, process.data.handle.store.position());
    assert_eq!((process.data.handle.store.tables(), names_in(&objects, "manifest/").await.len()), (1, 2));
    assert_eq!(content(&process.data).await, ((1..=5).collect(), Some(5)));
}

#[tokio::test(start_paused = true)]
async fn a_cleaning_that_succeeds_ends_the_complaint_about_the_one_before() {
    let objects = objects();
    let process = Process::open(&objects).await;
    process.storage.plan(|call| if call.kind == CallKind::Delete { Verdict::FailBefore } else { Verdict::Pass });
    process.checkpoints(5, 1).await;
    let mut status = process.data.watch_status();
    status.wait_for(|status| status.cleaning_error.is_some()).await.unwrap();
    process.storage.revive();
    status.wait_for(|status| status.cleaning_error.is_none()).await.unwrap();
    process.wait_for_cleaner().await;
    assert_eq!(names_in(&objects, "manifest/").await, [3, 4, 5]);
}
