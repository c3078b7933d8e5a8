//! Does [`DockerDriver`](runyard_executor_core::driver::DockerDriver) keep its promises on real engines?
//!
//! `scripts/test --real` starts the engines, builds the toolbox, and says where they are.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking, in its helpers too")]

mod conforming;
mod costs;
mod crashes;
mod engines;
#[path = "../executor/house.rs"]
#[expect(dead_code, reason = "the tests of the process driver use all of it")]
mod house;
mod outages;
mod pods;
mod refusals;
mod registry;
mod secrets;
mod stopping;
#[path = "../executor/toolbox.rs"]
mod toolbox;
