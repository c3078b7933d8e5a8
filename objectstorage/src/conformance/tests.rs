//! Does the suite notice a storage that breaks a promise, and say which?

use async_trait::async_trait;
use futures::{StreamExt, TryStreamExt, stream::BoxStream};

use super::*;
use crate::{
    Body, GetObject, GetRange, ListEntry, ListRequest, MemoryStorage, ObjectMeta, PutOptions, PutSize, Result,
};

/// What a [`Sloppy`] storage gets wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Flaw {
    CreatesOverExisting,
    IgnoresTheAnnouncedSize,
    ListsInclusively,
    ListsInDisorder,
    DeleteOfAbsentFails,
    RangesAreInclusive,
    IgnoresRangesPastTheEnd,
    ListsPrefixesAsDirectories,
}

#[derive(Debug)]
struct Sloppy(MemoryStorage, Flaw);

#[async_trait]
impl ObjectStorage for Sloppy {
    async fn head(&self, key: &ObjectKey) -> Result<ObjectMeta> {
        self.0.head(key).await
    }

    async fn get(&self, key: &ObjectKey, range: GetRange) -> Result<GetObject> {
        match (self.1, range) {
            (Flaw::RangesAreInclusive, GetRange::Bounded { start, end }) => {
                self.0.get(key, GetRange::Bounded { start, end: end.saturating_add(1) }).await
            }
            (Flaw::IgnoresRangesPastTheEnd, GetRange::From(start)) => {
                let size = self.0.head(key).await?.size;
                self.0.get(key, GetRange::From(start.min(size))).await
            }
            _ => self.0.get(key, range).await,
        }
    }

    async fn put(&self, key: &ObjectKey, body: Body, mut options: PutOptions) -> Result<()> {
        match self.1 {
            Flaw::CreatesOverExisting => options.mode = PutMode::Overwrite,
            Flaw::IgnoresTheAnnouncedSize => options.size = PutSize::Unknown,
            _ => {}
        }
        self.0.put(key, body, options).await
    }

    async fn delete(&self, key: &ObjectKey) -> Result<()> {
        if self.1 == Flaw::DeleteOfAbsentFails {
            self.0.head(key).await?;
        }
        self.0.delete(key).await
    }

    fn list(&self, mut request: ListRequest) -> BoxStream<'static, Result<ListEntry>> {
        let by_directory = |entry: &ListEntry| entry.name().split('/').map(str::to_owned).collect::<Vec<_>>();
        match self.1 {
            Flaw::ListsInclusively => {
                request.start_after = request.start_after.map(|after| after[..after.len() - 1].to_owned());
                self.0.list(request)
            }
            Flaw::ListsInDisorder => {
                let listing = self.0.list(request);
                let sorted = async move {
                    let mut entries: Vec<_> = listing.try_collect().await?;
                    entries.sort_by_key(by_directory);
                    Ok::<_, Error>(futures::stream::iter(entries).map(Ok))
                };
                futures::stream::once(sorted).try_flatten().boxed()
            }
            Flaw::ListsPrefixesAsDirectories if !request.prefix.is_empty() && !request.prefix.ends_with('/') => {
                request.prefix.push('/');
                self.0.list(request)
            }
            _ => self.0.list(request),
        }
    }
}

#[tokio::test]
async fn each_flaw_is_noticed_by_the_case_about_it() {
    for (flaw, case) in [
        (Flaw::CreatesOverExisting, "of_many_creators_exactly_one_wins"),
        (Flaw::IgnoresTheAnnouncedSize, "a_body_shorter_than_announced_writes_nothing"),
        (Flaw::ListsInclusively, "a_listing_starts_after_a_key"),
        (Flaw::ListsInDisorder, "objects_are_listed_in_the_order_of_their_bytes"),
        (Flaw::DeleteOfAbsentFails, "deleting_what_is_absent_succeeds"),
        (Flaw::RangesAreInclusive, "ranges_are_half_open_offsets"),
        (Flaw::IgnoresRangesPastTheEnd, "a_range_that_begins_past_the_end_is_refused"),
        (Flaw::ListsPrefixesAsDirectories, "a_prefix_is_a_string_prefix"),
    ] {
        let noticed = failures_of(flaw, case).await;
        assert!(noticed.is_some_and(|reason| reason.starts_with("expected ")), "{flaw:?} by {case}");
    }
}

/// Why one case failed. An endless body would fill the memory of a storage that ignores sizes, so not all are run.
async fn failures_of(flaw: Flaw, name: &str) -> Option<String> {
    let case = cases().find(|case| case.name == name).expect(name);
    let storage = Arc::new(Sloppy(MemoryStorage::new(), flaw));
    let subject = Subject { storage, settings: Settings { race_rounds: 2, ..Settings::default() } };
    (case.run)(&subject).await.err().map(|Unmet(reason)| reason)
}

#[test]
fn every_case_has_a_name_of_its_own() {
    let names = case_names();
    let distinct: std::collections::BTreeSet<_> = names.iter().collect();
    assert_eq!(names.len(), distinct.len());
    assert!(names.len() >= 60, "{}", names.len());
}

#[test]
fn a_report_names_the_cases_that_failed() {
    let failed = vec![Failure { case: "deletes", reason: "expected x".to_owned() }];
    let report = Report { passed: vec!["a", "b"], failed };
    assert_eq!(report.to_string(), "2 cases passed, 1 failed\n  deletes: expected x");
}
