//! Does [`DockerDriver`](runyard_executor_core::driver::DockerDriver) keep its promises on real engines?
//!
//! `scripts/test --real` starts the engines, builds the toolbox, and says where they are.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking, in its helpers too")]

mod conforming;
mod engines;
