//! The change stream.

use futures::{StreamExt, TryStreamExt};

use super::{append, delete, put, write};
use crate::{Change, Committed, DataManager, Position};

async fn next(stream: &mut (impl futures::Stream<Item = crate::Result<Committed>> + Unpin)) -> Committed {
    stream.try_next().await.expect("the stream goes on").expect("the stream does not end")
}

pub(super) async fn followers_see_every_transaction_once_in_order(data: &(impl DataManager + Clone)) {
    let mut positions = Vec::new();
    for n in 0..20 {
        positions.push(write(data, vec![put("c", n.to_string(), "")]).await);
    }
    let mut from_zero = data.follow(Position::ZERO);
    let mut from_middle = data.follow(positions[9]);
    for (n, position) in positions.iter().enumerate() {
        let change = Change { collection: "c".into(), key: n.to_string().into(), value: Some("".into()) };
        let expected = Committed { position: *position, changes: vec![change] };
        assert_eq!(next(&mut from_zero).await, expected);
        if n > 9 {
            assert_eq!(next(&mut from_middle).await, expected);
        }
    }
    // Live from here, each before the next one is written, then many at once.
    let mut from_now = data.follow(positions[19]);
    for n in 0..5 {
        let (position, seen) = tokio::join!(write(data, vec![append("c", n.to_string())]), next(&mut from_now));
        assert_eq!(seen.position, position);
        assert_eq!(seen.changes[0].key[..], position.append_key(0), "appends have their key");
        let snapshot = data.snapshot();
        assert!(snapshot.position() >= seen.position, "what a follower sees is visible to new snapshots");
    }
    let writes = futures::stream::iter(0..100).for_each_concurrent(None, |n| async move {
        write(data, vec![put("c", n.to_string(), "again"), delete("c", "x")]).await;
    });
    let follows = async {
        let mut seen = Vec::new();
        while seen.len() < 100 {
            let committed = next(&mut from_now).await;
            assert_eq!(committed.changes.len(), 2);
            assert_eq!(committed.changes[1].value, None, "a delete has no value");
            seen.push((committed.position, committed.changes[0].key.clone()));
        }
        seen
    };
    let ((), seen) = tokio::join!(writes, follows);
    assert!(seen.windows(2).all(|pair| pair[0].0 < pair[1].0), "no position is repeated");
    let mut keys: Vec<_> = seen.into_iter().map(|(_, key)| key).collect();
    keys.sort_unstable();
    keys.dedup();
    assert_eq!(keys.len(), 100, "no transaction is missed");
    let again: Vec<_> = data.follow(Position::ZERO).take(125).try_collect().await.expect("the stream goes on");
    assert!(again.windows(2).all(|pair| pair[0].position < pair[1].position));
}

pub(super) async fn a_waiter_is_woken_by_its_position(data: &impl DataManager) {
    let first = write(data, vec![put("c", "1", "")]).await;
    data.wait_for(first).await.expect("it is visible already");
    data.wait_for(Position::ZERO).await.expect("it always is");
    let next = Position { lsn: first.lsn + 1, index: 0 };
    let (waited, position) = tokio::join!(data.wait_for(next), write(data, vec![put("c", "2", "")]));
    waited.expect("it became visible");
    assert!(data.snapshot().position() >= position.min(next));
}
