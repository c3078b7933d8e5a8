//! The server as a program of its own, from the outside.

mod data;
mod full_disk;
mod kill;
mod push;
mod refusals;
mod supervisor;
mod support;
mod takeover;
