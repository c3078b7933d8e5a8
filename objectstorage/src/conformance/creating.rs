//! Has every name exactly one creator?

use futures::{StreamExt, stream};
use tokio::task::JoinSet;

use super::{Outcome, Subject, Unmet, expect, expect_eq, expect_error, key, suite};
use crate::{Body, BodyError, Error, ObjectStorage, ObjectStorageExt, PutMode, PutOptions, PutSize};

suite![
    a_create_writes_a_new_object,
    a_create_on_an_existing_object_is_refused,
    a_create_of_every_body_is_refused_alike,
    a_failed_create_leaves_the_name_free,
    a_deleted_name_can_be_created_again,
    of_many_creators_exactly_one_wins,
    of_many_streaming_creators_exactly_one_wins,
];

const CREATORS: usize = 16;

fn create(size: PutSize) -> PutOptions {
    PutOptions { size, mode: PutMode::Create, ..PutOptions::default() }
}

async fn a_create_writes_a_new_object(subject: &Subject) -> Outcome {
    for name in ["a", "dir/b", "deep/er/c"] {
        subject.storage.put(&key(name), name.to_owned().into(), create(PutSize::Unknown)).await?;
        subject.expect_content(name, name).await?;
    }
    Ok(())
}

async fn a_create_on_an_existing_object_is_refused(subject: &Subject) -> Outcome {
    for (name, mode) in [("dir/created", PutMode::Create), ("dir/overwritten", PutMode::Overwrite)] {
        subject.storage.put_bytes(&key(name), "first".into(), mode).await?;
        for _ in 0..2 {
            let second = subject.storage.put_bytes(&key(name), "second".into(), PutMode::Create).await;
            expect_error(second, name, "AlreadyExists", Error::is_already_exists)?;
            subject.expect_content(name, "first").await?;
        }
    }
    subject.write("empty", "").await?;
    let second = subject.storage.put_bytes(&key("empty"), "second".into(), PutMode::Create).await;
    expect_error(second, "empty", "AlreadyExists", Error::is_already_exists)
}

async fn a_create_of_every_body_is_refused_alike(subject: &Subject) -> Outcome {
    subject.write("a", "first").await?;
    for size in [PutSize::Unknown, PutSize::Exact(6)] {
        for body in [Body::from("second"), Body::stream(stream::iter([Ok("sec".into()), Ok("ond".into())]))] {
            let result = subject.storage.put(&key("a"), body, create(size)).await;
            expect_error(result, "a", "AlreadyExists", Error::is_already_exists)?;
        }
    }
    subject.expect_content("a", "first").await
}

async fn a_failed_create_leaves_the_name_free(subject: &Subject) -> Outcome {
    let failing = stream::iter([Ok("x".into()), Err(BodyError::from("broken"))]);
    let broken = subject.storage.put(&key("a"), Body::stream(failing), create(PutSize::Unknown)).await;
    expect(broken.is_err(), || "a create with a broken body to fail".to_owned())?;
    let short = subject.storage.put(&key("a"), "x".into(), create(PutSize::Exact(2))).await;
    expect(short.is_err(), || "a create with a short body to fail".to_owned())?;
    subject.storage.put_bytes(&key("a"), "good".into(), PutMode::Create).await?;
    subject.expect_content("a", "good").await
}

async fn a_deleted_name_can_be_created_again(subject: &Subject) -> Outcome {
    for content in ["one", "two", "three"] {
        subject.storage.put_bytes(&key("dir/a"), content.to_owned().into(), PutMode::Create).await?;
        subject.expect_content("dir/a", content).await?;
        subject.storage.delete(&key("dir/a")).await?;
        subject.expect_absent("dir/a").await?;
    }
    Ok(())
}

async fn of_many_creators_exactly_one_wins(subject: &Subject) -> Outcome {
    race(subject, |content| (content.into(), create(PutSize::Unknown))).await
}

async fn of_many_streaming_creators_exactly_one_wins(subject: &Subject) -> Outcome {
    race(subject, |content| {
        let size = PutSize::Exact(content.len() as u64);
        let bytes = stream::iter(content.into_bytes()).map(|byte| Ok(vec![byte].into()));
        (Body::stream(bytes), create(size))
    })
    .await
}

async fn race(subject: &Subject, write: fn(String) -> (Body, PutOptions)) -> Outcome {
    for round in 0..subject.settings.race_rounds {
        let name = format!("slot/{round:04}");
        let mut creators = JoinSet::new();
        for creator in 0..CREATORS {
            let (storage, target) = (subject.storage.clone(), key(&name));
            creators.spawn(async move {
                let (body, options) = write(format!("creator {creator}"));
                (creator, storage.put(&target, body, options).await)
            });
        }
        let mut winners = Vec::new();
        for (creator, result) in creators.join_all().await {
            match result {
                Ok(()) => winners.push(creator),
                Err(error) if error.is_already_exists() => {}
                Err(error) => return Err(Unmet(format!("expected every loser to get AlreadyExists, not: {error:?}"))),
            }
        }
        expect_eq(winners.len(), 1, "the number of winners")?;
        subject.expect_content(&name, format!("creator {}", winners[0])).await?;
    }
    Ok(())
}
