//! How are keys listed in order, by any string prefix, from any place on?
//!
//! Where the store lists pages by raw prefix ([`PaginatedListStore`](object_store::list::PaginatedListStore): S3, GCS,
//! Azure), one page is in memory, and the server begins where the listing begins. Any other store lists by whole
//! components and in no order, so everything that was asked for is collected, and sorted.

use std::{borrow::Cow, sync::Arc};

use futures::{StreamExt, TryStreamExt, stream, stream::BoxStream};
use object_store::{list::PaginatedListOptions, path::Path};

use super::{
    Inner,
    error::{LISTING, Target, from_store},
    name::{original, stored},
};
use crate::{Error, ListDepth, ListEntry, ListRequest, ObjectKey, ObjectMeta, Result};

type Listing = BoxStream<'static, Result<ListEntry>>;

pub(super) fn list(inner: Arc<Inner>, request: ListRequest) -> Listing {
    let ListRequest { prefix, start_after, depth } = request;
    let after = match start_after {
        Some(after) if after.starts_with(&prefix) => Some(after),
        Some(after) if after > prefix => return stream::empty().boxed(),
        _ => None,
    };
    match (depth, after) {
        // Servers do not agree on a listing that begins inside of what they are to sum up, so it is summed up here.
        (ListDepth::OneLevel, Some(after)) => hops(inner, prefix, after),
        (depth, after) => pages(inner, Range { prefix, after, depth }),
    }
}

/// Consecutive keys.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Range {
    prefix: String,
    /// Begins with the prefix.
    after: Option<String>,
    depth: ListDepth,
}

impl Range {
    /// What a stored name is in this listing, if it is in it.
    fn entry(&self, name: &str, size: Option<u64>) -> Option<ListEntry> {
        let text = original(name).filter(|text| text.starts_with(&self.prefix))?;
        let is_after = self.after.as_ref().is_none_or(|after| text > *after);
        match size {
            Some(size) if is_after => Some(ListEntry::Object(ObjectMeta::new(ObjectKey::parse(&text).ok()?, size))),
            None if is_after => ObjectKey::parse(&text).ok().map(|_| ListEntry::Prefix(text + "/")),
            _ => None,
        }
    }
}

/// A listing of one level from a place on: pages of keys are summed up, and what a page did not show below the last
/// prefix is hopped over. At most one page is read for each prefix.
fn hops(inner: Arc<Inner>, prefix: String, after: String) -> Listing {
    let start =
        Hop { range: Range { prefix, after: Some(after), depth: ListDepth::Recursive }, token: None, seen: None };
    stream::try_unfold(Some(start), move |hop| {
        let inner = inner.clone();
        async move {
            let Some(hop) = hop else { return Ok::<_, Error>(None) };
            let read = page(&inner, &hop.range, hop.token.clone()).await;
            let (keys, token) = read.map_err(|error| from_store(error, LISTING, Target::Prefix(&hop.range.prefix)))?;
            let (entries, next) = hop.sum_up(keys, token);
            Ok(Some((stream::iter(entries).map(Ok), next)))
        }
    })
    .try_flatten()
    .boxed()
}

/// Where a listing of one level goes on.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Hop {
    range: Range,
    token: Option<String>,
    /// The last prefix that was listed.
    seen: Option<String>,
}

impl Hop {
    /// The entries of a level that a page of keys makes, and where to go on if there is more.
    fn sum_up(mut self, keys: Vec<ListEntry>, token: Option<String>) -> (Vec<ListEntry>, Option<Self>) {
        let level = self.range.prefix.len();
        let summary = |name: &str| name[level..].find('/').map(|slash| name[..=level + slash].to_owned());
        // A page without a key of ours says nothing about the place.
        let after = keys.last().map(|last| match summary(last.name()) {
            // Behind nearly every key below; the others are of a prefix that was seen.
            Some(prefix) => format!("{prefix}\u{10FFFF}"),
            None => last.name().to_owned(),
        });
        let mut entries = Vec::new();
        for key in keys {
            match summary(key.name()) {
                Some(prefix) if self.seen.as_ref() == Some(&prefix) => {}
                Some(prefix) => {
                    self.seen = Some(prefix.clone());
                    entries.push(ListEntry::Prefix(prefix));
                }
                None => entries.push(key),
            }
        }
        let next = token.map(|token| match after {
            Some(after) => Self { range: Range { after: Some(after), ..self.range }, token: None, ..self },
            None => Self { token: Some(token), ..self },
        });
        (entries, next)
    }
}

fn pages(inner: Arc<Inner>, range: Range) -> Listing {
    stream::try_unfold(Some(None), move |token: Option<Option<String>>| {
        let (inner, range) = (inner.clone(), range.clone());
        async move {
            let Some(token) = token else { return Ok::<_, Error>(None) };
            let read = page(&inner, &range, token).await;
            let (entries, next) = read.map_err(|error| from_store(error, LISTING, Target::Prefix(&range.prefix)))?;
            Ok(Some((stream::iter(entries).map(Ok), next.map(Some))))
        }
    })
    .try_flatten()
    .boxed()
}

/// The entries of a page in their order, and the token of the next one.
async fn page(
    inner: &Inner,
    range: &Range,
    page_token: Option<String>,
) -> object_store::Result<(Vec<ListEntry>, Option<String>)> {
    let is_one_level = range.depth == ListDepth::OneLevel;
    let prefix = Some(stored(&range.prefix)).filter(|prefix| !prefix.is_empty());
    let (found, next) = match &inner.pages {
        Some(pages) => {
            let options = PaginatedListOptions {
                // A server ignores it beside a token.
                offset: range.after.as_deref().map(stored).filter(|_| page_token.is_none()),
                delimiter: is_one_level.then_some(Cow::Borrowed("/")),
                page_token,
                ..PaginatedListOptions::default()
            };
            let found = pages.list_paginated(prefix.as_deref(), options).await?;
            (found.result, found.page_token.filter(|token| !token.is_empty()))
        }
        None => (everything(inner, range, &prefix.unwrap_or_default(), is_one_level).await?, None),
    };
    let objects = found.objects.iter().filter_map(|object| range.entry(object.location.as_ref(), Some(object.size)));
    let summaries = found.common_prefixes.iter().filter_map(|prefix| range.entry(prefix.as_ref(), None));
    let mut entries: Vec<_> = objects.chain(summaries).collect();
    entries.sort_unstable_by(|one, other| one.name().cmp(other.name()));
    Ok((entries, next))
}

/// What a store without pages has in a range.
async fn everything(
    inner: &Inner,
    range: &Range,
    prefix: &str,
    is_one_level: bool,
) -> object_store::Result<object_store::ListResult> {
    let mut found =
        object_store::ListResult { objects: Vec::new(), common_prefixes: Vec::new(), extensions: Default::default() };
    // What is no path, is the beginning of none.
    let Ok(folder) = Path::parse(prefix.rsplit_once('/').map_or("", |(folder, _)| folder)) else { return Ok(found) };
    if is_one_level {
        return inner.store.list_with_delimiter(Some(&folder)).await;
    }
    let after = range.after.as_deref().map(stored);
    let offset = after.as_deref().and_then(|after| Path::parse(after).ok().filter(|path| path.as_ref() == after));
    let mut objects = match &offset {
        Some(offset) => inner.store.list_with_offset(Some(&folder), offset),
        None => inner.store.list(Some(&folder)),
    };
    while let Some(object) = objects.try_next().await? {
        if range.entry(object.location.as_ref(), Some(object.size)).is_some() {
            found.objects.push(object);
        }
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn range(prefix: &str, after: &str, depth: ListDepth) -> Range {
        Range { prefix: prefix.into(), after: Some(after.into()), depth }
    }

    #[test]
    fn a_page_of_keys_is_summed_up_and_the_rest_of_its_last_prefix_hopped_over() {
        for (seen, keys, has_more, expected, expected_after) in [
            (None, vec!["p/a", "p/b/1", "p/b/2"], true, vec!["p/a", "p/b/"], Some("p/b/\u{10FFFF}")),
            (None, vec!["p/b/1", "p/c"], true, vec!["p/b/", "p/c"], Some("p/c")),
            (None, vec!["p/b/1", "p/c/1"], false, vec!["p/b/", "p/c/"], None),
            (Some("p/b/"), vec!["p/b/\u{10FFFF}x", "p/d"], true, vec!["p/d"], Some("p/d")),
            (None, vec![], true, vec![], Some("p/")),
        ] {
            let hop =
                Hop { range: range("p/", "p/", ListDepth::Recursive), token: None, seen: seen.map(str::to_owned) };
            let keys: Vec<_> = keys.into_iter().filter_map(|key| hop.range.entry(key, Some(1))).collect();
            let (entries, next) = hop.sum_up(keys, has_more.then(|| "token".to_owned()));
            assert_eq!(entries.iter().map(ListEntry::name).collect::<Vec<_>>(), expected);
            let next_after = next.as_ref().and_then(|hop| hop.range.after.as_deref());
            assert_eq!(next_after, expected_after);
            // The server's own place is gone on from only where a page showed no key.
            assert_eq!(next.is_some_and(|hop| hop.token.is_some()), has_more && expected.is_empty());
        }
    }

    #[test]
    fn an_entry_is_ours_and_in_the_range() {
        let range = range("a", "a/b", ListDepth::Recursive);
        for (name, is_listed) in
            [("a/b", false), ("a/c", true), ("b", false), ("a-b", false), ("a/c _d", true), ("a/c d", false)]
        {
            assert_eq!(range.entry(name, Some(1)).is_some(), is_listed, "{name}");
        }
    }
}
