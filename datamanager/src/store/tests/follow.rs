//! Followers of a store whose tiers change.

use futures::{StreamExt, future::BoxFuture, stream::BoxStream};

use futures::FutureExt;

use super::*;
use crate::{
    Committed,
    follow::{Log, follow},
};

/// A log of which everything up to some number was cleaned away.
#[derive(Clone)]
struct Cleaned {
    store: Arc<Store>,
    floor: u64,
}

impl Log for Cleaned {
    fn read(&mut self, lsn: u64) -> BoxFuture<'_, Result<Arc<Batch>>> {
        Box::pin(async move {
            if lsn <= self.floor {
                return Err(Error::PositionExpired { position: at(lsn), oldest: self.store.base().position() });
            }
            Ok(Arc::new(Batch::new(lsn, [0; 32], vec![Logged::new(at(lsn), vec![], vec![])])))
        })
    }

    fn closed(&self) -> BoxFuture<'_, ()> {
        Box::pin(std::future::pending())
    }
}

/// What a follower yields without waiting: positions, and the error that ended it.
fn drain(follower: &mut BoxStream<'static, Result<Committed>>) -> (Vec<u64>, Option<Error>) {
    let mut seen = Vec::new();
    while let Some(Some(next)) = follower.next().now_or_never() {
        match next {
            Ok(committed) => seen.push(committed.position.lsn),
            Err(error) => return (seen, Some(error)),
        }
    }
    (seen, None)
}

#[test]
fn the_stores_own_entries_are_not_shown_but_their_transactions_are() {
    let store = store();
    store.apply(batch(&store, &["g"], vec![]));
    store.apply(batch(&store, &[], vec![write(system::SYSTEM, "leader", Some("x"))]));
    store.apply(batch(&store, &["g"], vec![write("c", "k", Some("v")), write(system::SYSTEM, "x", None)]));
    let log = Cleaned { store: Arc::clone(&store), floor: 0 };
    let seen: Vec<Committed> =
        block_on(follow(Arc::clone(&store), Position::ZERO, log).take(3).map(|next| next.unwrap()).collect());
    let changed: Vec<Vec<&str>> =
        seen.iter().map(|committed| committed.changes.iter().map(|change| &*change.collection).collect()).collect();
    assert_eq!(changed, [vec![], vec![], vec!["c"]]);
    assert!(seen.iter().map(|committed| committed.position.lsn).eq(1..=3));
}

#[test]
fn a_follower_goes_on_over_an_installed_checkpoint_and_expires_where_the_log_is_gone() {
    let store = store();
    (0..5).for_each(|_| put(&store, "k"));
    let log = Cleaned { store: Arc::clone(&store), floor: 4 };
    let follow_after = |lsn| follow(Arc::clone(&store), at(lsn), log.clone());
    let mut early = follow_after(0);
    assert_eq!(drain(&mut early).0, [1, 2, 3, 4, 5]);
    store.install(checkpoint(&store));
    put(&store, "k");
    assert_eq!(drain(&mut early).0, [6], "without a gap or a repetition");
    // Another process, or this one after it was left behind, has nothing of it in memory.
    store.reset(&Store::new(store.base(), KEPT, usize::MAX));
    put(&store, "k");
    let expired = |result: (Vec<u64>, Option<Error>)| {
        assert!(result.0.is_empty(), "{result:?}");
        assert!(matches!(result.1, Some(Error::PositionExpired { oldest, .. }) if oldest == at(5)), "{result:?}");
    };
    expired(drain(&mut follow_after(0)));
    expired(drain(&mut follow_after(4)));
    assert_eq!(drain(&mut follow_after(5)).0, [6], "the last batch of the checkpoint is not needed");
}

#[test]
fn whoever_was_left_behind_meets_a_defined_error_and_goes_on_from_a_snapshot() {
    let (store, other) = (store(), store());
    put(&store, "k");
    (0..9).for_each(|_| put(&other, "k"));
    let log = Cleaned { store: Arc::clone(&store), floor: 9 };
    let mut behind = follow(Arc::clone(&store), Position::ZERO, log.clone());
    assert_eq!(drain(&mut behind).0, [1]);
    let old = store.snapshot();
    store.reset(&Store::new(checkpoint(&other), KEPT, usize::MAX));
    assert_eq!(get(&store, &old, "k").as_deref(), Some("1"), "a snapshot reads what it saw");
    assert_eq!(get(&store, &store.snapshot(), "k").as_deref(), Some("9"));
    assert_eq!((store.tip().lsn, store.tip().hash), (9, [9; 32]));
    let (seen, error) = drain(&mut behind);
    assert!(seen.is_empty());
    assert!(matches!(error, Some(Error::PositionExpired { position, .. }) if position == at(2)), "{error:?}");
    let mut again = follow(Arc::clone(&store), store.snapshot().position(), log);
    assert!(drain(&mut again).1.is_none());
    put(&store, "k");
    assert_eq!(drain(&mut again).0, [10]);
}
