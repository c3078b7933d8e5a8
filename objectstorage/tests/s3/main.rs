//! Does [`S3Storage`] keep its promises on a real server?
//!
//! `RUNYARD_TEST_S3` is the URL of a server on which anybody may create buckets, such as the one that
//! `scripts/s3-server up DIR` starts; `scripts/test --real` does all of it.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking, in its helpers too")]

mod conforming;
mod opening;
mod server;
mod uploading;
