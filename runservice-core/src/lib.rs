//! What should happen next to a run?

mod caches;
mod client;
mod clock;
pub mod engine;
mod error;
mod executors;
mod ids;
mod layout;
mod logs;
pub mod model;
mod rows;
pub mod scheduler;
mod service;
mod workers;

pub use clock::{Clock, SystemClock};
pub use error::{Error, ErrorKind, Result};
pub use ids::IdSource;
pub use layout::RUN_DATA;
pub use service::{
    EventSequence, LogRequest, NewRun, RunDetail, RunFilter, RunPage, RunService, RunServiceBuilder, SequencedEvent,
    WaitingTaskView,
};
