//! How is a task executed?
//!
//! [`contract`] is what a run service and an executor say to each other. [`driver`] makes the pods in which tasks run.
//! [`Executor`] takes tasks from a run service, executes them in the pods of a driver, and survives a restart.

pub mod contract;
pub mod driver;
mod executor;
#[cfg(feature = "http")]
pub mod http;
#[cfg(feature = "test-util")]
pub mod testing;

pub use executor::{Executor, ExecutorBuilder, ExecutorError, Settings};
pub use runyard_toolbox::{TOOLBOX_WORD, run_if_invoked as run_toolbox_if_invoked};
