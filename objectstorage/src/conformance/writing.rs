//! Is an object written whole or not at all?

use std::task::Poll;

use bytes::Bytes;
use futures::{FutureExt, StreamExt, future, stream};

use super::{Outcome, Subject, expect, expect_eq, expect_error, key, pattern, suite};
use crate::{Body, BodyError, Durability, Error, ObjectStorage, ObjectStorageExt, PutMode, PutOptions, PutSize};

suite![
    an_overwrite_replaces_the_whole_object,
    a_streamed_body_is_one_object,
    a_body_of_unknown_size_is_written,
    a_body_of_many_parts_is_written,
    a_relaxed_write_is_read_back,
    a_body_shorter_than_announced_writes_nothing,
    a_body_longer_than_announced_writes_nothing,
    a_body_without_end_is_stopped_at_its_announced_size,
    a_body_that_fails_writes_nothing,
    a_refused_overwrite_keeps_the_old_object,
    a_cancelled_write_leaves_nothing,
];

fn exact(size: u64) -> PutOptions {
    PutOptions { size: PutSize::Exact(size), ..PutOptions::default() }
}

fn pieces(pieces: &[&'static str]) -> Body {
    let pieces: Vec<_> = pieces.iter().map(|piece| Ok(Bytes::from_static(piece.as_bytes()))).collect();
    // A stream that panics if it is polled after its end, as many do.
    Body::stream(stream::unfold(pieces.into_iter(), |mut left| async { left.next().map(|piece| (piece, left)) }))
}

fn chunked(content: &Bytes, size: usize) -> Body {
    let chunks: Vec<_> = content.chunks(size).map(|chunk| Ok(content.slice_ref(chunk))).collect();
    Body::stream(stream::iter(chunks))
}

async fn an_overwrite_replaces_the_whole_object(subject: &Subject) -> Outcome {
    for content in ["short", "something longer than that", "", "x"] {
        subject.write("a/b", content).await?;
        subject.expect_content("a/b", content).await?;
    }
    expect_eq(subject.storage.list_objects("").await?.len(), 1, "the number of objects")
}

async fn a_streamed_body_is_one_object(subject: &Subject) -> Outcome {
    subject.storage.put(&key("a"), pieces(&["", "one ", "", "", "two", " three", ""]), exact(13)).await?;
    subject.expect_content("a", "one two three").await?;
    subject.storage.put(&key("empty"), pieces(&["", ""]), exact(0)).await?;
    subject.expect_content("empty", "").await?;
    let content = pattern(300_001);
    for size in [7, 4_096, 100_000] {
        subject.storage.put(&key("b"), chunked(&content, size), exact(300_001)).await?;
        subject.expect_content("b", &content).await?;
    }
    Ok(())
}

async fn a_body_of_unknown_size_is_written(subject: &Subject) -> Outcome {
    for size in [0, 1, 300_001] {
        let content = pattern(size);
        subject.storage.put(&key("a"), chunked(&content, 10_000), PutOptions::default()).await?;
        subject.expect_content("a", &content).await?;
    }
    subject.storage.put(&key("a"), "in memory".into(), PutOptions::default()).await?;
    subject.expect_content("a", "in memory").await
}

/// More than one part of 8 MiB, which is what a storage of parts begins with.
async fn a_body_of_many_parts_is_written(subject: &Subject) -> Outcome {
    let content = pattern(17 * 1024 * 1024 + 3);
    for (name, options) in [("exact", exact(content.len() as u64)), ("unknown", PutOptions::default())] {
        subject.storage.put(&key(name), chunked(&content, 777_777), options).await?;
        subject.expect_content(name, &content).await?;
    }
    Ok(())
}

async fn a_relaxed_write_is_read_back(subject: &Subject) -> Outcome {
    let relaxed = PutOptions { durability: Durability::Relaxed, ..PutOptions::default() };
    subject.storage.put(&key("cache/a"), "from memory".into(), relaxed).await?;
    subject.storage.put(&key("cache/b"), pieces(&["from ", "a stream"]), relaxed).await?;
    subject.expect_content("cache/a", "from memory").await?;
    subject.expect_content("cache/b", "from a stream").await
}

async fn a_body_shorter_than_announced_writes_nothing(subject: &Subject) -> Outcome {
    for body in [pieces(&["12", "34"]), "1234".into()] {
        let result = subject.storage.put(&key("dir/a"), body, exact(5)).await;
        let is_kind = |error: &Error| matches!(error, Error::SizeMismatch { announced: 5, actual: 4, .. });
        expect_error(result, "dir/a", "SizeMismatch with 5 and 4", is_kind)?;
        subject.expect_absent("dir/a").await?;
    }
    Ok(())
}

async fn a_body_longer_than_announced_writes_nothing(subject: &Subject) -> Outcome {
    for body in [pieces(&["12", "34"]), "1234".into()] {
        let result = subject.storage.put(&key("dir/a"), body, exact(3)).await;
        let is_kind = |error: &Error| matches!(error, Error::SizeMismatch { announced: 3, actual: 4, .. });
        expect_error(result, "dir/a", "SizeMismatch with 3 and 4", is_kind)?;
        subject.expect_absent("dir/a").await?;
    }
    let result = subject.storage.put(&key("dir/a"), "1".into(), exact(0)).await;
    expect_error(result, "dir/a", "SizeMismatch", |error| matches!(error, Error::SizeMismatch { .. }))?;
    subject.expect_absent("dir/a").await
}

async fn a_body_without_end_is_stopped_at_its_announced_size(subject: &Subject) -> Outcome {
    let endless = Body::stream(stream::repeat_with(|| Ok(Bytes::from_static(&[b'x'; 1024]))));
    let result = subject.storage.put(&key("a"), endless, exact(100_000)).await;
    expect_error(result, "a", "SizeMismatch", |error| matches!(error, Error::SizeMismatch { .. }))?;
    subject.expect_absent("a").await
}

async fn a_body_that_fails_writes_nothing(subject: &Subject) -> Outcome {
    for good_bytes in [0, 10, 3 * 1024 * 1024] {
        for size in [PutSize::Unknown, PutSize::Exact(good_bytes as u64 + 1)] {
            let good = chunked(&pattern(good_bytes), 100_000).into_stream();
            let failing = stream::iter([Err(BodyError::from("the sender went away"))]);
            let options = PutOptions { size, ..PutOptions::default() };
            let result = subject.storage.put(&key("dir/a"), Body::stream(good.chain(failing)), options).await;
            let is_kind = |error: &Error| match error {
                Error::Body { source, .. } => source.to_string() == "the sender went away",
                _ => false,
            };
            expect_error(result, "dir/a", "Body with its source", is_kind)?;
            subject.expect_absent("dir/a").await?;
        }
    }
    expect_eq(subject.storage.list_objects("").await?.len(), 0, "the number of objects")
}

async fn a_refused_overwrite_keeps_the_old_object(subject: &Subject) -> Outcome {
    subject.write("a", "old").await?;
    let failing = || Body::stream(stream::iter([Ok("new".into()), Err(BodyError::from("broken"))]));
    let results = [
        subject.storage.put(&key("a"), "new".into(), exact(2)).await,
        subject.storage.put(&key("a"), pieces(&["new"]), exact(4)).await,
        subject.storage.put(&key("a"), failing(), PutOptions::default()).await,
    ];
    expect(results.iter().all(Result::is_err), || "each of the writes to fail".to_owned())?;
    subject.expect_content("a", "old").await
}

async fn a_cancelled_write_leaves_nothing(subject: &Subject) -> Outcome {
    for sent in [0, 100, 2 * 1024 * 1024] {
        let begun = chunked(&pattern(sent), 100_000).into_stream();
        let body = Body::stream(begun.chain(stream::pending()));
        let target = key("dir/a");
        let mut write = subject.storage.put(&target, body, PutOptions::default());
        // It is driven as far as it comes without waiting, several times over, and then dropped.
        for _ in 0..5 {
            let is_done = future::poll_fn(|context| Poll::Ready(write.poll_unpin(context).is_ready())).await;
            expect(!is_done, || "a write to wait for the end of its body".to_owned())?;
            tokio::task::yield_now().await;
        }
        drop(write);
        subject.expect_absent("dir/a").await?;
    }
    let options = PutOptions { mode: PutMode::Create, ..PutOptions::default() };
    subject.storage.put(&key("dir/a"), "now".into(), options).await?;
    subject.expect_content("dir/a", "now").await
}
