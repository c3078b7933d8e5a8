//! What a storage that dies makes of a store.
//!
//! `commits` is about commits and lost replies, `everywhere` about a whole life: checkpoints, cleanings, recoveries.

mod commits;
mod everywhere;
