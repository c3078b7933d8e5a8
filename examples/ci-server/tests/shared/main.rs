//! Several servers on one storage, with a real etcd between them.
//!
//! Each test starts an etcd and servers of its own and ends them. `RUNYARD_TEST_S3` is the URL of an S3 server on which
//! anybody may create buckets; `scripts/test --real` starts one, and installs what is needed.

mod bucket;
mod killed;
mod refusals;
mod servers;
#[path = "../serve/support.rs"]
#[expect(dead_code, reason = "the tests of one server use all of it")]
mod support;
