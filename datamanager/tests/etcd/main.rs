//! Does [`EtcdCoordinator`](runyard_datamanager::coordinator::EtcdCoordinator) keep its promises with a real etcd,
//! whatever happens to it?
//!
//! Each test starts processes of its own, breaks them and ends them. They are installed by `scripts/etcd install`;
//! `scripts/test --real` does all of it. What a coordinator says of it is its status.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking, in its helpers too")]

mod conforming;
mod connecting;
mod contenders;
mod data;
mod members;
mod namespaces;
mod network;
mod outages;
mod proxy;
mod server;
mod service;
