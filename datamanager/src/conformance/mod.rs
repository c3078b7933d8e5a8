//! Does a data manager, or a coordinator, keep the promises of its trait?
//!
//! For whoever writes one: [`run`] tries every promise of a data manager on fresh stores, [`run_coordinator`] those of a
//! coordinator, and both panic with what was broken. [`history`] checks what several processes were told under load.
//!
//! ```
//! # #[cfg(feature = "conformance")]
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() {
//! use runyard_datamanager::{MemoryDataManager, conformance};
//!
//! conformance::run(async || MemoryDataManager::new()).await;
//! # }
//! # #[cfg(not(feature = "conformance"))]
//! # fn main() {}
//! ```

mod conflicts;
mod coordinator;
mod follow;
pub mod history;
mod reads;
mod transactions;

use std::sync::Arc;

use bytes::Bytes;

use crate::{
    Action, DataManager, Direction, Error, KeyRange, Position, ReadSet, Result, Scan, Snapshot, Transaction,
    coordinator::Coordinator,
};

/// Runs every case, each on a new and empty store that `fresh` makes.
///
/// # Panics
/// If a promise is broken, with what was expected.
pub async fn run<D: DataManager + Clone>(fresh: impl AsyncFn() -> D) {
    reads::an_entry_is_what_was_last_written(&fresh().await).await;
    reads::a_snapshot_stays_what_it_was(&fresh().await).await;
    reads::scans_go_both_ways_and_stop_at_their_limit(&fresh().await).await;
    reads::long_scans_miss_and_repeat_nothing(&fresh().await).await;
    reads::appends_are_ordered_by_their_place(&fresh().await).await;
    reads::a_batch_of_actions_is_visible_at_once_or_not_at_all(&fresh().await).await;
    conflicts::only_changes_of_what_was_read_conflict(&fresh().await).await;
    conflicts::change_groups_lock_each_other_out(&fresh().await).await;
    conflicts::write_skew_is_refused(&fresh().await).await;
    conflicts::of_many_writers_of_one_name_exactly_one_wins(&fresh().await).await;
    conflicts::no_increment_is_lost(&fresh().await).await;
    conflicts::what_no_store_takes_is_refused(&fresh().await).await;
    follow::followers_see_every_transaction_once_in_order(&fresh().await).await;
    follow::a_waiter_is_woken_by_its_position(&fresh().await).await;
    transactions::a_transaction_reads_its_own_writes(&fresh().await).await;
    transactions::a_page_conflicts_only_with_the_part_that_it_saw(&fresh().await).await;
    transactions::indexes_follow_their_entries(&fresh().await).await;
    transactions::a_transaction_that_fails_or_writes_nothing_leaves_nothing(&fresh().await).await;
}

/// Runs every case for coordinators, each with three that share a new store, which `fresh` makes: those of three
/// processes, or, for a coordinator of one process, the same one three times.
///
/// Every wait has a limit of 20 s. What a coordinator does while it is cut off is not tried here.
///
/// ```
/// # #[cfg(feature = "conformance")]
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() {
/// use std::sync::Arc;
///
/// use runyard_datamanager::{
///     conformance,
///     coordinator::{Coordinator, EmbeddedCoordinator},
/// };
///
/// conformance::run_coordinator(async || {
///     let one: Arc<dyn Coordinator> = Arc::new(EmbeddedCoordinator::new());
///     [one.clone(), one.clone(), one]
/// })
/// .await;
/// # }
/// # #[cfg(not(feature = "conformance"))]
/// # fn main() {}
/// ```
///
/// # Panics
/// If a promise is broken, with what was expected.
pub async fn run_coordinator(fresh: impl AsyncFn() -> [Arc<dyn Coordinator>; 3]) {
    coordinator::the_status_says_that_hints_arrive(&fresh().await).await;
    coordinator::one_at_a_time_leads_in_order(&fresh().await).await;
    coordinator::never_do_two_lead_however_often_they_change(&fresh().await).await;
    coordinator::a_campaign_that_is_dropped_blocks_nobody(&fresh().await).await;
    coordinator::roles_do_not_hinder_each_other(&fresh().await).await;
    coordinator::many_roles_are_led_at_once(&fresh().await).await;
    coordinator::any_name_is_a_role(&fresh().await).await;
    coordinator::announcements_reach_the_others_and_never_fall(&fresh().await).await;
    coordinator::a_burst_of_announcements_blocks_nobody_and_its_last_one_arrives(&fresh().await).await;
}

fn put(collection: &str, key: impl AsRef<[u8]>, value: impl AsRef<[u8]>) -> Action {
    let (key, value) = (Bytes::copy_from_slice(key.as_ref()), Bytes::copy_from_slice(value.as_ref()));
    Action::Put { collection: collection.to_owned(), key, value }
}

fn delete(collection: &str, key: impl AsRef<[u8]>) -> Action {
    Action::Delete { collection: collection.to_owned(), key: Bytes::copy_from_slice(key.as_ref()) }
}

fn append(collection: &str, value: impl AsRef<[u8]>) -> Action {
    Action::Append { collection: collection.to_owned(), value: Bytes::copy_from_slice(value.as_ref()) }
}

async fn write(data: &impl DataManager, actions: Vec<Action>) -> Position {
    let transaction = Transaction { reads: ReadSet::default(), actions };
    data.commit(transaction).await.expect("a blind write commits")
}

async fn get(data: &impl DataManager, at: &Snapshot, key: &str) -> Option<Bytes> {
    data.get(at, "c", key.as_bytes()).await.expect("a snapshot is readable")
}

async fn scan_keys(
    data: &impl DataManager,
    at: &Snapshot,
    (range, direction, limit): (KeyRange, Direction, usize),
) -> (String, bool) {
    let scan = Scan { collection: "c".to_owned(), range, direction, limit };
    let page = data.scan(at, &scan).await.expect("a snapshot is readable");
    let keys: Vec<_> = page.entries.iter().map(|(key, _)| String::from_utf8_lossy(key).into_owned()).collect();
    (keys.join(" "), page.more)
}

#[track_caller]
fn assert_conflict<T: std::fmt::Debug>(result: Result<T>, what: &str) {
    let error = result.expect_err(what);
    assert!(matches!(error, Error::Conflict { .. }), "{what}: {error:?}");
}
