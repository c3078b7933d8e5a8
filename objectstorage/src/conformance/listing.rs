//! Are the keys listed that were asked for, each once, in the order of their bytes?

use std::collections::BTreeSet;

use futures::{StreamExt, TryStreamExt, stream};

use super::{Outcome, Subject, expect, expect_eq, key, suite};
use crate::{Durability, ListDepth, ListEntry, ListRequest, ObjectStorage, ObjectStorageExt, PutOptions};

suite![
    an_empty_storage_lists_nothing,
    objects_are_listed_in_the_order_of_their_bytes,
    a_listing_says_the_sizes,
    a_prefix_is_a_string_prefix,
    a_prefix_without_keys_lists_nothing,
    a_listing_starts_after_a_key,
    a_listing_starts_after_any_string,
    one_level_lists_objects_and_prefixes,
    one_level_below_a_prefix,
    one_level_starts_inside_a_prefix,
    every_combination_agrees_with_a_model,
    many_objects_are_listed_once_each,
    a_listing_may_be_dropped,
    a_listing_shows_the_present,
    objects_that_stay_are_listed_while_others_come_and_go,
];

/// Ordered by bytes; a walk of directories by name gets it wrong.
const TREE: [&str; 20] = [
    "A",
    "a!",
    "a-b",
    "a-b/x",
    "a.b",
    "a/b",
    "a/b-c/d",
    "a/c-d",
    "a/c.d",
    "a/c/d",
    "a/c/e",
    "a/c0",
    "a0",
    "aa",
    "aa-",
    "b/c/d/e/f",
    "log/1",
    "log/2",
    "logs/1",
    "z",
];

async fn names(subject: &Subject, request: ListRequest) -> Outcome<Vec<String>> {
    let entries: Vec<_> = subject.storage.list(request).try_collect().await?;
    Ok(entries.iter().map(|entry| entry.name().to_owned()).collect())
}

fn one_level(prefix: &str, start_after: Option<&str>) -> ListRequest {
    ListRequest { prefix: prefix.to_owned(), start_after: start_after.map(str::to_owned), depth: ListDepth::OneLevel }
}

/// What a listing of `keys`, which are sorted, has to be.
fn model(keys: &[&str], request: &ListRequest) -> Vec<String> {
    let wanted = keys.iter().filter(|key| {
        key.starts_with(&request.prefix) && request.start_after.as_deref().is_none_or(|after| **key > after)
    });
    let mut names: Vec<_> = wanted
        .map(|key| match key[request.prefix.len()..].find('/') {
            Some(slash) if request.depth == ListDepth::OneLevel => key[..=request.prefix.len() + slash].to_owned(),
            _ => (*key).to_owned(),
        })
        .collect();
    names.dedup();
    names
}

async fn expect_model(subject: &Subject, keys: &[&str], request: ListRequest) -> Outcome {
    let expected = model(keys, &request);
    let listed = names(subject, request.clone()).await?;
    expect_eq(listed, expected, &format!("the listing of {request:?}"))
}

async fn an_empty_storage_lists_nothing(subject: &Subject) -> Outcome {
    for prefix in ["", "a", "a/", "a/b/c"] {
        expect_eq(names(subject, ListRequest::prefix(prefix)).await?, vec![], "the listing")?;
        expect_eq(names(subject, one_level(prefix, Some("a"))).await?, vec![], "the listing")?;
    }
    Ok(())
}

async fn objects_are_listed_in_the_order_of_their_bytes(subject: &Subject) -> Outcome {
    let mut keys = vec![
        "a-b",
        "a.b",
        "a/b",
        "a/b!c",
        "a/b/c0",
        "a0b",
        "B",
        "_",
        "~",
        "é",
        "日本",
        "\u{1F980}",
        "\u{FFFF}",
        "10",
        "9",
        "a b",
        "%",
        "aB",
        "a\u{1}b",
    ];
    // `a/b` and `a/b/c0` do not get on with each other everywhere.
    keys.retain(|key| *key != "a/b");
    for name in keys.iter().rev() {
        subject.write(name, name).await?;
    }
    keys.sort_unstable();
    expect_model(subject, &keys, ListRequest::default()).await
}

async fn a_listing_says_the_sizes(subject: &Subject) -> Outcome {
    for size in [0, 1, 5_000] {
        subject.write(&format!("dir/{size:04}"), &"x".repeat(size)).await?;
    }
    let listed = subject.storage.list_objects("").await?;
    let sizes: Vec<_> = listed.iter().map(|meta| (meta.key.as_str(), meta.size)).collect();
    expect_eq(sizes, vec![("dir/0000", 0), ("dir/0001", 1), ("dir/5000", 5_000)], "the listing")
}

async fn a_prefix_is_a_string_prefix(subject: &Subject) -> Outcome {
    let keys = ["lo", "log-x", "log.x", "log/1", "log/10", "log/2", "log0", "logs/1", "lpg"];
    subject.fill(&keys).await?;
    for prefix in ["", "l", "lo", "log", "log/", "log/1", "log/10", "logs", "logs/", "lp"] {
        expect_model(subject, &keys, ListRequest::prefix(prefix)).await?;
    }
    Ok(())
}

async fn a_prefix_without_keys_lists_nothing(subject: &Subject) -> Outcome {
    subject.fill(&["log/1", "x"]).await?;
    for prefix in ["log/10", "log/1/", "log/1/2", "m", "lof", "x/", "no/such/place/", "é"] {
        expect_eq(names(subject, ListRequest::prefix(prefix)).await?, vec![], prefix)?;
        expect_eq(names(subject, one_level(prefix, None)).await?, vec![], prefix)?;
    }
    Ok(())
}

async fn a_listing_starts_after_a_key(subject: &Subject) -> Outcome {
    let keys = tree(subject).await?;
    for after in &keys {
        let start_after = Some((*after).to_owned());
        expect_model(subject, &keys, ListRequest { start_after, ..ListRequest::default() }).await?;
    }
    Ok(())
}

async fn a_listing_starts_after_any_string(subject: &Subject) -> Outcome {
    let keys = tree(subject).await?;
    for after in ["", "/", "a", "a-", "a-b0", "a/", "a/b-", "a/c", "a/c/", "a/c/d/", "a/zz", "b", "b/c/", "log", "zz"] {
        for prefix in ["", "a", "a/", "a/c", "b/c/d", "log"] {
            let request = ListRequest { start_after: Some(after.to_owned()), ..ListRequest::prefix(prefix) };
            expect_model(subject, &keys, request).await?;
        }
    }
    Ok(())
}

async fn one_level_lists_objects_and_prefixes(subject: &Subject) -> Outcome {
    subject.fill(&["a-b", "a.b", "a/b/c", "a/d", "a0", "e"]).await?;
    let entries: Vec<_> = subject.storage.list(one_level("", None)).try_collect().await?;
    let names: Vec<_> = entries.iter().map(ListEntry::name).collect();
    expect_eq(names, vec!["a-b", "a.b", "a/", "a0", "e"], "the listing")?;
    let are_prefixes: Vec<_> = entries.iter().map(|entry| matches!(entry, ListEntry::Prefix(_))).collect();
    expect_eq(are_prefixes, vec![false, false, true, false, false], "which of them are prefixes")
}

async fn one_level_below_a_prefix(subject: &Subject) -> Outcome {
    let keys = tree(subject).await?;
    for prefix in ["a", "a/", "a/c", "a/c/", "a-b", "b", "b/", "b/c/d", "b/c/d/", "lo", "log", "log/"] {
        expect_model(subject, &keys, one_level(prefix, None)).await?;
    }
    Ok(())
}

async fn one_level_starts_inside_a_prefix(subject: &Subject) -> Outcome {
    subject.fill(&["a/1", "a/2", "b/1"]).await?;
    for (after, expected) in
        [("a/", vec!["a/", "b/"]), ("a/1", vec!["a/", "b/"]), ("a/2", vec!["b/"]), ("a/3", vec!["b/"]), ("b/1", vec![])]
    {
        expect_eq(names(subject, one_level("", Some(after))).await?, to_strings(&expected), after)?;
    }
    Ok(())
}

fn to_strings(names: &[&str]) -> Vec<String> {
    names.iter().map(|name| (*name).to_owned()).collect()
}

async fn every_combination_agrees_with_a_model(subject: &Subject) -> Outcome {
    let keys = tree(subject).await?;
    let parts: BTreeSet<_> = keys.iter().flat_map(|key| (0..=key.len()).map(|end| &key[..end])).collect();
    for prefix in parts.iter().step_by(3) {
        for start_after in parts.iter().step_by(4) {
            for depth in [ListDepth::Recursive, ListDepth::OneLevel] {
                let (prefix, start_after) = ((*prefix).to_owned(), Some((*start_after).to_owned()));
                expect_model(subject, &keys, ListRequest { prefix, start_after, depth }).await?;
            }
        }
    }
    Ok(())
}

/// Fills the storage with a tree in which names and directories mix; returns its keys in order.
async fn tree(subject: &Subject) -> Outcome<Vec<&'static str>> {
    // `a-b` and `a-b/x` do not get on with each other everywhere.
    let keys: Vec<_> = TREE.into_iter().filter(|key| *key != "a-b").collect();
    subject.fill(&keys).await?;
    Ok(keys)
}

async fn fill_many(subject: &Subject, count: usize) -> Outcome<Vec<String>> {
    let keys: Vec<_> = (0..count)
        .map(|number| match number % 3 {
            0 => format!("many/{number:06}"),
            1 => format!("many/{number:06}/below"),
            _ => format!("many/{number:06}.txt"),
        })
        .collect();
    let options = PutOptions { durability: Durability::Relaxed, ..PutOptions::default() };
    let targets: Vec<_> = keys.iter().map(|name| key(name)).collect();
    let writes: Vec<_> = targets.iter().map(|target| subject.storage.put(target, "".into(), options)).collect();
    stream::iter(writes).buffer_unordered(32).try_collect::<Vec<()>>().await?;
    Ok(keys)
}

async fn many_objects_are_listed_once_each(subject: &Subject) -> Outcome {
    let keys = fill_many(subject, subject.settings.listed_objects).await?;
    let keys: Vec<_> = keys.iter().map(String::as_str).collect();
    expect_model(subject, &keys, ListRequest::default()).await?;
    expect_model(subject, &keys, one_level("many/", None)).await?;
    for after in [0, 1, 255, 256, 999, 1_000, 1_001].into_iter().filter_map(|number| keys.get(number)) {
        let start_after = Some((*after).to_owned());
        expect_model(subject, &keys, ListRequest { start_after, ..ListRequest::prefix("many/") }).await?;
        expect_model(subject, &keys, one_level("many/", Some(after))).await?;
    }
    Ok(())
}

async fn a_listing_may_be_dropped(subject: &Subject) -> Outcome {
    // More than the largest number that is taken; the pages are for the case above.
    let keys = fill_many(subject, subject.settings.listed_objects.min(400)).await?;
    for taken in [0, 1, 3, 300] {
        let listing = subject.storage.list(ListRequest::default());
        let entries: Vec<_> = listing.take(taken).try_collect().await?;
        let names: Vec<_> = entries.iter().map(|entry| entry.name().to_owned()).collect();
        expect_eq(names, keys.iter().take(taken).cloned().collect(), "the beginning of the listing")?;
    }
    Ok(())
}

async fn a_listing_shows_the_present(subject: &Subject) -> Outcome {
    subject.fill(&["a/1", "b/1"]).await?;
    subject.storage.delete(&key("a/1")).await?;
    subject.fill(&["c/1"]).await?;
    expect_eq(names(subject, one_level("", None)).await?, to_strings(&["b/", "c/"]), "the listing")?;
    subject.storage.delete(&key("b/1")).await?;
    expect_eq(names(subject, ListRequest::default()).await?, to_strings(&["c/1"]), "the listing")
}

async fn objects_that_stay_are_listed_while_others_come_and_go(subject: &Subject) -> Outcome {
    let staying: Vec<_> = (0..100).map(|number| format!("dir/{}/{number:03}", number % 7)).collect();
    for name in &staying {
        subject.write(name, "").await?;
    }
    let storage = subject.storage.clone();
    let rounds = subject.settings.race_rounds;
    let churn = tokio::spawn(async move {
        for round in 0..rounds {
            for place in 0..7 {
                let fleeting = key(&format!("dir/{place}/{:03}-fleeting", round % 100));
                storage.put_bytes(&fleeting, "".into(), crate::PutMode::Overwrite).await?;
                storage.put_bytes(&key("dir/0/000"), "again".into(), crate::PutMode::Overwrite).await?;
                storage.delete(&fleeting).await?;
                tokio::task::yield_now().await;
            }
        }
        Ok::<_, crate::Error>(())
    });
    let mut sorted = staying.clone();
    sorted.sort();
    while !churn.is_finished() {
        // A storage in memory may never wait, and on one thread the other task has to run, too.
        tokio::task::yield_now().await;
        let listed = names(subject, ListRequest::prefix("dir/")).await?;
        expect(listed.is_sorted_by(|a, b| a < b), || "each key once and in order".to_owned())?;
        let stayed: Vec<_> = listed.into_iter().filter(|name| !name.ends_with("-fleeting")).collect();
        expect_eq(stayed, sorted.clone(), "the objects that stay")?;
    }
    Ok(churn.await.map_err(|error| super::Unmet(format!("expected the writer to end well: {error}")))??)
}
