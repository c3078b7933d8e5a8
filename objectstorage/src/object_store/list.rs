//! How are keys listed in order, by any string prefix, from any place on?
//!
//! Where the store lists pages by raw prefix ([`PaginatedListStore`](object_store::list::PaginatedListStore): S3, GCS,
//! Azure), one page is in memory, and the server begins where the listing begins. Any other store lists by whole
//! components and in no order, so everything that was asked for is collected, and sorted.

use std::{borrow::Cow, sync::Arc};

use futures::{StreamExt, TryStreamExt, future, stream, stream::BoxStream};
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
    let whole = Range { prefix, after, depth, page_entries: None };
    // Servers do not agree on a listing that begins inside of what they are to sum up.
    match whole.split() {
        Some((below, summary, rest)) => {
            let first = pages(inner.clone(), below).take(1).map_ok({
                let summary = summary.clone();
                move |_| ListEntry::Prefix(summary.clone())
            });
            let rest = pages(inner, rest).try_filter(move |entry| future::ready(!entry.name().starts_with(&summary)));
            first.chain(rest).boxed()
        }
        None => pages(inner, whole),
    }
}

/// Consecutive keys.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Range {
    prefix: String,
    /// Begins with the prefix.
    after: Option<String>,
    depth: ListDepth,
    /// The most entries of a page, if not the server's choice.
    page_entries: Option<usize>,
}

impl Range {
    /// Splits a listing of one level that begins inside of a common prefix.
    ///
    /// Into what is left below that one, its name, and what comes after it.
    fn split(&self) -> Option<(Self, String, Self)> {
        let after = self.after.as_ref().filter(|_| self.depth == ListDepth::OneLevel)?;
        let slash = after[self.prefix.len()..].find('/')?;
        let summary = after[..=self.prefix.len() + slash].to_owned();
        let below = Self {
            prefix: summary.clone(),
            after: Some(after.clone()),
            depth: ListDepth::Recursive,
            page_entries: Some(1),
        };
        // Behind nearly every key below; what is not is filtered out.
        let rest = Self { after: Some(format!("{summary}\u{10FFFF}")), ..self.clone() };
        Some((below, summary, rest))
    }

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
                max_keys: range.page_entries,
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
        Range { prefix: prefix.into(), after: Some(after.into()), depth, page_entries: None }
    }

    #[test]
    fn a_listing_of_one_level_is_split_where_it_begins_inside_of_a_prefix() {
        for (prefix, after, expected) in [
            ("", "a", None),
            ("a/", "a/b", None),
            ("", "a/b", Some("a/")),
            ("", "a/", Some("a/")),
            ("a", "a/b/c", Some("a/")),
            ("a/", "a/b/c", Some("a/b/")),
            ("", "/", Some("/")),
        ] {
            let summary = range(prefix, after, ListDepth::OneLevel).split().map(|(_, summary, _)| summary);
            assert_eq!(summary.as_deref(), expected, "{prefix:?} {after:?}");
            assert_eq!(range(prefix, after, ListDepth::Recursive).split(), None);
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
