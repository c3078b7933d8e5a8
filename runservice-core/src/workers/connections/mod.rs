//! When does a row say that an executor is connected, and to which process?
//!
//! Each process keeps the rows of its own connections ([`own`]), and a role that it leads as long as it lives
//! ([`vouch`]). One that dies leaves its rows behind: the leader waits for the role of every process that rows name, and
//! clears what it left when it gets it ([`others`]).

mod decide;
pub(super) mod others;
pub(super) mod own;
pub(super) mod rows;
pub(super) mod vouch;
