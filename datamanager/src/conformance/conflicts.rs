//! Conflicts: what a transaction read, and what others changed meanwhile.

use bytes::Bytes;
use futures::future::join_all;

use super::{append, assert_conflict, delete, put, write};
use crate::{
    Action, BATCH_BYTES_MAX, COLLECTION_NAME_BYTES_MAX, Collection, DataManager, DataManagerExt, Direction, Error,
    KEY_BYTES_MAX, KeyRange, Position, ReadSet, Transaction,
};

const NUMBERS: Collection<u64> = Collection::new("numbers");

fn reads(position: Position) -> ReadSet {
    ReadSet { position, ..ReadSet::default() }
}

fn key(position: Position, key: &'static str) -> ReadSet {
    ReadSet { keys: vec![("c".into(), key.into())], ..reads(position) }
}

fn range(position: Position, range: KeyRange) -> ReadSet {
    ReadSet { ranges: vec![("c".into(), range)], ..reads(position) }
}

fn group(position: Position, group: &str) -> ReadSet {
    ReadSet { groups: vec![group.into()], ..reads(position) }
}

fn writing(reads: ReadSet) -> Transaction {
    Transaction { reads, actions: vec![append("outcome", "done")] }
}

pub(super) async fn only_changes_of_what_was_read_conflict(data: &impl DataManager) {
    write(data, vec![put("c", "a", ""), put("c", "m", ""), put("c", "gone", "")]).await;
    let before = data.snapshot().position();
    write(data, vec![put("c", "a", "changed"), put("c", "new", ""), delete("c", "gone"), put("d", "m", "")]).await;
    for (what, reads) in [
        ("a changed entry", key(before, "a")),
        ("an entry that did not exist", key(before, "new")),
        ("a deleted entry", key(before, "gone")),
        ("a range with a changed entry", range(before, KeyRange::prefix("a"))),
        ("a range with a new entry", range(before, KeyRange::all().after("mm").before("z"))),
        ("a range with a deleted entry", range(before, KeyRange::prefix("g"))),
    ] {
        assert_conflict(data.commit(writing(reads.clone())).await, what);
        let reads_only = Transaction { reads, actions: vec![] };
        assert_conflict(data.commit(reads_only).await, what);
    }
    let now = data.snapshot().position();
    for reads in [
        reads(before),
        key(before, "m"),
        key(before, "never there"),
        range(before, KeyRange::prefix("m")),
        range(before, KeyRange::all().after("z").before("a")),
        group(before, "a"),
        key(now, "a"),
        range(now, KeyRange::all()),
    ] {
        let what = format!("{reads:?}");
        data.commit(writing(reads)).await.expect(&what);
    }
}

pub(super) async fn change_groups_lock_each_other_out(data: &impl DataManager) {
    let before = write(data, vec![put("c", "k", "")]).await;
    data.commit(writing(group(before, "g"))).await.expect("nobody took the group");
    assert_conflict(data.commit(writing(group(before, "g"))).await, "the group was taken meanwhile");
    data.commit(writing(group(before, "h"))).await.expect("another group");
    let taken_only = Transaction { reads: group(data.snapshot().position(), "g"), actions: vec![] };
    let position = data.commit(taken_only).await.expect("a group can be taken for its own sake");
    assert_conflict(data.commit(writing(group(before, "g"))).await, "it was taken again");
    data.commit(writing(group(position, "g"))).await.expect("read again after the other took it");
}

pub(super) async fn write_skew_is_refused(data: &(impl DataManager + Clone)) {
    // Two doctors are on call, each may go if the other one stays: they must not both go.
    for name in ["a", "b"] {
        let on_call = async |tx: crate::Tx| tx.put(&NUMBERS, name, &1).await;
        data.transact(on_call).await.expect("nobody else writes");
    }
    let go = |name: &'static str| {
        data.transact(move |tx| async move {
            let all = tx.scan(&NUMBERS, KeyRange::all(), Direction::Ascending, 9).await?;
            tokio::task::yield_now().await;
            if all.iter().filter(|(_, on_call)| *on_call == 1).count() > 1 {
                tx.put(&NUMBERS, name, &0).await?;
            }
            Ok::<_, Error>(())
        })
    };
    let (a, b) = tokio::join!(go("a"), go("b"));
    a.and(b).expect("a conflict is tried again");
    let all = data.read_all(&data.snapshot(), &NUMBERS, KeyRange::all()).await.expect("a snapshot is readable");
    assert_eq!(all.iter().map(|(_, on_call)| on_call).sum::<u64>(), 1, "one of the two stays");
}

pub(super) async fn of_many_writers_of_one_name_exactly_one_wins(data: &impl DataManager) {
    let before = data.snapshot().position();
    let attempts = (0..32).map(|n: u32| {
        let actions = vec![put("c", "name", n.to_string())];
        data.commit(Transaction { reads: key(before, "name"), actions })
    });
    let results = join_all(attempts).await;
    let winners: Vec<_> = results.iter().enumerate().filter(|(_, result)| result.is_ok()).collect();
    assert_eq!(winners.len(), 1, "{results:?}");
    let value = data.get(&data.snapshot(), "c", b"name").await.expect("a snapshot is readable");
    assert_eq!(value, Some(Bytes::from(winners[0].0.to_string())), "the entry is the winner's");
    assert!(results.iter().flat_map(|result| result.as_ref().err()).all(Error::is_conflict), "{results:?}");
}

pub(super) async fn no_increment_is_lost(data: &(impl DataManager + Clone)) {
    let increment = || {
        data.transact(async |tx| {
            let next = tx.get(&NUMBERS, "n").await?.unwrap_or(0) + 1;
            tx.put(&NUMBERS, "n", &next).await?;
            Ok::<_, Error>(next)
        })
    };
    let mut seen: Vec<_> = join_all((0..40).map(|_| increment())).await.into_iter().map(Result::ok).collect();
    seen.sort_unstable_by_key(|result| result.map(|(n, _)| n));
    let (numbers, positions): (Vec<_>, Vec<_>) = seen.into_iter().flatten().unzip();
    assert_eq!(numbers, (1..=40).collect::<Vec<_>>());
    assert!(positions.is_sorted(), "the order of positions is the order of effects");
}

pub(super) async fn what_no_store_takes_is_refused(data: &impl DataManager) {
    let before = data.snapshot().position();
    let large = vec![0; BATCH_BYTES_MAX];
    let halves = vec![put("c", "1", &large[..BATCH_BYTES_MAX / 2]), put("c", "2", &large[..BATCH_BYTES_MAX / 2])];
    let future = key(Position { lsn: before.lsn + 1_000_000, index: 0 }, "k");
    for (what, transaction) in [
        ("a collection without a name", blind(vec![put("", "k", "")])),
        ("a long collection name", blind(vec![append(&"c".repeat(COLLECTION_NAME_BYTES_MAX + 1), "")])),
        ("a long key", blind(vec![delete("c", vec![0; KEY_BYTES_MAX + 1])])),
        ("a large value", blind(vec![put("c", "k", &large)])),
        ("a large transaction", blind(halves)),
        ("a read of the future", writing(future)),
    ] {
        let error = data.commit(transaction).await.expect_err(what);
        assert!(matches!(error, Error::Refused { .. }), "{what}: {error:?}");
    }
    assert_eq!(data.snapshot().position(), before, "what is refused leaves nothing");
    write(data, vec![put("c", "k", &large[..BATCH_BYTES_MAX / 2])]).await;
}

fn blind(actions: Vec<Action>) -> Transaction {
    Transaction { reads: ReadSet::default(), actions }
}
