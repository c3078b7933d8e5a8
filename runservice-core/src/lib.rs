//! What should happen next to a run?

pub mod model;
