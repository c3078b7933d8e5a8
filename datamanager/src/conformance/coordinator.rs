//! What every coordinator promises, with three processes that share a store.

use std::{
    future::Future,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use futures::{FutureExt, future::join_all, poll};

use crate::coordinator::{Candidacy, Coordinator, ROLE_BYTES_MAX};

/// The coordinators of three processes that share a store, or one of a single process three times.
pub(super) type Three = [Arc<dyn Coordinator>; 3];

/// What is waited for takes milliseconds; this is for machines that do much else.
const SOON: Duration = Duration::from_secs(20);

async fn soon<T>(what: &str, event: impl Future<Output = T>) -> T {
    tokio::time::timeout(SOON, event).await.unwrap_or_else(|_| panic!("not within {SOON:?}: {what}"))
}

async fn lead(coordinator: &Arc<dyn Coordinator>, role: &str) -> Candidacy {
    let candidacy = soon(role, coordinator.campaign(role)).await.expect("a name of moderate length");
    assert_eq!(candidacy.role(), role);
    candidacy
}

/// Lets everything that a process asked for before arrive: another role, which nobody else wants, is led and resigned.
async fn settle(coordinator: &Arc<dyn Coordinator>) {
    static NEXT: AtomicUsize = AtomicUsize::new(0);
    lead(coordinator, &format!("nobody else's {}", NEXT.fetch_add(1, Ordering::Relaxed))).await;
}

pub(super) async fn one_at_a_time_leads_in_order(all: &Three) {
    let first = lead(&all[0], "r").await;
    let mut second = Box::pin(all[1].campaign("r"));
    assert!(poll!(second.as_mut()).is_pending());
    settle(&all[1]).await;
    let mut third = Box::pin(all[2].campaign("r"));
    assert!(poll!(third.as_mut()).is_pending());
    settle(&all[2]).await;
    assert!(poll!(second.as_mut()).is_pending() && poll!(third.as_mut()).is_pending(), "the first one still leads");
    assert!(!first.is_lost());
    drop(first);
    let second = soon("the second one leads", second).await.expect("it was its turn");
    settle(&all[2]).await;
    assert!(poll!(third.as_mut()).is_pending(), "the second one leads");
    drop(second);
    let third = soon("the third one leads", third).await.expect("it was its turn");
    assert!(!third.is_lost() && third.lost().now_or_never().is_none());
}

pub(super) async fn never_do_two_lead_however_often_they_change(all: &Three) {
    let leading = AtomicUsize::new(0);
    let contend = async |coordinator: &Arc<dyn Coordinator>| {
        for _ in 0..10 {
            let candidacy = lead(coordinator, "r").await;
            assert_eq!(leading.fetch_add(1, Ordering::SeqCst), 0, "somebody else leads");
            // As long as it takes to be heard.
            settle(coordinator).await;
            assert_eq!(candidacy.lost().now_or_never(), None, "nothing happened to it: {:?}", coordinator.status());
            leading.fetch_sub(1, Ordering::SeqCst);
        }
    };
    join_all(all.iter().map(contend)).await;
}

pub(super) async fn a_campaign_that_is_dropped_blocks_nobody(all: &Three) {
    let first = lead(&all[0], "r").await;
    for _ in 0..5 {
        // Dropped before anything was asked for, and after.
        assert!(all[1].campaign("r").now_or_never().is_none());
        let mut waiting = Box::pin(all[1].campaign("r"));
        assert!(poll!(waiting.as_mut()).is_pending());
        settle(&all[1]).await;
    }
    let mut third = Box::pin(all[2].campaign("r"));
    assert!(poll!(third.as_mut()).is_pending());
    settle(&all[2]).await;
    drop(first);
    drop(soon("the third one leads", third).await.expect("it was its turn"));
    // Who withdrew can campaign again, and who resigned.
    drop(lead(&all[1], "r").await);
    lead(&all[0], "r").await;
}

pub(super) async fn roles_do_not_hinder_each_other(all: &Three) {
    let _a = lead(&all[0], "a").await;
    let _b = lead(&all[1], "b").await;
    let _c = lead(&all[0], "c").await;
    let mut waiting = Box::pin(all[2].campaign("a"));
    assert!(poll!(waiting.as_mut()).is_pending());
    let _d = lead(&all[2], "d").await;
    assert!(poll!(waiting.as_mut()).is_pending());
}

pub(super) async fn many_roles_are_led_at_once(all: &Three) {
    const ROLES: usize = 300;
    let roles: Vec<_> = (0..ROLES).map(|role| format!("role {role}")).collect();
    let led = join_all(roles.iter().enumerate().map(|(n, role)| lead(&all[n % 3], role))).await;
    let mut others: Vec<_> = (0..ROLES).map(|n| all[(n + 1) % 3].campaign(&roles[n])).collect();
    assert!(others.iter_mut().all(|campaign| campaign.now_or_never().is_none()));
    drop(led);
    let taken_over = soon("everything is taken over", join_all(others)).await;
    assert!(taken_over.iter().all(Result::is_ok));
}

pub(super) async fn any_name_is_a_role(all: &Three) {
    let longest = "x".repeat(ROLE_BYTES_MAX);
    let names = ["", "/", "a", "a/", "/a", "a/b", "a//b", "\0", "\n", "ä", "..", "%2F", "*", " ", "0000000000000001"];
    let names: Vec<_> = names.into_iter().chain([longest.as_str()]).collect();
    let led = join_all(names.iter().map(|name| lead(&all[0], name))).await;
    settle(&all[1]).await;
    let mut others: Vec<_> = names.iter().map(|name| all[1].campaign(name)).collect();
    assert!(others.iter_mut().all(|campaign| campaign.now_or_never().is_none()), "each is led by the first");
    for (candidacy, (name, other)) in led.into_iter().zip(names.iter().zip(others)) {
        drop(candidacy);
        let candidacy = soon(name, other).await.expect("a name of moderate length");
        assert_eq!(candidacy.role(), *name, "it was the turn of this one");
    }
    let error = all[0].campaign(&"x".repeat(ROLE_BYTES_MAX + 1)).await.expect_err("too long");
    assert!(error.to_string().contains(&ROLE_BYTES_MAX.to_string()), "{error}");
}

pub(super) async fn announcements_reach_the_others_and_never_fall(all: &Three) {
    for (n, announcer) in all.iter().enumerate() {
        let others: Vec<_> = all.iter().enumerate().filter(|(other, _)| *other != n).collect();
        let mut heard: Vec<_> = others.iter().map(|(_, other)| other.announced()).collect();
        let lsn = 100 * (n as u64 + 1);
        announcer.announce(lsn);
        for heard in &mut heard {
            soon("others hear of it", heard.wait_for(|heard| heard.lsn == lsn)).await.expect("it goes on");
        }
        announcer.announce(lsn - 1);
        assert_eq!(announcer.announced().borrow().lsn, lsn);
        settle(announcer).await;
        assert!(heard.iter().all(|heard| heard.borrow().lsn == lsn), "an older number is no news");
    }
}

pub(super) async fn a_burst_of_announcements_blocks_nobody_and_its_last_one_arrives(all: &Three) {
    const BURST: u64 = 10_000;
    let mut heard = [all[1].announced(), all[2].announced()];
    // Without a pause in which anything else could be done: it waits for nothing.
    for lsn in 1..=BURST {
        all[0].announce(lsn);
    }
    for heard in &mut heard {
        let mut times = 0;
        let mut before = 0;
        while heard.borrow().lsn < BURST {
            soon("the last one arrives", heard.changed()).await.expect("it goes on");
            let now = heard.borrow_and_update().lsn;
            assert!(now >= before, "{now} after {before}");
            (times, before) = (times + 1, now);
        }
        assert!(times <= 10, "{BURST} announcements were passed on as {times}");
    }
}

pub(super) async fn the_status_says_that_hints_arrive(all: &Three) {
    for coordinator in all {
        let status = coordinator.status().borrow().clone();
        assert!(status.is_connected() && status.disconnected_for().is_none(), "{status:?}");
    }
}
