//! Does the faulty storage fail exactly as planned?

use super::*;
use crate::{MemoryStorage, ObjectStorageExt, PutMode};

fn key(key: &str) -> ObjectKey {
    ObjectKey::parse(key).unwrap()
}

fn storage() -> FaultyStorage<MemoryStorage> {
    FaultyStorage::new(MemoryStorage::new())
}

async fn put(storage: &FaultyStorage<MemoryStorage>, name: &str) -> Result<()> {
    storage.put_bytes(&key(name), name.to_owned().into(), PutMode::Create).await
}

#[tokio::test]
async fn a_call_fails_before_its_effect_or_after_it() {
    let storage = storage();
    for (verdict, has_effect) in [(Verdict::FailBefore, false), (Verdict::FailAfter, true)] {
        storage.script(1, verdict);
        let error = put(&storage, "a").await.unwrap_err();
        assert!(error.is_retryable(), "{error}");
        assert_eq!(storage.exists(&key("a")).await.unwrap(), has_effect, "{verdict:?}");
    }
}

#[tokio::test]
async fn after_a_crash_everything_fails_until_revived() {
    for (verdict, has_effect) in [(Verdict::CrashBefore, false), (Verdict::CrashAfter, true)] {
        let storage = storage();
        storage.script(2, verdict);
        put(&storage, "a").await.unwrap();
        put(&storage, "b").await.unwrap_err();
        put(&storage, "c").await.unwrap_err();
        storage.head(&key("a")).await.unwrap_err();
        storage.get_bytes(&key("a")).await.unwrap_err();
        storage.delete(&key("a")).await.unwrap_err();
        storage.list_objects("").await.unwrap_err();
        assert_eq!(storage.inner().len(), 1 + usize::from(has_effect), "{verdict:?}");
        storage.revive();
        put(&storage, "d").await.unwrap();
        assert_eq!((storage.calls_total(), storage.calls(CallKind::Put)), (8, 4));
    }
}

#[tokio::test]
async fn a_late_write_fails_and_lands_when_it_is_let() {
    let storage = storage();
    put(&storage, "old").await.unwrap();
    storage.plan(|call| if call.kind == CallKind::Head { Verdict::Pass } else { Verdict::Late });
    put(&storage, "new").await.unwrap_err();
    storage.delete(&key("old")).await.unwrap_err();
    assert!(storage.exists(&key("old")).await.unwrap() && !storage.exists(&key("new")).await.unwrap());
    let answers = storage.land_late().await;
    assert!(answers.iter().all(Result::is_ok) && answers.len() == 2);
    assert!(!storage.exists(&key("old")).await.unwrap() && storage.exists(&key("new")).await.unwrap());
}

#[tokio::test]
async fn reads_break_off_in_the_middle() {
    let storage = storage();
    put(&storage, "a-long-name").await.unwrap();
    put(&storage, "b").await.unwrap();
    storage.script(1, Verdict::FailAfter);
    let object = storage.get(&key("a-long-name"), GetRange::Full).await.unwrap();
    let pieces: Vec<_> = object.stream.collect().await;
    assert!(matches!(&pieces[..], [Ok(half), Err(_)] if half == "a-lon"), "{pieces:?}");
    storage.script(1, Verdict::FailAfter);
    let entries: Vec<_> = storage.list(ListRequest::default()).collect().await;
    assert!(matches!(&entries[..], [Ok(_), Err(_)]), "{entries:?}");
}

#[tokio::test]
async fn a_held_call_waits_before_its_effect_or_after_it() {
    for (moment, has_effect) in [(Moment::Before, false), (Moment::After, true)] {
        let storage = storage();
        let hold = storage.hold(CallKind::Put, moment);
        let writer = tokio::spawn({
            let storage = storage.clone();
            async move { put(&storage, "a").await }
        });
        hold.arrived(1).await;
        assert_eq!(storage.exists(&key("a")).await.unwrap(), has_effect, "{moment:?}");
        assert!(!writer.is_finished());
        drop(hold);
        writer.await.unwrap().unwrap();
        put(&storage, "b").await.unwrap();
    }
}

#[tokio::test]
async fn a_seed_replays() {
    let run = async |seed| {
        let storage = storage();
        storage.seeded(seed, 300);
        let mut answers = Vec::new();
        for number in 0..200 {
            answers.push(put(&storage, &number.to_string()).await.is_ok());
        }
        (answers, storage.inner().len())
    };
    let (answers, objects) = run(7).await;
    assert_eq!((answers.clone(), objects), run(7).await);
    assert_ne!((answers.clone(), objects), run(8).await);
    let succeeded = answers.iter().filter(|is_ok| **is_ok).count();
    assert!((120..160).contains(&succeeded), "{succeeded} of 200");
    assert!(objects > succeeded, "some failed after their effect");
}
