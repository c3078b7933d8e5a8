//! Reads: entries, snapshots, scans.

use std::ops::Bound;

use bytes::Bytes;

use super::{append, delete, get, put, scan_keys, write};
use crate::{
    DataManager,
    Direction::{Ascending, Descending},
    KeyRange, Position, Scan,
};

pub(super) async fn an_entry_is_what_was_last_written(data: &impl DataManager) {
    assert_eq!(get(data, &data.snapshot(), "k").await, None, "before it was written");
    let first = write(data, vec![put("c", "k", "one"), put("other", "k", "elsewhere")]).await;
    assert!(first > Position::ZERO);
    assert_eq!(get(data, &data.snapshot(), "k").await.as_deref(), Some(&b"one"[..]));
    let second = write(data, vec![put("c", "k", "two"), put("c", "k", "three")]).await;
    assert!(second > first, "positions grow");
    assert_eq!(data.snapshot().position(), second, "a commit is visible when it returns");
    assert_eq!(get(data, &data.snapshot(), "k").await.as_deref(), Some(&b"three"[..]), "a later action wins");
    write(data, vec![delete("c", "k"), delete("c", "never there")]).await;
    assert_eq!(get(data, &data.snapshot(), "k").await, None, "after it was deleted");
    write(data, vec![put("c", "k", ""), put("c", "", "the empty key")]).await;
    let snapshot = data.snapshot();
    assert_eq!(get(data, &snapshot, "k").await.as_deref(), Some(&b""[..]), "an empty value is a value");
    assert_eq!(get(data, &snapshot, "").await.as_deref(), Some(&b"the empty key"[..]));
    let elsewhere = data.get(&snapshot, "other", b"k").await.expect("a snapshot is readable");
    assert_eq!(elsewhere.as_deref(), Some(&b"elsewhere"[..]), "collections are apart");
    assert_eq!(data.get(&snapshot, "unheard of", b"k").await.expect("a snapshot is readable"), None);
}

pub(super) async fn a_snapshot_stays_what_it_was(data: &impl DataManager) {
    write(data, vec![put("c", "a", "0"), put("c", "b", "0")]).await;
    let old = data.snapshot();
    let clone = old.clone();
    for n in 1..=50 {
        write(data, vec![put("c", "a", n.to_string()), delete("c", "b"), put("c", format!("new{n}"), "")]).await;
    }
    drop(old);
    assert_eq!(get(data, &clone, "a").await.as_deref(), Some(&b"0"[..]));
    assert_eq!(scan_keys(data, &clone, (KeyRange::all(), Ascending, 9)).await, ("a b".into(), false));
    drop(clone);
    write(data, vec![put("c", "a", "last")]).await;
    assert_eq!(get(data, &data.snapshot(), "a").await.as_deref(), Some(&b"last"[..]));
}

pub(super) async fn scans_go_both_ways_and_stop_at_their_limit(data: &impl DataManager) {
    write(data, ["a", "b", "ba", "c", "x"].map(|key| put("c", key, "")).into()).await;
    write(data, vec![delete("c", "x"), put("c2", "bb", "")]).await;
    let at = data.snapshot();
    let between = |start, end| KeyRange { start, end };
    let key = |key: &'static str| Bytes::from(key);
    for (range, direction, limit, keys, more) in [
        (KeyRange::all(), Ascending, 9, "a b ba c", false),
        (KeyRange::all(), Ascending, 4, "a b ba c", false),
        (KeyRange::all(), Ascending, 3, "a b ba", true),
        (KeyRange::all(), Descending, 3, "c ba b", true),
        (KeyRange::all(), Descending, usize::MAX, "c ba b a", false),
        (KeyRange::prefix("b"), Ascending, 9, "b ba", false),
        (KeyRange::prefix("b"), Descending, 1, "ba", true),
        (KeyRange::prefix("b").after("b"), Ascending, 9, "ba", false),
        (KeyRange::all().before("b"), Descending, 9, "a", false),
        (between(Bound::Included(key("b")), Bound::Included(key("c"))), Ascending, 9, "b ba c", false),
        (between(Bound::Excluded(key("b")), Bound::Excluded(key("c"))), Descending, 9, "ba", false),
        (between(Bound::Included(key("c")), Bound::Included(key("b"))), Ascending, 9, "", false),
        (between(Bound::Excluded(key("b")), Bound::Excluded(key("b"))), Ascending, 9, "", false),
        (KeyRange::prefix("nothing"), Ascending, 9, "", false),
    ] {
        let expected = (keys.to_owned(), more);
        let what = format!("{range:?} {direction:?} {limit}");
        assert_eq!(scan_keys(data, &at, (range, direction, limit)).await, expected, "{what}");
    }
}

pub(super) async fn long_scans_miss_and_repeat_nothing(data: &impl DataManager) {
    const ENTRIES: usize = 3000;
    let key = |n: usize| format!("{n:06}");
    write(data, (0..ENTRIES).map(|n| put("c", key(n), "")).collect()).await;
    // Every third entry is gone, so that a page has to look at more keys than it returns.
    write(data, (0..ENTRIES).step_by(3).map(|n| delete("c", key(n))).collect()).await;
    let at = data.snapshot();
    let expected: Vec<String> = (0..ENTRIES).filter(|n| n % 3 != 0).map(key).collect();
    for limit in [700, usize::MAX] {
        for direction in [Ascending, Descending] {
            let mut seen = Vec::new();
            let mut range = KeyRange::all();
            loop {
                let scan = Scan { collection: "c".into(), range: range.clone(), direction, limit };
                let page = data.scan(&at, &scan).await.expect("a snapshot is readable");
                seen.extend(page.entries.iter().map(|(key, _)| String::from_utf8_lossy(key).into_owned()));
                let Some((last, _)) = page.entries.last().filter(|_| page.more) else { break };
                range = if direction == Ascending { range.after(last) } else { range.before(last) };
            }
            if direction == Descending {
                seen.reverse();
            }
            assert!(seen == expected, "{direction:?} in pages of {limit}: {} entries", seen.len());
        }
    }
}

pub(super) async fn appends_are_ordered_by_their_place(data: &impl DataManager) {
    let first = write(data, vec![append("c", "1"), put("c2", "k", ""), append("c", "2")]).await;
    let second = write(data, vec![append("c", "3")]).await;
    let scan = Scan { collection: "c".into(), range: KeyRange::all(), direction: Ascending, limit: 9 };
    let page = data.scan(&data.snapshot(), &scan).await.expect("a snapshot is readable");
    let expected = [(first.append_key(0), "1"), (first.append_key(1), "2"), (second.append_key(0), "3")];
    let expected = expected.map(|(key, value)| (Bytes::copy_from_slice(&key), Bytes::from(value)));
    assert_eq!(page.entries, expected, "an append is under the position of its transaction and its number in it");
}

pub(super) async fn a_batch_of_actions_is_visible_at_once_or_not_at_all(data: &(impl DataManager + Clone)) {
    write(data, vec![put("c", "a", "0"), put("c", "b", "0")]).await;
    let writes = async {
        for n in 1..=200 {
            write(data, vec![put("c", "a", n.to_string()), put("c", "b", n.to_string())]).await;
        }
    };
    let reads = async {
        let mut last = None;
        while last.as_deref() != Some(&b"200"[..]) {
            let at = data.snapshot();
            last = get(data, &at, "a").await;
            assert_eq!(last, get(data, &at, "b").await, "a transaction is never seen in part");
            tokio::task::yield_now().await;
        }
    };
    tokio::join!(writes, reads);
}
