//! What should happen next to a run?
//!
//! [`RunService`] keeps runs of tasks durable, places the tasks on executors, and keeps their output. A host creates runs
//! from [`RunConfig`](model::RunConfig)s, asks what became of them, and reads their logs:
//!
//! ```
//! use runyard_datamanager::MemoryDataManager;
//! use runyard_executor_core::contract::{RunStep, Step, Steps, TaskName};
//! use runyard_objectstorage::MemoryStorage;
//! use runyard_runservice_core::{
//!     RunService,
//!     model::{GroupPath, RunConfig, RunPhase, TaskConfig},
//! };
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let runs = RunService::builder(MemoryDataManager::new(), MemoryStorage::new()).build();
//!
//! let mut config = RunConfig::new("ci", GroupPath::new("project", "demo")?.child("branch", "main")?);
//! let step = RunStep { name: "test".into(), command: "cargo test".into(), ..RunStep::default() };
//! let task = TaskConfig { steps: Steps(vec![Step::Run(step)]), ..TaskConfig::default() };
//! config.tasks.insert(TaskName::parse("test")?, task);
//! let run = runs.create(config.into()).await?;
//!
//! // Durable already. It goes on once `runs.run(..)` is polled and an executor is connected to `runs.client()`.
//! let detail = runs.get(&run.id).await?;
//! assert_eq!(detail.run.phase, RunPhase::Running);
//! assert_eq!(detail.waiting_tasks[0].reason.to_string(), "no executor is registered");
//! # Ok(())
//! # }
//! ```
//!
//! Deciding ([`engine`], [`scheduler`]) is pure; a host may replace the [`Scheduler`](scheduler::Scheduler).

mod archives;
mod caches;
mod client;
mod clock;
mod credentials;
pub mod engine;
mod error;
mod executors;
#[cfg(feature = "http")]
pub mod http;
mod ids;
mod layout;
mod logs;
mod metrics;
pub mod model;
mod peers;
mod process;
mod references;
mod rows;
pub mod scheduler;
pub mod sealer;
mod service;
mod settings;
mod workers;

pub use clock::{Clock, SystemClock};
pub use credentials::{CreatedJoinToken, JoinToken, NewJoinToken};
pub use error::{Error, ErrorKind, Result};
pub use ids::IdSource;
pub use layout::RUN_DATA;
pub use logs::{LogLine, LogPage, LogPlace};
pub use metrics::Metrics;
pub use peers::Peers;
pub use service::{
    EventSequence, ExecutorDetail, ExecutorState, ExecutorTask, InvalidSequence, LogRef, LogRequest, NewRun,
    RestartPoint, RunDetail, RunFilter, RunPage, RunService, RunServiceBuilder, SequencedEvent, WaitingTaskView,
};
pub use settings::Settings;
