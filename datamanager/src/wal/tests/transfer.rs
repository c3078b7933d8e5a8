//! What leaves a store comes into another one wholly, or not at all.

use std::convert::Infallible;

use futures::{TryStreamExt, stream};
use runyard_objectstorage::Verdict;

use super::*;
use crate::{Error, Imported, Snapshot};

fn put_entry(collection: &str, key: impl Into<Bytes>, value: impl Into<Bytes>) -> Action {
    Action::Put { collection: collection.to_owned(), key: key.into(), value: value.into() }
}

/// A store with text, bytes and what was appended, in data files and in the log.
async fn exported() -> (WalDataManager, Vec<String>) {
    let process = Process::open(&objects()).await;
    for n in 0..12 {
        process.write(n).await;
        let actions = vec![
            put_entry("bytes", vec![0xff, n as u8], vec![n as u8, 0xfe]),
            put_entry("text", format!("é\"{n}\n"), "\0\u{1f600}"),
            Action::Append { collection: "events".to_owned(), value: n.to_string().into() },
        ];
        process.data.commit(Transaction { actions, ..Transaction::default() }).await.expect("committed");
        if n % 5 == 4 {
            checkpoint(&process.data).await;
        }
    }
    let lines = lines_of(&process.data, None).await;
    (process.data, lines)
}

async fn lines_of(data: &WalDataManager, at: Option<Snapshot>) -> Vec<String> {
    let lines: Vec<Bytes> = data.export(at).try_collect().await.expect("exported");
    lines.iter().map(|line| String::from_utf8(line.to_vec()).expect("text")).collect()
}

async fn import(data: &WalDataManager, lines: &[String]) -> Result<Imported> {
    let lines = lines.iter().map(|line| Ok::<_, Infallible>(Bytes::from(line.clone())));
    data.import(stream::iter(lines.collect::<Vec<_>>())).await
}

async fn hash(data: &WalDataManager) -> [u8; 32] {
    data.state_hash(&data.snapshot()).await.expect("readable")
}

async fn maintained(objects: &Arc<MemoryStorage>) -> Process {
    let process = Process::open(objects).await;
    process.data.enter_maintenance("importing").await.expect("not in maintenance");
    process
}

fn line_of(error: &Error) -> u64 {
    match error {
        Error::Line { line, .. } => *line,
        error => panic!("no line: {error}"),
    }
}

#[tokio::test(start_paused = true)]
async fn an_export_comes_into_another_store_in_any_order_and_goes_on_there() {
    let (source, mut lines) = exported().await;
    let last = lines.len() - 1;
    for round in 0..4 {
        let objects = objects();
        let target = maintained(&objects).await;
        let before = target.data.snapshot();
        let imported = import(&target.data, &lines).await.expect("imported");
        assert_eq!(imported.entries, last as u64 - 1);
        assert_eq!(hash(&target.data).await, hash(&source).await, "round {round}");
        let stale =
            ReadSet { position: before.position(), keys: vec![("text".into(), "x".into())], ..ReadSet::default() };
        target.data.leave_maintenance().await.expect("left");
        let actions = vec![Action::Append { collection: "events".to_owned(), value: "new".into() }];
        let conflict = target.data.commit(Transaction { reads: stale, actions: actions.clone() }).await;
        assert!(conflict.is_ok() || conflict.expect_err("an error").is_conflict());
        let seen =
            ReadSet { position: before.position(), keys: vec![("c".into(), "last".into())], ..ReadSet::default() };
        let conflict = target.data.commit(Transaction { reads: seen, actions: actions.clone() }).await;
        assert!(conflict.expect_err("it was not there").is_conflict());
        let position = target.data.commit(Transaction { actions, ..Transaction::default() }).await.expect("committed");
        let scan =
            Scan { collection: "events".into(), range: KeyRange::all(), direction: Direction::Descending, limit: 1 };
        let page = target.data.scan(&target.data.snapshot(), &scan).await.expect("readable");
        assert_eq!(page.entries[0].0[..], position.append_key(0), "after everything that was imported");
        let (hash_before, lines_before) = (hash(&target.data).await, lines_of(&target.data, None).await);
        target.data.close().await;
        let again = Process::open(&objects).await;
        assert_eq!(hash(&again.data).await, hash_before);
        assert_eq!(lines_of(&again.data, None).await, lines_before);
        let report = crate::verify(objects, "base").await.expect("a store");
        assert!(report.is_sound(), "{report:?}");
        match round {
            0 => lines[1..last].reverse(),
            1 => lines[1..last].rotate_left(last / 3),
            _ => lines[1..last].sort_by_key(|line| crc32fast::hash(line.as_bytes())),
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_line_that_is_missing_damaged_or_there_twice_is_named_and_changes_nothing() {
    let (_, lines) = exported().await;
    let objects = objects();
    let target = maintained(&objects).await;
    let nothing = hash(&target.data).await;
    for length in 0..lines.len() {
        let error = import(&target.data, &lines[..length]).await.expect_err("truncated");
        assert_eq!(line_of(&error), length as u64 + 1, "{error}");
        let mut cut = lines[..=length].to_vec();
        let half = (0..=cut[length].len() / 2).rev().find(|end| cut[length].is_char_boundary(*end)).expect("a start");
        cut[length].truncate(half);
        assert_eq!(line_of(&import(&target.data, &cut).await.expect_err("cut")), length as u64 + 1);
    }
    for (index, garbage) in [(0, "{}\n"), (3, "garbage\n"), (3, "{}\n"), (5, "{\"collection\":\"c\",\"key\":\"k\"}\n")]
    {
        let mut lines = lines.clone();
        lines[index] = garbage.to_owned();
        assert_eq!(line_of(&import(&target.data, &lines).await.expect_err(garbage)), index as u64 + 1);
    }
    let last = lines.len() - 1;
    for (first, second) in [(1, 2), (1, last), (7, 20), (last - 1, last)] {
        let mut lines = lines.clone();
        lines.insert(second, lines[first].clone());
        let error = import(&target.data, &lines).await.expect_err("twice");
        // Of a duplicate that is far away, the counts say first that something is wrong.
        let named = line_of(&error);
        assert!(named == second as u64 + 1 || named == lines.len() as u64, "{error}");
        lines[last + 1] = lines[last + 1].replace("\"c\":13", "\"c\":14").replace("\"bytes\":12", "\"bytes\":13");
        lines[last + 1] = lines[last + 1].replace("\"text\":12", "\"text\":13");
        let error = import(&target.data, &lines).await.expect_err("twice");
        if line_of(&error) == second as u64 + 1 {
            assert!(error.to_string().contains(&format!("line {} ", first + 1)), "{error}");
        }
    }
    let mut missing = lines.clone();
    missing.remove(4);
    assert_eq!(line_of(&import(&target.data, &missing).await.expect_err("counts")), last as u64);
    let mut changed = lines.clone();
    changed[last] = changed[last].replace("\"state_hash\":\"", "\"state_hash\":\"0");
    assert_eq!(line_of(&import(&target.data, &changed).await.expect_err("hash")), last as u64 + 1);
    let mut more = lines.clone();
    more.push("\n".to_owned());
    assert_eq!(line_of(&import(&target.data, &more).await.expect_err("more")), last as u64 + 2);
    assert_eq!(hash(&target.data).await, nothing);
    assert_eq!(names_in(&objects, "manifest/").await, [1], "the one that an import begins with");
    import(&target.data, &lines).await.expect("after all that");
}

#[tokio::test(start_paused = true)]
async fn a_store_that_is_used_or_not_in_maintenance_is_refused() {
    let (source, lines) = exported().await;
    let empty = Process::open(&objects()).await;
    let error = import(&empty.data, &lines).await.expect_err("not in maintenance").to_string();
    assert!(error.contains("maintenance"), "{error}");
    source.enter_maintenance("importing").await.expect("entered");
    let error = import(&source, &lines).await.expect_err("used").to_string();
    assert!(error.contains("without entries") && error.contains("new store"), "{error}");
}

#[tokio::test(start_paused = true)]
async fn a_crash_at_any_call_of_an_import_leaves_the_store_as_it_was_or_imported() {
    let (source, lines) = exported().await;
    let (nothing, everything) = (hash(&Process::open(&objects()).await.data).await, hash(&source).await);
    let mut seen = [false; 2];
    for verdict in [Verdict::CrashBefore, Verdict::CrashAfter] {
        for nth in 1.. {
            let objects = objects();
            let target = maintained(&objects).await;
            let before = target.storage.calls_total();
            target.storage.script(nth, verdict);
            let result = import(&target.data, &lines).await;
            let calls = target.storage.calls_total() - before;
            let after = Process::open(&objects).await;
            let state = hash(&after.data).await;
            let is_imported = state == everything;
            assert!(is_imported || state == nothing, "{verdict:?} at call {nth}");
            assert!(is_imported || result.is_err(), "{verdict:?} at call {nth}");
            seen[usize::from(is_imported)] = true;
            if !is_imported {
                import(&after.data, &lines).await.expect("again");
                assert_eq!(hash(&after.data).await, everything);
            }
            if nth > calls {
                break;
            }
        }
    }
    assert_eq!(seen, [true; 2]);
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Besides {
    EndsMaintenance,
    MaintainsAnew,
    Writes,
    Checkpoints,
    Imports,
}

impl Besides {
    /// What another process does, which has had the store open since before; returns whether it has imported.
    async fn happens(self, other: &WalDataManager, lines: &[String]) -> bool {
        if matches!(self, Self::EndsMaintenance | Self::MaintainsAnew | Self::Writes) {
            other.leave_maintenance().await.expect("ended");
        }
        match self {
            Self::EndsMaintenance => {}
            Self::MaintainsAnew => drop(other.enter_maintenance("again").await.expect("entered")),
            Self::Writes => drop(other.commit(transaction(100)).await.expect("acknowledged")),
            Self::Checkpoints => drop(other.checkpoint().await.expect("made")),
            Self::Imports => return import(other, lines).await.is_ok(),
        }
        false
    }
}

#[tokio::test(start_paused = true)]
async fn whatever_another_process_does_at_any_call_of_an_import_it_is_whole_or_refused_and_nothing_is_lost() {
    let (source, lines) = exported().await;
    let (nothing, everything) = (hash(&Process::open(&objects()).await.data).await, hash(&source).await);
    use Besides::*;
    for besides in [EndsMaintenance, MaintainsAnew, Writes, Checkpoints, Imports] {
        let mut imported = [0, 0];
        let before_or_after = [Verdict::SlowBefore, Verdict::SlowAfter];
        for (verdict, nth) in before_or_after.into_iter().flat_map(|verdict| (1..).map(move |nth| (verdict, nth))) {
            let objects = objects();
            let target = maintained(&objects).await;
            let other = Process::open(&objects).await;
            let before = target.storage.calls_total();
            target.storage.script(nth, verdict(Duration::from_secs(2)));
            let (result, other_imported) = tokio::join!(import(&target.data, &lines), async {
                tokio::time::sleep(Duration::from_secs(1)).await;
                besides.happens(&other.data, &lines).await
            });
            let calls = target.storage.calls_total() - before;
            let case = format!("{besides:?} at call {nth}: {result:?}");
            assert!(result.is_ok() || matches!(result, Err(Error::Refused { .. })), "{case}");
            assert_eq!(result.is_ok() != other_imported, besides == Imports || result.is_ok(), "{case}");
            let is_there = result.is_ok() || other_imported;
            imported[usize::from(result.is_ok())] += 1;
            for process in [&target, &other, &Process::open(&objects).await] {
                process.data.catch_up().await.expect("whole");
                let written = process.data.get(&process.data.snapshot(), "c", b"key 100").await.expect("readable");
                assert_eq!(written.is_some(), besides == Writes, "{case}");
                let text = process.data.get(&process.data.snapshot(), "text", "é\"0\n".as_bytes()).await;
                assert_eq!(text.expect("readable").is_some(), is_there, "{case}");
                if besides != Writes {
                    let expected = if is_there { everything } else { nothing };
                    assert_eq!(hash(&process.data).await, expected, "{case}");
                }
            }
            let report = crate::verify(objects, "base").await.expect("a store");
            assert!(report.is_sound(), "{case}: {report:?}");
            if nth > calls {
                break;
            }
        }
        assert!(imported[1] > 0 && (imported[0] > 0) == (besides != Checkpoints), "{besides:?}: {imported:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn who_has_the_store_open_sees_an_import_and_who_follows_it_has_to_read_anew() {
    let (source, lines) = exported().await;
    let objects = objects();
    let target = maintained(&objects).await;
    let other = Process::open(&objects).await;
    let mut followers = [&target, &other].map(|process| process.data.follow(process.data.snapshot().position()));
    import(&target.data, &lines).await.expect("imported");
    other.data.catch_up().await.expect("whole");
    assert_eq!(hash(&other.data).await, hash(&source).await);
    let position = other.data.leave_maintenance().await.expect("ended");
    target.data.catch_up().await.expect("whole");
    for (follower, process) in followers.iter_mut().zip([&target, &other]) {
        let expired = loop {
            match follower.try_next().await {
                // The slot that the import has taken.
                Ok(Some(committed)) => assert_eq!((committed.position.lsn, committed.changes.len()), (2, 0)),
                Ok(None) => panic!("it does not end"),
                Err(error) => break error,
            }
        };
        assert!(matches!(expired, Error::PositionExpired { .. }), "{expired}");
        process.write(50).await;
        let mut anew = process.data.follow(position);
        assert!(anew.try_next().await.expect("whole").is_some());
    }
}

#[tokio::test(start_paused = true)]
async fn a_checkpoint_that_was_imported_and_does_not_verify_is_not_gone_back_from() {
    let (_, lines) = exported().await;
    let objects = objects();
    let target = maintained(&objects).await;
    import(&target.data, &lines).await.expect("imported");
    target.data.close().await;
    put(&objects, &key("manifest/00000000000000000002"), "garbage").await;
    let opened = builder(Arc::clone(&objects), &target.uptime).previous_manifest().open().await;
    let error = opened.expect_err("all would be lost").to_string();
    assert!(error.contains("manifest/00000000000000000002") && error.contains("backup"), "{error}");
    assert_eq!(names_in(&objects, "manifest/").await, [1, 2]);
}

#[tokio::test(start_paused = true)]
async fn an_import_makes_files_of_the_size_that_its_store_has() {
    let (_, lines) = exported().await;
    let objects = objects();
    let uptime = Arc::new(VirtualUptime::new());
    let data = builder(Arc::clone(&objects), &uptime).data_file_size_max(300).open().await.expect("opened");
    data.enter_maintenance("importing").await.expect("entered");
    import(&data, &lines).await.expect("imported");
    let stats = data.stats().await.expect("readable");
    assert!(stats.collections["text"].base_files > 1, "{stats:?}");
    assert_eq!(stats.collections.values().map(|collection| collection.entries).sum::<u64>(), lines.len() as u64 - 2);
}

#[tokio::test(start_paused = true)]
async fn an_export_is_of_one_position_whatever_is_written_checkpointed_and_cleaned_meanwhile() {
    let process = Process::open(&objects()).await;
    process.checkpoints(3, 0).await;
    process.write(3).await;
    let expected = lines_of(&process.data, None).await;
    let mut export = process.data.export(None);
    let mut lines = Vec::new();
    let mut n = 10;
    while let Some(line) = export.try_next().await.expect("held") {
        lines.push(String::from_utf8(line.to_vec()).expect("text"));
        process.checkpoints(4, n).await;
        process.wait_for_cleaner().await;
        n += 4;
    }
    assert_eq!(lines[1..], expected[1..]);
}

#[tokio::test(start_paused = true)]
async fn the_lines_are_what_they_were() {
    let process = Process::open(&objects()).await;
    let actions = vec![
        put_entry("builds", "1", "{\"done\":true}"),
        put_entry("builds", vec![0xff], "\n"),
        put_entry("blobs", "é", vec![0, 0xfe]),
    ];
    process.data.commit(Transaction { actions, ..Transaction::default() }).await.expect("committed");
    let mut lines = lines_of(&process.data, None).await;
    // The id of the store was drawn.
    let id = lines[0].find("\"store\":\"").expect("an id") + 9;
    lines[0].replace_range(id..id + 32, &"1f".repeat(16));
    assert_eq!(lines.concat(), include_str!("../../../golden/export-v1.jsonl"));
}
