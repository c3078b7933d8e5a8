//! How is a task executed?
//!
//! [`contract`] is what a run service and an executor say to each other.

pub mod contract;
