//! Is exactly that removed which was named?

use futures::TryStreamExt;

use super::{Outcome, Subject, expect_eq, key, suite};
use crate::{ListDepth, ListRequest, ObjectStorage};

suite![
    a_deleted_object_is_gone,
    deleting_what_is_absent_succeeds,
    deleting_leaves_the_neighbours,
    deleting_a_prefix_deletes_nothing,
    nothing_is_left_of_a_tree_whose_objects_are_deleted,
];

async fn a_deleted_object_is_gone(subject: &Subject) -> Outcome {
    for name in ["a", "dir/a", "dir/deeper/a"] {
        subject.write(name, "content").await?;
        subject.storage.delete(&key(name)).await?;
        subject.expect_absent(name).await?;
    }
    Ok(())
}

async fn deleting_what_is_absent_succeeds(subject: &Subject) -> Outcome {
    let long = format!("{0}/{0}/{0}", "k".repeat(300));
    for name in ["a", "no/such/dir/a", "ünï", long.as_str()] {
        subject.storage.delete(&key(name)).await?;
        subject.storage.delete(&key(name)).await?;
    }
    subject.write("a", "content").await?;
    subject.storage.delete(&key("a/below")).await?;
    subject.expect_content("a", "content").await?;
    subject.storage.delete(&key("a")).await?;
    Ok(subject.storage.delete(&key("a")).await?)
}

async fn deleting_leaves_the_neighbours(subject: &Subject) -> Outcome {
    let neighbours = ["a/b-c", "a/b.c", "a/b0", "a/bb", "a/B", "a-b", "ab", "c/b"];
    subject.fill(&neighbours).await?;
    subject.fill(&["a/b"]).await?;
    subject.storage.delete(&key("a/b")).await?;
    subject.expect_absent("a/b").await?;
    for name in neighbours {
        subject.expect_content(name, name).await?;
    }
    Ok(())
}

async fn deleting_a_prefix_deletes_nothing(subject: &Subject) -> Outcome {
    subject.fill(&["a/b/c"]).await?;
    subject.storage.delete(&key("a")).await?;
    subject.storage.delete(&key("a/b")).await?;
    subject.expect_content("a/b/c", "a/b/c").await
}

async fn nothing_is_left_of_a_tree_whose_objects_are_deleted(subject: &Subject) -> Outcome {
    let names = ["a/b/c/d", "a/b/e", "a/f"];
    subject.fill(&names).await?;
    for name in names {
        subject.storage.delete(&key(name)).await?;
    }
    let request = ListRequest { depth: ListDepth::OneLevel, ..ListRequest::default() };
    let left: Vec<_> = subject.storage.list(request).try_collect().await?;
    expect_eq(left, vec![], "what is listed")?;
    // The names are free for other uses.
    subject.fill(&["a"]).await?;
    subject.expect_content("a", "a").await
}
