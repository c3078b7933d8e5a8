//! Which entries do several sorted layers hold together?

use futures::{StreamExt, future::join_all, stream, stream::BoxStream};

use crate::{Direction, Result, entry::Entry};

/// Entries in ascending or descending order of their keys, each key once.
pub(crate) type EntryStream = BoxStream<'static, Result<Entry>>;

/// The newest version of each entry, by its position; of equal ones that of the first layer. Tombstones are handed on. The layers are sorted in `direction`, and so is the result.
///
/// It ends with the first error of any layer. At most one entry of each layer is held.
pub(crate) fn merge(mut layers: Vec<EntryStream>, direction: Direction) -> EntryStream {
    match layers.len() {
        0 => stream::empty().boxed(),
        1 => layers.swap_remove(0),
        _ => merge_several(layers, direction),
    }
}

/// A layer and its next entry.
struct Layer {
    head: Entry,
    rest: EntryStream,
}

enum State {
    NotBegun(Vec<EntryStream>),
    Merging(Vec<Layer>),
}

fn merge_several(layers: Vec<EntryStream>, direction: Direction) -> EntryStream {
    stream::try_unfold(State::NotBegun(layers), move |state| async move {
        let mut layers = match state {
            State::Merging(layers) => layers,
            // All at once: each of them may have to wait for its storage.
            State::NotBegun(layers) => {
                let heads = join_all(layers.into_iter().map(begin)).await;
                heads.into_iter().filter_map(Result::transpose).collect::<Result<_>>()?
            }
        };
        let next = next(&mut layers, direction).await?;
        Ok(next.map(|entry| (entry, State::Merging(layers))))
    })
    .boxed()
}

async fn begin(mut rest: EntryStream) -> Result<Option<Layer>> {
    Ok(rest.next().await.transpose()?.map(|head| Layer { head, rest }))
}

/// Takes the next entry, and drops its older versions.
async fn next(layers: &mut Vec<Layer>, direction: Direction) -> Result<Option<Entry>> {
    let first = match direction {
        Direction::Ascending => layers.iter().map(|layer| &layer.head.key).min(),
        Direction::Descending => layers.iter().map(|layer| &layer.head.key).max(),
    };
    let Some(key) = first.cloned() else { return Ok(None) };
    let mut newest: Option<Entry> = None;
    // Backwards, so that one that has ended can be taken out.
    for index in (0..layers.len()).rev() {
        let layer = &mut layers[index];
        if layer.head.key != key {
            continue;
        }
        let version = match layer.rest.next().await.transpose()? {
            Some(head) => std::mem::replace(&mut layer.head, head),
            None => layers.remove(index).head,
        };
        if newest.as_ref().is_none_or(|newest| version.position >= newest.position) {
            newest = Some(version);
        }
    }
    Ok(newest)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use bytes::Bytes;
    use futures::TryStreamExt;
    use proptest::{collection::vec, prelude::*};

    use super::*;
    use crate::{
        Error,
        table::tests::{block_on, entry, key},
    };

    fn stream_of(entries: impl IntoIterator<Item = Entry>, direction: Direction) -> EntryStream {
        let mut entries: Vec<_> = entries.into_iter().map(Ok).collect();
        if direction == Direction::Descending {
            entries.reverse();
        }
        stream::iter(entries).boxed()
    }

    proptest! {
        #[test]
        fn the_newest_version_of_a_key_wins(
            layers in vec(prop::collection::btree_map(key(), (any::<bool>(), 0..9_u64), 0..12), 0..6),
            descending in any::<bool>(),
        ) {
            let direction = if descending { Direction::Descending } else { Direction::Ascending };
            let mut model = BTreeMap::new();
            let mut streams = Vec::new();
            for (number, layer) in layers.iter().enumerate() {
                let entries = layer.iter().map(|(key, (deleted, lsn))| {
                    entry(key.clone(), *lsn, (!deleted).then_some(&[number as u8][..]))
                });
                for entry in entries.clone() {
                    let newest = model.entry(entry.key.clone()).or_insert_with(|| entry.clone());
                    if entry.position > newest.position {
                        *newest = entry;
                    }
                }
                streams.push(stream_of(entries.collect::<Vec<_>>(), direction));
            }
            let merged: Vec<_> = block_on(merge(streams, direction).try_collect()).unwrap();
            let mut expected: Vec<_> = model.into_values().collect();
            if descending {
                expected.reverse();
            }
            prop_assert_eq!(merged, expected);
        }
    }

    #[tokio::test]
    async fn it_ends_with_the_error_of_a_layer() {
        let at = |keys: &[&'static str]| keys.iter().map(|key| entry(Bytes::from(*key), 1, None)).collect::<Vec<_>>();
        let failing = stream_of(at(&["b"]), Direction::Ascending).chain(stream::iter([Err(Error::Closed)])).boxed();
        let whole = stream_of(at(&["a", "b", "c", "d"]), Direction::Ascending);
        let mut merged = merge(vec![whole, failing], Direction::Ascending);
        assert_eq!(merged.try_next().await.unwrap().unwrap().key, "a");
        // What comes after `b` in the other layer is not known, so even `b` may be followed by anything.
        assert!(matches!(merged.try_next().await, Err(Error::Closed)));
        assert!(merged.next().await.is_none());
    }
}
