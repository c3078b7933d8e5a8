//! Storages from the outside. One test binary, because linking costs more than testing.

mod conformance;
mod listing;
mod power_loss;
