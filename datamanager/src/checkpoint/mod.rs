//! How does what is in memory come into data files, and when?

pub(crate) mod cut;
pub(crate) mod parts;
pub(crate) mod plan;
#[cfg(test)]
mod simulation;
