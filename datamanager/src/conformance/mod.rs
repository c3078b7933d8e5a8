//! Does a data manager keep the promises of the trait?
//!
//! For whoever writes one: [`run`] tries every promise on fresh stores, and panics with what was broken.
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
mod follow;
mod reads;
mod transactions;

use bytes::Bytes;

use crate::{Action, DataManager, Direction, Error, KeyRange, Position, ReadSet, Result, Scan, Snapshot, Transaction};

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
