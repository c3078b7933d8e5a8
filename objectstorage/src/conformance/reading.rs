//! Is what was written read back, whole and in part?

use futures::TryStreamExt;

use super::{Outcome, Subject, expect, expect_eq, expect_error, key, pattern, suite};
use crate::{Error, GetRange, ObjectStorage, ObjectStorageExt, PutMode};

suite![
    a_missing_object_is_not_found,
    objects_of_every_size_are_read_back,
    head_says_the_size,
    an_empty_object_is_an_object,
    ranges_are_half_open_offsets,
    a_range_that_begins_past_the_end_is_refused,
    a_suffix_is_the_end_of_the_object,
    a_stream_has_no_empty_piece_and_yields_its_range,
    a_range_of_a_large_object_is_read_exactly,
    a_reader_never_mixes_two_versions,
    a_reader_of_a_deleted_object_gets_its_version_or_an_error,
    a_reader_may_stop_half_way,
];

const LARGE: usize = 3 * 1024 * 1024 + 17;

async fn a_missing_object_is_not_found(subject: &Subject) -> Outcome {
    subject.fill(&["present", "dir/present"]).await?;
    for name in ["absent", "dir/absent", "dir", "present/absent", "no/such/dir", "presen", "present0"] {
        subject.expect_absent(name).await?;
        let tail = subject.storage.get_range_bytes(&key(name), GetRange::Suffix(1)).await;
        expect_error(tail, name, "NotFound", Error::is_not_found)?;
    }
    Ok(())
}

async fn objects_of_every_size_are_read_back(subject: &Subject) -> Outcome {
    for size in [0, 1, 4_095, 4_096, 65_537, 256 * 1024, 256 * 1024 + 1, LARGE] {
        let content = pattern(size);
        let name = format!("size/{size}");
        subject.storage.put_bytes(&key(&name), content.clone(), PutMode::Create).await?;
        subject.expect_content(&name, content).await?;
    }
    Ok(())
}

async fn head_says_the_size(subject: &Subject) -> Outcome {
    subject.write("a/b", "12345").await?;
    let meta = subject.storage.head(&key("a/b")).await?;
    expect_eq((meta.key.as_str(), meta.size), ("a/b", 5), "the key and the size")?;
    subject.write("a/b", "123").await?;
    expect_eq(subject.storage.head(&key("a/b")).await?.size, 3, "the size after an overwrite")
}

async fn an_empty_object_is_an_object(subject: &Subject) -> Outcome {
    subject.write("empty", "").await?;
    expect_eq(subject.storage.head(&key("empty")).await?.size, 0, "the size")?;
    for range in [GetRange::Full, GetRange::From(0), GetRange::Bounded { start: 0, end: 9 }, GetRange::Suffix(3)] {
        let bytes = subject.storage.get_range_bytes(&key("empty"), range).await?;
        expect(bytes.is_empty(), || format!("{range:?} of an empty object to be empty"))?;
    }
    let listed = subject.storage.list_objects("").await?;
    expect_eq(listed.iter().map(|meta| meta.size).collect(), vec![0], "the sizes in the listing")
}

async fn ranges_are_half_open_offsets(subject: &Subject) -> Outcome {
    subject.write("digits", "0123456789").await?;
    for (range, expected) in [
        (GetRange::Full, "0123456789"),
        (GetRange::From(0), "0123456789"),
        (GetRange::From(7), "789"),
        (GetRange::From(10), ""),
        (GetRange::Bounded { start: 0, end: 1 }, "0"),
        (GetRange::Bounded { start: 3, end: 6 }, "345"),
        (GetRange::Bounded { start: 3, end: 3 }, ""),
        (GetRange::Bounded { start: 8, end: 1_000 }, "89"),
        (GetRange::Bounded { start: 10, end: 20 }, ""),
        (GetRange::Bounded { start: 0, end: u64::MAX }, "0123456789"),
    ] {
        let bytes = subject.storage.get_range_bytes(&key("digits"), range).await?;
        expect(bytes == expected, || format!("{range:?} to be {expected:?}, but it is {bytes:?}"))?;
    }
    Ok(())
}

async fn a_range_that_begins_past_the_end_is_refused(subject: &Subject) -> Outcome {
    subject.write("digits", "0123456789").await?;
    for range in [GetRange::From(11), GetRange::From(u64::MAX), GetRange::Bounded { start: 11, end: 20 }] {
        let result = subject.storage.get_range_bytes(&key("digits"), range).await;
        let is_kind = |error: &Error| matches!(error, Error::RangeNotSatisfiable { size: 10, .. });
        expect_error(result, "digits", "RangeNotSatisfiable with the size", is_kind)?;
    }
    Ok(())
}

async fn a_suffix_is_the_end_of_the_object(subject: &Subject) -> Outcome {
    subject.write("digits", "0123456789").await?;
    for (length, expected) in [(0, ""), (1, "9"), (4, "6789"), (10, "0123456789"), (u64::MAX, "0123456789")] {
        let bytes = subject.storage.get_range_bytes(&key("digits"), GetRange::Suffix(length)).await?;
        expect(bytes == expected, || format!("the last {length} bytes to be {expected:?}, but they are {bytes:?}"))?;
    }
    Ok(())
}

async fn a_stream_has_no_empty_piece_and_yields_its_range(subject: &Subject) -> Outcome {
    subject.storage.put_bytes(&key("large"), pattern(LARGE), PutMode::Create).await?;
    let size = LARGE as u64;
    for (range, expected) in [
        (GetRange::Full, 0..size),
        (GetRange::From(size), size..size),
        (GetRange::Bounded { start: 100, end: 1_000_000 }, 100..1_000_000),
        (GetRange::Suffix(5), size - 5..size),
    ] {
        let object = subject.storage.get(&key("large"), range).await?;
        expect_eq(object.range.clone(), expected.clone(), "the range")?;
        expect_eq(object.meta.size, size, "the size, which is that of the whole object")?;
        let pieces: Vec<_> = object.stream.try_collect().await?;
        expect(pieces.iter().all(|piece| !piece.is_empty()), || format!("no empty piece in {range:?}"))?;
        let yielded: usize = pieces.iter().map(|piece| piece.len()).sum();
        expect_eq(yielded as u64, expected.end - expected.start, "the bytes of the stream")?;
    }
    Ok(())
}

async fn a_range_of_a_large_object_is_read_exactly(subject: &Subject) -> Outcome {
    let content = pattern(LARGE);
    subject.storage.put_bytes(&key("large"), content.clone(), PutMode::Create).await?;
    for (start, end) in [(0, 1), (262_143, 262_145), (1_000_001, 2_000_003), (LARGE - 1, LARGE)] {
        let range = GetRange::Bounded { start: start as u64, end: end as u64 };
        let bytes = subject.storage.get_range_bytes(&key("large"), range).await?;
        expect(bytes == content[start..end], || format!("{range:?} to be those bytes of the object"))?;
    }
    Ok(())
}

async fn a_reader_never_mixes_two_versions(subject: &Subject) -> Outcome {
    let old = pattern(LARGE);
    subject.storage.put_bytes(&key("large"), old.clone(), PutMode::Create).await?;
    let object = subject.storage.get(&key("large"), GetRange::Full).await?;
    subject.storage.put_bytes(&key("large"), vec![b'n'; LARGE].into(), PutMode::Overwrite).await?;
    expect_old_or_broken_off(object, &old).await?;
    subject.expect_content("large", vec![b'n'; LARGE]).await
}

async fn a_reader_of_a_deleted_object_gets_its_version_or_an_error(subject: &Subject) -> Outcome {
    let old = pattern(LARGE);
    subject.storage.put_bytes(&key("large"), old.clone(), PutMode::Create).await?;
    let object = subject.storage.get(&key("large"), GetRange::Full).await?;
    subject.storage.delete(&key("large")).await?;
    expect_old_or_broken_off(object, &old).await
}

async fn expect_old_or_broken_off(mut object: crate::GetObject, old: &[u8]) -> Outcome {
    let mut at = 0;
    while let Ok(piece) = object.stream.try_next().await {
        let Some(piece) = piece else { return expect_eq(at, old.len(), "the bytes of a stream that ended well") };
        let is_old = old.get(at..at + piece.len()).is_some_and(|old| old == piece);
        expect(is_old, || format!("the bytes from {at} on to be of the version that was opened"))?;
        at += piece.len();
    }
    Ok(())
}

async fn a_reader_may_stop_half_way(subject: &Subject) -> Outcome {
    subject.storage.put_bytes(&key("large"), pattern(LARGE), PutMode::Create).await?;
    for _ in 0..20 {
        let mut object = subject.storage.get(&key("large"), GetRange::Full).await?;
        expect(object.stream.try_next().await?.is_some(), || "a first piece".to_owned())?;
    }
    subject.expect_content("large", pattern(LARGE)).await
}
