//! Does every valid key name an object of its own, and no invalid one anything?

use futures::{StreamExt, TryStreamExt, stream};

use super::{Outcome, Subject, Unmet, expect, expect_eq, expect_error, key, suite};
use crate::{
    Durability, Error, ListDepth, ListEntry, ListRequest, ObjectKey, ObjectStorage, ObjectStorageExt, PutMode,
    PutOptions,
};

suite![
    unusual_keys_work,
    keys_that_look_alike_are_different,
    the_longest_keys_work,
    components_of_every_length_are_listed_in_order,
    a_long_component_works_or_is_refused,
    an_object_above_objects_works_or_is_refused,
    nothing_leads_out_of_the_storage,
];

async fn unusual_keys_work(subject: &Subject) -> Outcome {
    let names = [
        "a",
        "with space",
        " leading and trailing ",
        "tab\tand\nnewline",
        "back\\slash",
        "quote'\"`",
        "%2e%2e",
        "%2F",
        "a%2Fb",
        "+plus&and=equals?query#fragment",
        "*?[glob]{x}",
        "...",
        ".hidden",
        "..hidden",
        "trailing.",
        "~",
        "-",
        "--flag",
        "$HOME",
        "CON",
        "nul.txt",
        ":",
        "<>|",
        "ünïcödé",
        "日本語/キー",
        "\u{1F980}/\u{1F469}\u{200D}\u{1F4BB}",
        "\u{7f}",
        "\u{1}",
        "\u{FFFF}",
        "\u{10FFFF}",
        "a;b,c",
        "@/(!)",
        ".f",
        "x.f",
        "%.f",
        "d.d/f#",
        "é%.f/%é",
    ];
    subject.fill(&names).await?;
    for name in names {
        subject.expect_content(name, name).await?;
    }
    let mut expected: Vec<_> = names.iter().map(|name| (*name).to_owned()).collect();
    expected.sort();
    let listed = subject.storage.list_objects("").await?;
    expect_eq(listed.iter().map(|meta| meta.key.to_string()).collect(), expected, "the listing")?;
    for name in names {
        subject.storage.delete(&key(name)).await?;
    }
    expect_eq(subject.storage.list_objects("").await?.len(), 0, "the number of objects left")
}

async fn keys_that_look_alike_are_different(subject: &Subject) -> Outcome {
    let names = ["a", "A", "é", "e\u{301}", "ﬀ", "ff", "a ", "a.", "%61", "dir/x", "Dir/x", "dir /x"];
    subject.fill(&names).await?;
    for name in names {
        subject.expect_content(name, name).await?;
    }
    Ok(())
}

async fn the_longest_keys_work(subject: &Subject) -> Outcome {
    for part in ["b/", "0123456789abcde/", &format!("{}/", "k".repeat(254)), &format!("{}/", "é".repeat(127))] {
        let name = long_key(part, subject.settings.key_bytes_max);
        subject.write(&name, "content").await?;
        subject.expect_content(&name, "content").await?;
        let listed = subject.storage.list_objects(part).await?;
        expect_eq(listed.iter().map(|meta| meta.key.as_str()).collect(), vec![name.as_str()], "the listing")?;
        subject.storage.delete(&key(&name)).await?;
        subject.expect_absent(&name).await?;
    }
    Ok(())
}

/// A storage that cuts long names into pieces has to get their borders right, wherever they are.
async fn components_of_every_length_are_listed_in_order(subject: &Subject) -> Outcome {
    let options = PutOptions { durability: Durability::Relaxed, ..PutOptions::default() };
    let mut expected = Vec::new();
    for length in 1..=255 - "é".len() {
        let component = "x".repeat(length);
        expected.extend([component.clone() + "/y", component.clone() + "-%", component + "é"]);
    }
    expected.sort();
    let targets: Vec<_> = expected.iter().map(|name| key(name)).collect();
    let writes: Vec<_> = targets.iter().map(|target| subject.storage.put(target, "".into(), options)).collect();
    stream::iter(writes).buffer_unordered(32).try_collect::<Vec<()>>().await?;
    let listed = subject.storage.list_objects("").await?;
    expect_eq(listed.iter().map(|meta| meta.key.to_string()).collect(), expected.clone(), "the listing")?;
    for after in expected.iter().step_by(7) {
        let request =
            ListRequest { start_after: Some(after.clone()), ..ListRequest::prefix(&after[..after.len() / 2]) };
        let listed: Vec<_> = subject.storage.list(request.clone()).try_collect().await?;
        let behind = expected.iter().filter(|name| *name > after && name.starts_with(&request.prefix));
        let listed: Vec<_> = listed.iter().map(ListEntry::name).collect();
        expect_eq(listed, behind.map(String::as_str).collect(), &format!("the listing of {request:?}"))?;
    }
    Ok(())
}

/// As many parts as leave room for a last component, which fills what is left.
fn long_key(part: &str, bytes: usize) -> String {
    let parts = part.repeat((bytes - 1) / part.len());
    let last = "z".repeat(bytes - parts.len());
    parts + &last
}

async fn a_long_component_works_or_is_refused(subject: &Subject) -> Outcome {
    for name in ["k".repeat(255), format!("dir/{}/a", "k".repeat(255))] {
        subject.write(&name, "content").await?;
        subject.expect_content(&name, "content").await?;
    }
    let longest = "k".repeat(subject.settings.key_bytes_max);
    for name in ["k".repeat(256), longest, format!("dir/{}/a", "k".repeat(256)), "é".repeat(128)] {
        if is_accepted(subject, &name).await? {
            subject.expect_content(&name, &name).await?;
        } else {
            subject.expect_absent(&name).await?;
        }
        subject.storage.delete(&key(&name)).await?;
    }
    Ok(())
}

async fn an_object_above_objects_works_or_is_refused(subject: &Subject) -> Outcome {
    for (first, second) in [("a", "a/b"), ("c/d", "c"), ("e", "e/f/g"), ("h/i/j", "h"), ("k/l/m", "k/l")] {
        subject.fill(&[first]).await?;
        for mode in [PutMode::Create, PutMode::Overwrite] {
            let bytes = second.to_owned().into();
            let is_accepted = match subject.storage.put_bytes(&key(second), bytes, mode).await {
                Ok(()) => true,
                Err(Error::UnsupportedKey { key, .. }) if key.as_str() == second => false,
                Err(error) => return Err(Unmet(format!("expected success or UnsupportedKey, but: {error:?}"))),
            };
            if is_accepted {
                subject.expect_content(second, second).await?;
            } else {
                subject.expect_absent(second).await?;
            }
            subject.expect_content(first, first).await?;
            let listed = subject.storage.list_objects(&first[..1]).await?;
            expect_eq(listed.len(), 1 + usize::from(is_accepted), "the number of objects listed")?;
        }
        subject.storage.delete(&key(second)).await?;
        subject.expect_content(first, first).await?;
        subject.storage.delete(&key(first)).await?;
        // Once nothing is in its way, it works on every storage.
        subject.fill(&[second]).await?;
        subject.expect_content(second, second).await?;
        subject.storage.delete(&key(second)).await?;
    }
    Ok(())
}

async fn is_accepted(subject: &Subject, name: &str) -> Outcome<bool> {
    match subject.storage.put_bytes(&key(name), name.to_owned().into(), PutMode::Create).await {
        Ok(()) => Ok(true),
        refused => {
            let is_kind = |error: &Error| matches!(error, Error::UnsupportedKey { .. });
            expect_error(refused, name, "success or UnsupportedKey", is_kind)?;
            Ok(false)
        }
    }
}

async fn nothing_leads_out_of_the_storage(subject: &Subject) -> Outcome {
    subject.fill(&["a/b"]).await?;
    for name in ["..", "../x", "/etc/passwd", "a/../../x", "a/..", ".", "./a", "a//b", "a/", "/", "", "a\0b"] {
        expect(ObjectKey::parse(name).is_err(), || format!("{name:?} not to be a key"))?;
    }
    for prefix in ["..", "../", "../a", "/", "/etc/", "a/../", "a/../a/", "./", "./a", "a//", "//", "a/\0", "\0"] {
        for depth in [ListDepth::Recursive, ListDepth::OneLevel] {
            let request = ListRequest { prefix: prefix.to_owned(), start_after: None, depth };
            let listed: Vec<_> = subject.storage.list(request).try_collect().await?;
            expect(listed.is_empty(), || format!("nothing below the prefix {prefix:?}, but there is {listed:?}"))?;
        }
    }
    Ok(())
}
