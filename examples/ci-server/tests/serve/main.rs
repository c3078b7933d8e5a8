//! The server as a program of its own, from the outside.

mod data;
mod executor;
mod full_disk;
mod kill;
mod killed_executor;
mod push;
mod refusals;
mod supervisor;
mod support;
mod takeover;
