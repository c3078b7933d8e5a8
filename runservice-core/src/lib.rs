//! What should happen next to a run?

pub mod engine;
pub mod model;
pub mod scheduler;
