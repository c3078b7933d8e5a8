//! Typed transactions: own writes, read sets, indexes, retries.

use bytes::Bytes;
use futures::FutureExt;
use serde::{Deserialize, Serialize};

use super::{put, write};
use crate::{Collection, DataManager, DataManagerExt, Direction, Error, KeyRange, Result, Tx};

const NUMBERS: Collection<u64> = Collection::new("numbers");

#[derive(Debug, PartialEq, Serialize, Deserialize)]
struct Person {
    mail: String,
    groups: Vec<String>,
}

const PEOPLE: Collection<Person> = Collection::new("people").with_indexes(&[
    ("mail", |_, person, keys| keys.push(person.mail.clone().into())),
    ("group", |_, person, keys| keys.extend(person.groups.iter().map(|group| Bytes::from(group.clone())))),
]);

fn person(mail: &str, groups: &[&str]) -> Person {
    Person { mail: mail.to_owned(), groups: groups.iter().map(|group| group.to_string()).collect() }
}

async fn scan(tx: &Tx, direction: Direction, limit: usize) -> Result<String> {
    let entries = tx.scan(&NUMBERS, KeyRange::all(), direction, limit).await?;
    let entries = entries.iter().map(|(key, value)| format!("{}={value}", key.escape_ascii()));
    Ok(entries.collect::<Vec<_>>().join(" "))
}

pub(super) async fn a_transaction_reads_its_own_writes(data: &(impl DataManager + Clone)) {
    let (_, _) = data
        .transact(async |tx| {
            for (key, value) in [("b", 1), ("d", 2), ("f", 3)] {
                tx.put(&NUMBERS, key, &value).await?;
            }
            Ok::<_, Error>(())
        })
        .await
        .expect("nobody else writes");
    data.transact(async |tx| {
        tx.delete(&NUMBERS, "b").await?;
        tx.put(&NUMBERS, "d", &20).await?;
        for (key, value) in [("a", 10), ("c", 11), ("z", 12)] {
            tx.put(&NUMBERS, key, &value).await?;
        }
        assert_eq!(tx.get(&NUMBERS, "a").await?, Some(10));
        assert_eq!(tx.get(&NUMBERS, "b").await?, None);
        assert_eq!(tx.get(&NUMBERS, "d").await?, Some(20));
        for (limit, ascending, descending) in [
            (9, "a=10 c=11 d=20 f=3 z=12", "z=12 f=3 d=20 c=11 a=10"),
            (5, "a=10 c=11 d=20 f=3 z=12", "z=12 f=3 d=20 c=11 a=10"),
            (3, "a=10 c=11 d=20", "z=12 f=3 d=20"),
            (1, "a=10", "z=12"),
        ] {
            assert_eq!(scan(&tx, Direction::Ascending, limit).await?, ascending);
            assert_eq!(scan(&tx, Direction::Descending, limit).await?, descending);
        }
        tx.delete(&NUMBERS, "a").await?;
        tx.put(&NUMBERS, "b", &13).await?;
        assert_eq!(scan(&tx, Direction::Ascending, 2).await?, "b=13 c=11");
        Ok::<_, Error>(())
    })
    .await
    .expect("nobody else writes");
    let all = data.read_all(&data.snapshot(), &NUMBERS, KeyRange::all()).await.expect("a snapshot is readable");
    let all: Vec<_> = all.iter().map(|(key, value)| (&key[..], *value)).collect();
    assert_eq!(all, [(&b"b"[..], 13), (b"c", 11), (b"d", 20), (b"f", 3), (b"z", 12)]);
}

pub(super) async fn a_page_conflicts_only_with_the_part_that_it_saw(data: &(impl DataManager + Clone)) {
    for (direction, foreign, attempts) in [
        (Direction::Ascending, "c", 1),
        (Direction::Ascending, "aa", 2),
        (Direction::Descending, "c", 1),
        (Direction::Descending, "ee", 2),
    ] {
        write(data, ["a", "b", "d", "e"].map(|key| put("numbers", key, "0")).into()).await;
        let mut tries = 0;
        data.transact(|tx| {
            tries += 1;
            async move {
                tx.scan(&NUMBERS, KeyRange::all(), direction, 2).await?;
                // Another transaction comes in between, once.
                if tries == 1 {
                    write(data, vec![put("numbers", foreign, "1")]).await;
                }
                tx.put(&NUMBERS, "outcome", &tries).await
            }
        })
        .await
        .expect("a conflict is tried again");
        assert_eq!(tries, attempts, "{direction:?}, and {foreign} is written");
        write(data, vec![super::delete("numbers", foreign), super::delete("numbers", "outcome")]).await;
    }
}

async fn find(data: &(impl DataManager + Clone), index: &str, key: &str) -> String {
    let (found, _) = data.transact(async |tx| find_in(&tx, index, key).await).await.expect("nobody else writes");
    found
}

async fn find_in(tx: &Tx, index: &str, key: &str) -> Result<String> {
    let found = tx.find(&PEOPLE, index, key, 9).await?;
    Ok(found.iter().map(|key| String::from_utf8_lossy(key).into_owned()).collect::<Vec<_>>().join(" "))
}

pub(super) async fn indexes_follow_their_entries(data: &(impl DataManager + Clone)) {
    data.transact(async |tx| {
        tx.put(&PEOPLE, "1", &person("x", &["red", "red", "blue"])).await?;
        tx.put(&PEOPLE, "2", &person("y", &["red"])).await?;
        assert_eq!(find_in(&tx, "group", "red").await?, "1 2", "own writes are found");
        tx.put(&PEOPLE, "2", &person("y", &["re", "red\0"])).await?;
        assert_eq!(find_in(&tx, "group", "red").await?, "1", "own overwrites move index entries");
        tx.put(&PEOPLE, "3", &person("gone", &["red"])).await?;
        tx.delete(&PEOPLE, "3").await?;
        Ok::<_, Error>(())
    })
    .await
    .expect("nobody else writes");
    for (index, key, found) in
        [("mail", "x", "1"), ("mail", "y", "2"), ("mail", "gone", ""), ("group", "red", "1"), ("group", "re", "2")]
    {
        assert_eq!(find(data, index, key).await, found, "{index} {key}");
    }
    data.transact(async |tx| {
        tx.put(&PEOPLE, "1", &person("z", &["blue"])).await?;
        tx.delete(&PEOPLE, "2").await?;
        tx.delete(&PEOPLE, "never there").await
    })
    .await
    .expect("nobody else writes");
    for (index, key, found) in
        [("mail", "x", ""), ("mail", "z", "1"), ("mail", "y", ""), ("group", "red", ""), ("group", "blue", "1")]
    {
        assert_eq!(find(data, index, key).await, found, "{index} {key}");
    }
    // Two transactions that look for the same free mail: the second one finds it taken.
    let claim = |id: &'static str| {
        data.transact(move |tx| async move {
            let free = tx.find(&PEOPLE, "mail", "unique", 1).await?.is_empty();
            tokio::task::yield_now().await;
            if free {
                tx.put(&PEOPLE, id, &person("unique", &[])).await?;
            }
            Ok::<_, Error>(free)
        })
    };
    let (a, b) = tokio::join!(claim("a"), claim("b"));
    let claimed = [a, b].into_iter().filter(|result| matches!(result, Ok((true, _)))).count();
    assert_eq!(claimed, 1, "an index keeps a name unique");
    assert_eq!(find(data, "mail", "unique").await.len(), 1);
}

pub(super) async fn a_transaction_that_fails_or_writes_nothing_leaves_nothing(data: &(impl DataManager + Clone)) {
    let before = write(data, vec![put("numbers", "n", "1")]).await;
    let mut follower = data.follow(before);
    let failed = data
        .transact(async |tx| {
            tx.put(&NUMBERS, "n", &2).await?;
            tx.append(&NUMBERS, &3)?;
            Err::<(), _>(Error::Closed)
        })
        .await;
    assert!(matches!(failed, Err(Error::Closed)), "the body's error is the caller's");
    let (read, position) = data.transact(async |tx| tx.get(&NUMBERS, "n").await).await.expect("nobody else writes");
    assert_eq!((read, position), (Some(1), before), "a read returns the position that it read");
    assert_eq!(data.snapshot().position(), before);
    assert!(futures::StreamExt::next(&mut follower).now_or_never().is_none(), "nothing is followed");
}
