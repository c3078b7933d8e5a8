//! Does a storage keep every promise of [`ObjectStorage`]? Feature `conformance`.
//!
//! Writers of a storage of their own prove it with one call in a test:
//!
//! ```
//! use std::sync::Arc;
//!
//! use runyard_objectstorage::{MemoryStorage, ObjectStorage, conformance};
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() {
//! conformance::run(async || Arc::new(MemoryStorage::new()) as Arc<dyn ObjectStorage>).await;
//! # }
//! ```
//!
//! Every case gets an empty storage of its own. Where a hierarchical storage may refuse what a flat one accepts (`a`
//! beside `a/b`, a component of more than 255 bytes), both pass, if they are consistent about it. The suite spawns
//! tasks, so it needs a tokio runtime; its races mean most on a multi-threaded one.

use std::{fmt, sync::Arc};

use bytes::Bytes;
use futures::future::BoxFuture;

use crate::{Error, KEY_BYTES_MAX, ObjectKey, ObjectStorage, ObjectStorageExt, PutMode};

mod creating;
mod deleting;
mod keys;
mod listing;
mod racing;
mod reading;
mod writing;

/// How much the suite does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Settings {
    /// How often each race is run; default 50. A slow storage takes fewer, a release more.
    pub race_rounds: usize,
    /// How many objects the long listings have; default 1,200, which is more than a page of S3.
    pub listed_objects: usize,
    /// The longest key that has to work, in bytes; default 1,024. Less for a storage below a prefix of another.
    pub key_bytes_max: usize,
}

impl Default for Settings {
    fn default() -> Self {
        Self { race_rounds: 50, listed_objects: 1_200, key_bytes_max: KEY_BYTES_MAX }
    }
}

/// A case that did not pass.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Failure {
    /// The name of the case.
    pub case: &'static str,
    /// What was expected, and what was seen.
    pub reason: String,
}

/// How the storage did.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Report {
    /// The names of the cases that passed.
    pub passed: Vec<&'static str>,
    /// The cases that did not.
    pub failed: Vec<Failure>,
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} cases passed, {} failed", self.passed.len(), self.failed.len())?;
        for Failure { case, reason } in &self.failed {
            write!(f, "\n  {case}: {reason}")?;
        }
        Ok(())
    }
}

/// Runs every case; `make` makes an empty storage. Returns the report, in which nothing failed.
///
/// # Panics
/// If a case fails, with a report of all of them.
pub async fn run(make: impl AsyncFn() -> Arc<dyn ObjectStorage>) -> Report {
    run_with(make, Settings::default()).await
}

/// Runs every case as far as `settings` say; `make` makes an empty storage. Returns the report, in which nothing failed.
///
/// # Panics
/// If a case fails, with a report of all of them.
pub async fn run_with(make: impl AsyncFn() -> Arc<dyn ObjectStorage>, settings: Settings) -> Report {
    let report = check(make, settings).await;
    assert!(report.failed.is_empty(), "{report}");
    report
}

/// Runs every case and reports; `make` makes an empty storage.
pub async fn check(make: impl AsyncFn() -> Arc<dyn ObjectStorage>, settings: Settings) -> Report {
    let mut report = Report::default();
    for case in cases() {
        tracing::debug!(case = case.name, "conformance");
        let subject = Subject { storage: make().await, settings };
        match (case.run)(&subject).await {
            Ok(()) => report.passed.push(case.name),
            Err(Unmet(reason)) => report.failed.push(Failure { case: case.name, reason }),
        }
    }
    report
}

/// The names of all cases, in the order in which they are run.
pub fn case_names() -> Vec<&'static str> {
    cases().map(|case| case.name).collect()
}

fn cases() -> impl Iterator<Item = Case> {
    [
        reading::cases(),
        writing::cases(),
        creating::cases(),
        deleting::cases(),
        keys::cases(),
        listing::cases(),
        racing::cases(),
    ]
    .into_iter()
    .flatten()
}

struct Case {
    name: &'static str,
    run: fn(&Subject) -> BoxFuture<'_, Outcome>,
}

/// Lists functions as cases of their names.
macro_rules! suite {
    ($($name:ident),* $(,)?) => {
        pub(super) fn cases() -> Vec<super::Case> {
            vec![$(super::Case { name: stringify!($name), run: |subject| Box::pin($name(subject)) }),*]
        }
    };
}
use suite;

/// What a case is run on.
struct Subject {
    storage: Arc<dyn ObjectStorage>,
    settings: Settings,
}

type Outcome<T = ()> = Result<T, Unmet>;

/// An expectation that was not met, in words.
#[derive(Debug)]
struct Unmet(String);

impl From<Error> for Unmet {
    fn from(error: Error) -> Self {
        let source = std::error::Error::source(&error).map(|source| format!(": {source}")).unwrap_or_default();
        Self(format!("expected no error, but: {error}{source}"))
    }
}

impl Subject {
    /// Writes an object whose content is its name.
    async fn fill(&self, names: &[&str]) -> Outcome {
        for name in names {
            self.write(name, name).await?;
        }
        Ok(())
    }

    async fn write(&self, name: &str, content: &str) -> Outcome {
        let bytes = Bytes::copy_from_slice(content.as_bytes());
        Ok(self.storage.put_bytes(&key(name), bytes, PutMode::Overwrite).await?)
    }

    async fn expect_content(&self, name: &str, expected: impl AsRef<[u8]>) -> Outcome {
        let (content, expected) = (self.storage.get_bytes(&key(name)).await?, expected.as_ref());
        expect(content == expected, || {
            format!("object `{name}` to be {}, but it is {}", abridged(expected), abridged(&content))
        })
    }

    /// Neither head nor get nor a listing knows the object.
    async fn expect_absent(&self, name: &str) -> Outcome {
        expect_error(self.storage.head(&key(name)).await, name, "NotFound", Error::is_not_found)?;
        expect_error(self.storage.get_bytes(&key(name)).await, name, "NotFound", Error::is_not_found)?;
        let listed = self.storage.list_objects(name).await?;
        expect(listed.iter().all(|meta| meta.key.as_str() != name), || format!("`{name}` not to be listed"))
    }
}

fn key(name: &str) -> ObjectKey {
    ObjectKey::parse(name).expect("the suite writes valid keys")
}

fn expect(is_met: bool, expected: impl FnOnce() -> String) -> Outcome {
    if is_met { Ok(()) } else { Err(Unmet(format!("expected {}", expected()))) }
}

fn expect_eq<T: PartialEq + fmt::Debug>(actual: T, expected: T, what: &str) -> Outcome {
    expect(actual == expected, || format!("{what} to be {expected:?}, but it is {actual:?}"))
}

/// The error is of the kind, and carries the key.
fn expect_error<T>(result: crate::Result<T>, name: &str, kind: &str, is_kind: impl Fn(&Error) -> bool) -> Outcome {
    match result {
        Ok(_) => Err(Unmet(format!("expected {kind} for `{name}`, but the call succeeded"))),
        Err(error) => {
            expect(is_kind(&error), || format!("{kind} for `{name}`, but the error is: {error:?}"))?;
            expect(error.key().is_some_and(|key| key.as_str() == name), || {
                format!("the error to carry the key `{name}`, but it is: {error:?}")
            })
        }
    }
}

fn abridged(bytes: &[u8]) -> String {
    match bytes.len() {
        0..=40 => format!("{:?}", String::from_utf8_lossy(bytes)),
        length => format!("{length} bytes beginning {:?}", String::from_utf8_lossy(&bytes[..20])),
    }
}

/// Bytes in which no two places look alike, so that a piece in the wrong place is noticed.
fn pattern(length: usize) -> Bytes {
    (0..length as u64).map(|at| (at.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 56) as u8).collect()
}

#[cfg(test)]
mod tests;
