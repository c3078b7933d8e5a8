//! The executor contract and the management API over real sockets, on loopback; no clock is waited for.
//!
//! `contract.rs` is one suite for every way to a run service: in process, over HTTP, and over HTTP through a network that
//! breaks (`proxy.rs`). A broken one prints its seed; `RUNYARD_SEED=<seed>` draws the same again.

mod contract;
mod documented;
mod executors;
mod hand;
mod management;
mod proxy;
mod schema;
mod security;
mod world;
