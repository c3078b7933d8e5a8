//! How is a range of an object asked for, where the store refuses ranges that we allow?
//!
//! Stores have no empty ranges. Where one may have been asked for, the size of the object decides.

use std::ops::Range;

use futures::{StreamExt, TryStreamExt, stream};
use object_store::{GetOptions, GetRange as StoreRange, ObjectStore, path::Path};

use super::error::{READING, Target, from_store};
use crate::{Error, GetObject, GetRange, ObjectKey, ObjectMeta, Result};

/// No object is that large, and every server understands the number.
const OFFSET_MAX: u64 = 1 << 53;

/// What is asked of a store.
#[derive(Debug, PartialEq, Eq)]
enum Ask {
    Whole,
    Part(StoreRange),
    /// Nothing: the answer follows from the size.
    Size,
}

fn ask(range: GetRange) -> Ask {
    match range {
        GetRange::Full => Ask::Whole,
        GetRange::From(start) | GetRange::Bounded { start, .. } if start > OFFSET_MAX => Ask::Size,
        GetRange::From(0) => Ask::Whole,
        GetRange::From(start) => Ask::Part(StoreRange::Offset(start)),
        GetRange::Bounded { start, end } if end <= start => Ask::Size,
        GetRange::Bounded { start, end } => Ask::Part(StoreRange::Bounded(start..end.min(OFFSET_MAX + 1))),
        GetRange::Suffix(0) => Ask::Size,
        GetRange::Suffix(length) if length > OFFSET_MAX => Ask::Whole,
        GetRange::Suffix(length) => Ask::Part(StoreRange::Suffix(length)),
    }
}

pub(super) async fn head(store: &dyn ObjectStore, key: &ObjectKey, path: &Path) -> Result<ObjectMeta> {
    let found = store.get_opts(path, GetOptions::new().with_head(true)).await;
    let meta = found.map_err(|error| from_store(error, READING, Target::Key(key)))?.meta;
    Ok(ObjectMeta::new(key.clone(), meta.size))
}

pub(super) async fn get(store: &dyn ObjectStore, key: &ObjectKey, path: &Path, range: GetRange) -> Result<GetObject> {
    let options = match ask(range) {
        Ask::Whole => GetOptions::new(),
        Ask::Part(part) => GetOptions::new().with_range(Some(part)),
        Ask::Size => return empty(head(store, key, path).await?, range)?.ok_or_else(|| unexpected(key)),
    };
    let is_part = options.range.is_some();
    let error = match store.get_opts(path, options).await {
        Ok(found) => return Ok(opened(key, found)),
        Err(error) => error,
    };
    // Every store refuses an unsatisfiable range in its own words.
    if is_part
        && matches!(error, object_store::Error::Generic { .. })
        && let Some(empty) = empty(head(store, key, path).await?, range)?
    {
        return Ok(empty);
    }
    Err(from_store(error, READING, Target::Key(key)))
}

/// The empty object that a range is of an object of this size; `None` if it is not empty.
fn empty(meta: ObjectMeta, range: GetRange) -> Result<Option<GetObject>> {
    let Some(resolved) = range.resolve(meta.size) else {
        return Err(Error::RangeNotSatisfiable { key: meta.key, start: range.start(), size: meta.size });
    };
    let nothing = |range: Range<u64>| GetObject { meta, range, stream: stream::empty().boxed() };
    Ok(resolved.is_empty().then(|| nothing(resolved)))
}

fn unexpected(key: &ObjectKey) -> Error {
    let source = "the object has a size that no object can have".into();
    Error::Unavailable { doing: READING, name: key.to_string(), source }
}

fn opened(key: &ObjectKey, found: object_store::GetResult) -> GetObject {
    let (meta, range) = (ObjectMeta::new(key.clone(), found.meta.size), found.range.clone());
    let key = key.clone();
    let stream = found.into_stream().try_filter(|piece| std::future::ready(!piece.is_empty())).map_err(move |error| {
        match from_store(error, READING, Target::Key(&key)) {
            // It was there when it was opened.
            Error::NotFound { key } => Error::Unavailable {
                doing: READING,
                name: key.to_string(),
                source: "the object was removed while it was read".into(),
            },
            error => error,
        }
    });
    GetObject { meta, range, stream: stream.boxed() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_store_is_never_asked_for_an_empty_range() {
        for (range, expected) in [
            (GetRange::Full, Ask::Whole),
            (GetRange::From(0), Ask::Whole),
            (GetRange::From(7), Ask::Part(StoreRange::Offset(7))),
            (GetRange::From(u64::MAX), Ask::Size),
            (GetRange::Bounded { start: 3, end: 3 }, Ask::Size),
            (GetRange::Bounded { start: 3, end: 4 }, Ask::Part(StoreRange::Bounded(3..4))),
            (GetRange::Bounded { start: 3, end: u64::MAX }, Ask::Part(StoreRange::Bounded(3..OFFSET_MAX + 1))),
            (GetRange::Bounded { start: u64::MAX - 1, end: u64::MAX }, Ask::Size),
            (GetRange::Suffix(0), Ask::Size),
            (GetRange::Suffix(4), Ask::Part(StoreRange::Suffix(4))),
            (GetRange::Suffix(u64::MAX), Ask::Whole),
        ] {
            assert_eq!(ask(range), expected, "{range:?}");
        }
    }
}
