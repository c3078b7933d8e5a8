//! Does a model of an etcd do what the real one does?

use futures::{FutureExt, poll};

use super::*;
use crate::coordinator::LostReason;

fn gaps(coordinator: &ModelCoordinator) -> u64 {
    coordinator.announced().borrow().gaps
}

fn heard(coordinator: &ModelCoordinator) -> u64 {
    coordinator.announced().borrow().lsn
}

/// Lets what the runtime was asked for happen, and no time pass.
async fn settle() {
    for _ in 0..100 {
        tokio::task::yield_now().await;
    }
}

#[tokio::test(start_paused = true)]
async fn who_is_cut_off_stops_before_the_next_one_begins() {
    let etcd = ModelEtcd::new();
    let (a, b) = (etcd.connect("a"), etcd.connect("b"));
    let first = a.campaign("r").await.unwrap();
    let began = Instant::now();
    etcd.cut_off("a");
    assert!(!first.is_lost() && !a.status().borrow().is_connected());
    let (stopped, next) = tokio::join!(async { (first.lost().await, began.elapsed()) }, async {
        (b.campaign("r").await.unwrap(), began.elapsed())
    });
    assert_eq!(stopped.0, LostReason::LeaseExpired);
    assert!(stopped.1 < next.1 && next.1 <= LEASE, "{:?} {:?}", stopped.1, next.1);
    // It campaigns anew when it is there again, and waits.
    drop(first);
    let mut again = Box::pin(a.campaign("r"));
    etcd.reconnect("a");
    assert!(poll!(again.as_mut()).is_pending());
    drop(next);
    again.await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn who_is_back_before_its_lease_has_run_out_goes_on() {
    let etcd = ModelEtcd::new();
    let (a, b) = (etcd.connect("a"), etcd.connect("b"));
    let first = a.campaign("r").await.unwrap();
    let mut second = Box::pin(b.campaign("r"));
    assert!(poll!(second.as_mut()).is_pending());
    etcd.cut_off("a");
    tokio::time::advance(Duration::from_secs(3)).await;
    etcd.reconnect("a");
    tokio::time::advance(Duration::from_secs(1_000)).await;
    settle().await;
    assert!(!first.is_lost() && poll!(second.as_mut()).is_pending());
    assert_eq!(gaps(&a), 2, "one for each connection");
}

#[tokio::test(start_paused = true)]
async fn who_resigns_while_it_is_cut_off_has_resigned_when_it_is_back() {
    let etcd = ModelEtcd::new();
    let (a, b) = (etcd.connect("a"), etcd.connect("b"));
    let first = a.campaign("r").await.unwrap();
    etcd.cut_off("a");
    drop(first);
    let mut second = Box::pin(b.campaign("r"));
    assert!(poll!(second.as_mut()).is_pending());
    etcd.reconnect("a");
    assert!(second.now_or_never().is_some());
}

#[tokio::test(start_paused = true)]
async fn a_wiped_etcd_has_forgotten_who_leads() {
    let etcd = ModelEtcd::new();
    let (a, b) = (etcd.connect("a"), etcd.connect("b"));
    let first = a.campaign("r").await.unwrap();
    let mut second = Box::pin(b.campaign("r"));
    assert!(poll!(second.as_mut()).is_pending());
    let before = (gaps(&a), gaps(&b));
    etcd.wipe();
    assert_eq!(first.lost().now_or_never(), Some(LostReason::Forgotten));
    second.now_or_never().expect("it is the first in the new one").unwrap();
    assert!(gaps(&a) > before.0 && gaps(&b) > before.1);
}

#[tokio::test(start_paused = true)]
async fn after_a_restoration_the_dead_stand_in_the_way_until_their_leases_have_run_out() {
    let etcd = ModelEtcd::new();
    let a = etcd.connect("a");
    let first = a.campaign("r").await.unwrap();
    let snapshot = etcd.snapshot();
    drop((first, a));
    let b = etcd.connect("b");
    let second = b.campaign("r").await.unwrap();
    etcd.restore(&snapshot);
    assert_eq!(second.lost().now_or_never(), Some(LostReason::Forgotten));
    drop(second);
    let began = Instant::now();
    b.campaign("r").await.unwrap();
    assert_eq!(began.elapsed(), LEASE);
}

#[tokio::test(start_paused = true)]
async fn a_snapshot_of_now_changes_nothing() {
    let etcd = ModelEtcd::new();
    let a = etcd.connect("a");
    let first = a.campaign("r").await.unwrap();
    etcd.restore(&etcd.snapshot());
    tokio::time::advance(2 * LEASE).await;
    settle().await;
    assert!(!first.is_lost());
}

#[tokio::test(start_paused = true)]
async fn while_it_is_down_nobody_is_heard_and_leases_begin_anew_after_it() {
    let etcd = ModelEtcd::new();
    let (a, b) = (etcd.connect("a"), etcd.connect("b"));
    let first = a.campaign("r").await.unwrap();
    let mut second = Box::pin(b.campaign("r"));
    assert!(poll!(second.as_mut()).is_pending());
    etcd.stop();
    a.announce(7);
    assert_eq!(first.lost().await, LostReason::LeaseExpired);
    tokio::time::advance(10 * LEASE).await;
    settle().await;
    assert!(poll!(second.as_mut()).is_pending(), "nobody is told to lead");
    assert_eq!(heard(&b), 0);
    etcd.cut_off("a");
    let began = Instant::now();
    etcd.start();
    assert_eq!(heard(&b), 0, "who announced it is cut off");
    second.await.unwrap();
    assert_eq!(began.elapsed(), LEASE);
    etcd.reconnect("a");
    assert_eq!(heard(&b), 7);
}

#[tokio::test(start_paused = true)]
async fn announcements_that_are_held_arrive_later_or_are_lost_with_a_gap() {
    let etcd = ModelEtcd::new();
    let (a, b) = (etcd.connect("a"), etcd.connect("b"));
    etcd.hold_announcements();
    a.announce(3);
    assert_eq!(heard(&b), 0);
    etcd.release_announcements();
    assert_eq!(heard(&b), 3);
    etcd.hold_announcements();
    a.announce(4);
    let before = gaps(&b);
    etcd.wipe();
    etcd.release_announcements();
    assert_eq!((heard(&b), gaps(&b)), (3, before + 1));
    etcd.compact();
    assert_eq!(gaps(&b), before + 2);
    assert_eq!(etcd.announcements(), 2);
}

#[tokio::test(start_paused = true)]
async fn a_lease_that_is_revoked_ends_what_was_led_by_it_and_is_a_gap_for_others() {
    let etcd = ModelEtcd::new();
    let (a, b) = (etcd.connect("a"), etcd.connect("b"));
    let first = a.campaign("r").await.unwrap();
    let before = gaps(&b);
    etcd.revoke_lease("a");
    assert_eq!(first.lost().now_or_never(), Some(LostReason::Forgotten));
    assert_eq!(gaps(&b), before + 1);
    drop(first);
    a.campaign("r").now_or_never().expect("it has a new lease").unwrap();
}

#[tokio::test(start_paused = true)]
async fn the_end_of_a_process_ends_its_lease_and_what_it_led() {
    let etcd = ModelEtcd::new();
    let (a, b) = (etcd.connect("a"), etcd.connect("b"));
    let first = a.campaign("r").await.unwrap();
    let mut waiting = Box::pin(a.campaign("other"));
    let _held = b.campaign("other").await.unwrap();
    assert!(poll!(waiting.as_mut()).is_pending());
    drop(waiting);
    drop(a);
    assert_eq!(first.lost().now_or_never(), Some(LostReason::Closed));
    b.campaign("r").now_or_never().expect("nobody leads it").unwrap();
    assert_eq!(etcd.processes(), ["b"]);
}

#[tokio::test(start_paused = true)]
async fn those_who_come_while_it_is_down_are_told_apart_when_it_is_up() {
    let etcd = ModelEtcd::new();
    etcd.stop();
    let (a, b) = (etcd.connect("a"), etcd.connect("b"));
    let (mut first, mut second) = (Box::pin(a.campaign("r")), Box::pin(b.campaign("r")));
    assert!(poll!(first.as_mut()).is_pending() && poll!(second.as_mut()).is_pending());
    etcd.start();
    let first = first.now_or_never().expect("it is the first").unwrap();
    assert!(poll!(second.as_mut()).is_pending());
    drop(first);
    second.now_or_never().expect("it is the next").unwrap();
}
