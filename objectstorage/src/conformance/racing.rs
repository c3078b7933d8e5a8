//! Is every promise kept when several use the storage at once?

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

use bytes::Bytes;
use tokio::task::JoinSet;

use super::{Outcome, Subject, Unmet, expect, expect_eq, key, suite};
use crate::{Error, ObjectStorage, ObjectStorageExt, PutMode};

suite![
    readers_see_whole_objects_while_they_are_overwritten,
    a_writer_that_races_with_deletes_in_its_directory_succeeds,
    creates_and_deletes_of_one_name_take_turns,
    writers_of_different_objects_do_not_disturb_each_other,
    of_many_overwrites_one_is_left,
];

/// Large enough for several pieces, so that a torn object would show.
const VERSION_BYTES: usize = 600 * 1024;

async fn finish(mut tasks: JoinSet<Outcome>) -> Outcome {
    while let Some(ended) = tasks.join_next().await {
        ended.map_err(|error| Unmet(format!("expected no panic: {error}")))??;
    }
    Ok(())
}

async fn readers_see_whole_objects_while_they_are_overwritten(subject: &Subject) -> Outcome {
    let version = |number: usize| Bytes::from(vec![b'a' + (number % 26) as u8; VERSION_BYTES]);
    let target = key("dir/object");
    subject.storage.put_bytes(&target, version(0), PutMode::Create).await?;
    let is_over = Arc::new(AtomicBool::new(false));
    let mut readers = JoinSet::new();
    for _ in 0..3 {
        let (storage, target, is_over) = (subject.storage.clone(), target.clone(), is_over.clone());
        readers.spawn(async move {
            while !is_over.load(Ordering::Relaxed) {
                // A storage in memory may never wait, and on one thread the others have to run, too.
                tokio::task::yield_now().await;
                let size = storage.head(&target).await?.size;
                expect_eq(size, VERSION_BYTES as u64, "the size in head")?;
                match storage.get_bytes(&target).await {
                    Ok(content) => {
                        let is_whole = content.len() == VERSION_BYTES && content.iter().all(|byte| *byte == content[0]);
                        expect(is_whole, || "one version of the object, whole".to_owned())?;
                    }
                    // A storage may end the stream of a version that was replaced, but never say that it is absent.
                    Err(error) => expect(!error.is_not_found(), || "the object to be there all the time".to_owned())?,
                }
            }
            Ok(())
        });
    }
    for number in 1..subject.settings.race_rounds {
        subject.storage.put_bytes(&target, version(number), PutMode::Overwrite).await?;
        tokio::task::yield_now().await;
    }
    is_over.store(true, Ordering::Relaxed);
    finish(readers).await
}

async fn a_writer_that_races_with_deletes_in_its_directory_succeeds(subject: &Subject) -> Outcome {
    let mut tasks = JoinSet::new();
    for writer in 0..4 {
        let (storage, rounds) = (subject.storage.clone(), subject.settings.race_rounds);
        tasks.spawn(async move {
            let target = key(&format!("deep/er/dir/{writer}"));
            for round in 0..rounds {
                storage.put_bytes(&target, round.to_string().into(), PutMode::Create).await?;
                expect_eq(storage.get_bytes(&target).await?, round.to_string().into(), "what was just written")?;
                storage.delete(&target).await?;
            }
            Ok(())
        });
    }
    finish(tasks).await?;
    expect_eq(subject.storage.list_objects("").await?.len(), 0, "the number of objects left")
}

async fn creates_and_deletes_of_one_name_take_turns(subject: &Subject) -> Outcome {
    let mut tasks = JoinSet::new();
    for writer in 0..4 {
        let (storage, rounds) = (subject.storage.clone(), subject.settings.race_rounds);
        tasks.spawn(async move {
            let (target, content) = (key("dir/lock"), Bytes::from(writer.to_string()));
            let mut taken = 0;
            while taken < rounds / 4 + 1 {
                match storage.put_bytes(&target, content.clone(), PutMode::Create).await {
                    Ok(()) => {
                        taken += 1;
                        let found = storage.get_bytes(&target).await?;
                        expect_eq(found, content.clone(), "the content of the object that was created")?;
                        storage.delete(&target).await?;
                    }
                    Err(Error::AlreadyExists { .. }) => tokio::task::yield_now().await,
                    Err(error) => return Err(error.into()),
                }
            }
            Ok(())
        });
    }
    finish(tasks).await?;
    subject.expect_absent("dir/lock").await
}

async fn writers_of_different_objects_do_not_disturb_each_other(subject: &Subject) -> Outcome {
    let mut tasks = JoinSet::new();
    for writer in 0..32 {
        let storage = subject.storage.clone();
        tasks.spawn(async move {
            for number in 0..5 {
                let target = key(&format!("shared/{}/{writer:02}-{number}", number % 2));
                storage.put_bytes(&target, target.to_string().into(), PutMode::Create).await?;
            }
            Ok(())
        });
    }
    finish(tasks).await?;
    let listed = subject.storage.list_objects("shared/").await?;
    expect_eq(listed.len(), 160, "the number of objects")?;
    for meta in listed {
        subject.expect_content(meta.key.as_str(), meta.key.as_str()).await?;
    }
    Ok(())
}

async fn of_many_overwrites_one_is_left(subject: &Subject) -> Outcome {
    let mut tasks = JoinSet::new();
    for writer in 0..16 {
        let storage = subject.storage.clone();
        tasks.spawn(async move {
            let content = Bytes::from(format!("{writer:02}").repeat(1_000));
            Ok(storage.put_bytes(&key("dir/object"), content, PutMode::Overwrite).await?)
        });
    }
    finish(tasks).await?;
    let content = subject.storage.get_bytes(&key("dir/object")).await?;
    let is_whole = content.len() == 2_000 && content.chunks(2).all(|pair| pair == &content[..2]);
    expect(is_whole, || "one of the writes, whole".to_owned())
}
