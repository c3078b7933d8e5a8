//! Would the simulation notice? It must fail with everything that is broken on purpose.
//!
//! Nothing of the product is touched: what is broken are the executors, the storage, the data manager and the scheduler
//! that it is given, and who reads from it.

use std::ops::Range;

use async_trait::async_trait;
use bytes::Bytes;
use futures::stream::BoxStream;
use runyard_datamanager::{
    Committed, DataManager, Page, Position, ReadSet, Result, Scan, Snapshot, Transaction, WalDataManager,
};
use runyard_runservice_core::{
    model::TaskStatus,
    scheduler::{Decision, DefaultScheduler, ExecutorView, Placement, Plan, RunView, Scheduler, WaitingTask},
};

use crate::{
    profile::Profile,
    simulate::{simulate_all, simulate_in},
};

/// Something that is broken on purpose.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Variant {
    /// Executors begin before their acceptance is acknowledged.
    ExecutorStartsEarly,
    /// Executors go on with what is not theirs any more.
    ExecutorIgnoresFence,
    /// Executors forget what they did when they crash.
    ExecutorForgetsJournal,
    /// The scheduler gives executors one task too many.
    SchedulerOverbooks,
    /// The scheduler starts whatever is open.
    SchedulerIgnoresConditions,
    /// The storage loses bytes of logs.
    StorageDropsByte,
    /// The data manager lets every transaction pass, whatever changed meanwhile.
    DataChecksNothing,
    /// A consumer of events misses some.
    ConsumerSkips,
}

impl Variant {
    const ALL: [Self; 8] = [
        Self::ExecutorStartsEarly,
        Self::ExecutorIgnoresFence,
        Self::ExecutorForgetsJournal,
        Self::SchedulerOverbooks,
        Self::SchedulerIgnoresConditions,
        Self::StorageDropsByte,
        Self::DataChecksNothing,
        Self::ConsumerSkips,
    ];
}

/// Whichever scheduler there is.
#[derive(Debug)]
pub(crate) struct Chosen(pub(crate) Box<dyn Scheduler>);

impl Scheduler for Chosen {
    fn plan(&self, run: &RunView<'_>) -> Plan {
        self.0.plan(run)
    }

    fn place(&self, task: &WaitingTask, executors: &[ExecutorView]) -> Placement {
        self.0.place(task, executors)
    }
}

/// A scheduler that takes every limit for one more.
#[derive(Debug)]
pub(crate) struct Overbooking(pub(crate) DefaultScheduler);

impl Scheduler for Overbooking {
    fn plan(&self, run: &RunView<'_>) -> Plan {
        self.0.plan(run)
    }

    fn place(&self, task: &WaitingTask, executors: &[ExecutorView]) -> Placement {
        let more = |view: &ExecutorView| ExecutorView { task_limit: view.task_limit + 1, ..view.clone() };
        self.0.place(task, &executors.iter().map(more).collect::<Vec<_>>())
    }
}

/// A scheduler that starts everything that the default one would skip.
#[derive(Debug)]
pub(crate) struct Unconditional(pub(crate) DefaultScheduler);

impl Scheduler for Unconditional {
    fn plan(&self, run: &RunView<'_>) -> Plan {
        let mut plan = self.0.plan(run);
        for (name, decision) in &mut plan {
            let is_new = run.state.tasks.get(name).is_some_and(|task| task.status == TaskStatus::NotStarted);
            if *decision == Decision::Skip && is_new {
                *decision = Decision::Start;
            }
        }
        plan
    }

    fn place(&self, task: &WaitingTask, executors: &[ExecutorView]) -> Placement {
        self.0.place(task, executors)
    }
}

/// A data manager that checks nothing. It knows no leaders, so it is given to a process that is alone.
#[derive(Debug)]
pub(crate) struct Reckless(pub(crate) WalDataManager);

#[async_trait]
impl DataManager for Reckless {
    fn snapshot(&self) -> Snapshot {
        self.0.snapshot()
    }

    async fn get(&self, at: &Snapshot, collection: &str, key: &[u8]) -> Result<Option<Bytes>> {
        self.0.get(at, collection, key).await
    }

    async fn scan(&self, at: &Snapshot, scan: &Scan) -> Result<Page> {
        self.0.scan(at, scan).await
    }

    async fn commit(&self, transaction: Transaction) -> Result<Position> {
        self.0.commit(Transaction { reads: ReadSet::default(), ..transaction }).await
    }

    fn follow(&self, after: Position) -> BoxStream<'static, Result<Committed>> {
        self.0.follow(after)
    }

    async fn wait_for(&self, position: Position) -> Result<()> {
        self.0.wait_for(position).await
    }
}

/// How many seeds it may take.
const SEEDS: Range<u64> = 0..1_000;

#[test]
fn everything_that_is_broken_on_purpose_is_noticed() {
    let mut survivors = Vec::new();
    for variant in Variant::ALL {
        match simulate_all(SEEDS, Some(variant)) {
            Ok(_) => survivors.push(variant),
            Err((seed, failure)) => {
                let failure: String = failure.chars().take(200).collect();
                println!("{variant:?} is noticed by seed {seed}: {failure}");
                let whole = simulate_in(Profile::of(seed).for_variant(Some(variant)), None, false);
                assert_eq!(whole.failure, None, "what is not broken passes the same seed");
            }
        }
    }
    assert!(survivors.is_empty(), "nothing is wrong with {survivors:?}, says the simulation");
}
