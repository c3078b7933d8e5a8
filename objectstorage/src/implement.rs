//! What does nobody who writes a storage want to write? The parts that are the same for most of them.

use std::ops::{Bound, Range};

use bytes::{Bytes, BytesMut};
use futures::{StreamExt, TryStreamExt, stream};

use crate::{
    Body, Error, GetObject, GetRange, ListDepth, ListEntry, ListRequest, ObjectKey, ObjectMeta, PutSize, Result,
    meter::BodyMeter,
};

impl Body {
    /// The whole body in memory, if it has the announced size; `key` is for errors.
    ///
    /// For storages that hold objects in memory anyway, or only small ones.
    ///
    /// # Errors
    /// [`Error::SizeMismatch`], as soon as it is certain; [`Error::Body`] if the stream failed.
    pub async fn collect(self, key: &ObjectKey, size: PutSize) -> Result<Bytes> {
        let mut meter = BodyMeter::new(key, size);
        let bytes = match self.into_bytes() {
            Ok(bytes) => {
                meter.add(bytes.len())?;
                bytes
            }
            Err(body) => {
                let mut stream = body.into_stream();
                let mut all = BytesMut::new();
                while let Some(piece) =
                    stream.try_next().await.map_err(|source| Error::Body { key: key.clone(), source })?
                {
                    meter.add(piece.len())?;
                    all.extend_from_slice(&piece);
                }
                all.freeze()
            }
        };
        meter.finish()?;
        Ok(bytes)
    }
}

impl GetRange {
    /// The half-open range of offsets that this asks for in an object.
    ///
    /// # Errors
    /// [`Error::RangeNotSatisfiable`] if it begins past the end.
    pub fn within(self, object: &ObjectMeta) -> Result<Range<u64>> {
        self.resolve(object.size).ok_or_else(|| Error::RangeNotSatisfiable {
            key: object.key.clone(),
            start: self.start(),
            size: object.size,
        })
    }
}

impl GetObject {
    /// Opens an object whose whole content is in memory.
    ///
    /// # Errors
    /// [`Error::RangeNotSatisfiable`] if the range begins past the end.
    pub fn from_bytes(key: &ObjectKey, range: GetRange, whole: Bytes) -> Result<Self> {
        let meta = ObjectMeta::new(key.clone(), whole.len() as u64);
        let range = range.within(&meta)?;
        Ok(Self::from_piece(meta, range.clone(), whole.slice(range.start as usize..range.end as usize)))
    }

    /// An opened object of which the bytes in `range` are in memory.
    pub fn from_piece(meta: ObjectMeta, range: Range<u64>, piece: Bytes) -> Self {
        // No piece of a stream is empty.
        let stream = stream::iter((!piece.is_empty()).then_some(Ok(piece))).boxed();
        Self { meta, range, stream }
    }
}

impl ListRequest {
    /// The range of an ordered collection that has to be looked at: from the first key that this asks for, to wherever
    /// [`select`](Self::select) stops asking.
    pub fn key_range(&self) -> (Bound<&str>, Bound<&str>) {
        let begin = match &self.start_after {
            Some(after) if *after >= self.prefix => Bound::Excluded(&**after),
            _ => Bound::Included(&*self.prefix),
        };
        (begin, Bound::Unbounded)
    }

    /// The entries that this asks for, out of objects in the order of their keys.
    ///
    /// It ends at the first object past the prefix, and what comes before [`key_range`](Self::key_range) is passed
    /// over: a collection that can begin there does better. With [`ListDepth::OneLevel`], every object below a common prefix
    /// is looked at.
    ///
    /// ```
    /// use std::collections::BTreeMap;
    ///
    /// use runyard_objectstorage::{ListDepth, ListEntry, ListRequest, ObjectKey, ObjectMeta};
    ///
    /// let keys = ["a", "b/1", "b/2", "b/3", "c"].map(|key| ObjectKey::parse(key).expect("a key"));
    /// let sizes: BTreeMap<ObjectKey, u64> = keys.into_iter().zip(1..).collect();
    ///
    /// let request = ListRequest { start_after: Some("b/2".into()), depth: ListDepth::OneLevel, ..Default::default() };
    /// let objects = sizes.range::<str, _>(request.key_range()).map(|(key, size)| ObjectMeta::new(key.clone(), *size));
    /// let names: Vec<_> = request.select(objects).map(|entry| entry.name().to_owned()).collect();
    /// assert_eq!(names, ["b/", "c"]);
    /// ```
    pub fn select(&self, sorted: impl IntoIterator<Item = ObjectMeta>) -> impl Iterator<Item = ListEntry> {
        let (begin, _) = self.key_range();
        let mut last_prefix = None;
        sorted
            .into_iter()
            .skip_while(move |object| match begin {
                Bound::Included(first) => object.key.as_str() < first,
                Bound::Excluded(after) => object.key.as_str() <= after,
                Bound::Unbounded => false,
            })
            .take_while(|object| object.key.as_str().starts_with(&self.prefix))
            .filter_map(move |object| {
                let slash = object.key.as_str()[self.prefix.len()..].find('/');
                match slash.filter(|_| self.depth == ListDepth::OneLevel) {
                    None => Some(ListEntry::Object(object)),
                    Some(slash) => {
                        let prefix = object.key.as_str()[..=self.prefix.len() + slash].to_owned();
                        let is_new = last_prefix.as_ref() != Some(&prefix);
                        last_prefix = Some(prefix.clone());
                        is_new.then_some(ListEntry::Prefix(prefix))
                    }
                }
            })
    }
}

#[cfg(test)]
mod tests {
    use proptest::{collection::btree_set, option, prelude::*};

    use super::*;
    use crate::{MemoryStorage, ObjectStorage, ObjectStorageExt, PutMode};

    fn meta(key: &str) -> ObjectMeta {
        ObjectMeta::new(ObjectKey::parse(key).unwrap(), key.len() as u64)
    }

    fn runtime() -> tokio::runtime::Runtime {
        tokio::runtime::Builder::new_current_thread().build().unwrap()
    }

    proptest! {
        #[test]
        fn what_is_selected_is_what_a_storage_lists(
            keys in btree_set("[ab]{1,2}[-./0][ab]{1,2}(/[ab])?", 0..20),
            prefix in "[ab./-]{0,3}",
            start_after in option::of("[ab./-]{0,4}"),
            is_recursive in any::<bool>(),
        ) {
            let depth = if is_recursive { ListDepth::Recursive } else { ListDepth::OneLevel };
            let request = ListRequest { prefix, start_after, depth };
            let selected: Vec<_> = request.select(keys.iter().map(|key| meta(key))).collect();
            let listed: Vec<_> = runtime().block_on(async {
                let storage = MemoryStorage::new();
                for key in &keys {
                    storage.put_bytes(&meta(key).key, key.clone().into(), PutMode::Create).await.unwrap();
                }
                storage.list(request.clone()).try_collect().await.unwrap()
            });
            prop_assert_eq!(selected, listed, "{:?}", request);
        }
    }

    #[test]
    fn a_selection_looks_at_nothing_past_its_prefix() {
        let mut looked_at = 0;
        let objects = ["a", "b1", "b2", "c", "d"].map(meta).into_iter().inspect(|_| looked_at += 1);
        assert_eq!(ListRequest::prefix("b").select(objects).count(), 2);
        assert_eq!(looked_at, 4);
    }

    #[test]
    fn a_selection_starts_after_a_key_and_not_at_it() {
        let request = ListRequest { start_after: Some("b1".to_owned()), ..ListRequest::prefix("b") };
        let selected: Vec<_> = request.select(["a", "b1", "b2", "c"].map(meta)).collect();
        assert_eq!(selected, [ListEntry::Object(meta("b2"))]);
    }

    #[tokio::test]
    async fn an_empty_range_is_opened_without_a_piece() {
        let key = meta("key").key;
        let object = GetObject::from_bytes(&key, GetRange::From(3), "abc".into()).unwrap();
        assert_eq!((object.range, object.stream.count().await), (3..3, 0));
        let error = GetObject::from_bytes(&key, GetRange::From(4), "abc".into()).unwrap_err();
        assert!(matches!(error, Error::RangeNotSatisfiable { start: 4, size: 3, .. }), "{error:?}");
    }
}
