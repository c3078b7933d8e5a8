//! Several servers on one storage, with a real etcd between them.
//!
//! Each test starts an etcd and servers of its own and ends them. `RUNYARD_TEST_S3` is the URL of an S3 server on which
//! anybody may create buckets, `RUNYARD_TEST_DOCKER` that of an engine of containers, and `RUNYARD_TEST_TOOLBOX` the toolbox for
//! those; `scripts/test --real` starts them, and installs what is needed.

mod bucket;
mod containers;
mod killed;
#[path = "../serve/killed_executor.rs"]
mod killed_executor;
mod refusals;
mod servers;
#[path = "../serve/support.rs"]
#[expect(dead_code, reason = "the tests of one server use all of it")]
mod support;
