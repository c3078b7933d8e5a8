//! A run service in memory, for tests of executors and drivers.

mod fake;

pub use fake::{FakeRunService, Stored};
