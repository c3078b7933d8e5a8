//! A scheduler of your own: a project may have executors that only its tasks use.
//!
//! `cargo run --example custom_scheduler`
//!
//! A scheduler is two functions of plain data, so it is tried without a server: hand it a task and executors, and look at
//! what it says. This one leaves what may start to the default, and chooses the place itself. It has no state of its own,
//! because every process that serves the runs asks it: which executor is whose, it reads from their labels.

use std::{collections::BTreeMap, error::Error};

use runyard::{
    datamanager::MemoryDataManager,
    executor::contract::{ExecutorId, TaskName},
    objectstorage::MemoryStorage,
    runservice::{
        RunService,
        model::{GroupPath, RunConfig, TaskConfig},
        scheduler::{DefaultScheduler, ExecutorView, Placement, Plan, RunView, Scheduler, WaitingReason, WaitingTask},
    },
};

/// Gives the tasks of a project to the executors that are labelled `project=<its root group>`, as long as one of them is
/// there; everybody else's tasks go to the executors without that label.
#[derive(Debug, Default)]
struct OwnExecutors(DefaultScheduler);

impl Scheduler for OwnExecutors {
    fn plan(&self, run: &RunView<'_>) -> Plan {
        self.0.plan(run)
    }

    fn place(&self, task: &WaitingTask, executors: &[ExecutorView]) -> Placement {
        let owner = |executor: &&ExecutorView| executor.labels.get("project").cloned();
        let own: Vec<_> = executors.iter().filter(|one| owner(one).as_deref() == Some(task.root.as_str())).collect();
        let candidates =
            if own.is_empty() { executors.iter().filter(|one| owner(one).is_none()).collect() } else { own };
        let candidates: Vec<ExecutorView> = candidates.into_iter().cloned().collect();
        if candidates.is_empty() && !executors.is_empty() {
            let message = "every executor belongs to another project".to_owned();
            return Placement::Wait(WaitingReason::Other { message });
        }
        self.0.place(task, &candidates)
    }
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn Error>> {
    let scheduler = OwnExecutors::default();
    let executors = [executor("shared", None)?, executor("theirs", Some("/project/2"))?];
    for (project, expected) in [("1", "shared"), ("2", "theirs")] {
        let placement = scheduler.place(&waiting(project)?, &executors);
        println!("a task of project {project} goes to {placement:?}");
        assert_eq!(placement, Placement::To(ExecutorId::parse(expected)?));
    }
    let placement = scheduler.place(&waiting("1")?, &executors[1..]);
    assert!(matches!(placement, Placement::Wait(_)), "{placement:?}");

    // What it says of a task that waits is what a user reads.
    let runs =
        RunService::builder(MemoryDataManager::new(), MemoryStorage::new()).scheduler(OwnExecutors::default()).build();
    let mut config = RunConfig::new("ci", GroupPath::new("project", "1")?);
    config.tasks.insert(TaskName::parse("test")?, TaskConfig::default());
    let run = runs.create(config.into()).await?;
    for waiting in runs.get(&run.id).await?.waiting_tasks {
        println!("task {} waits: {}", waiting.task, waiting.reason);
    }
    Ok(())
}

fn executor(name: &str, project: Option<&str>) -> Result<ExecutorView, Box<dyn Error>> {
    Ok(ExecutorView {
        id: ExecutorId::parse(name)?,
        name: name.to_owned(),
        alive: true,
        archs: Vec::new(),
        labels: project.map(|project| ("project".to_owned(), project.to_owned())).into_iter().collect(),
        allow_privileged_containers: false,
        not_ready: None,
        task_limit: 1,
        active: 0,
    })
}

/// A task that waits, as the engine puts it into the queue.
fn waiting(project: &str) -> Result<WaitingTask, Box<dyn Error>> {
    Ok(WaitingTask {
        run: format!("run-of-{project}").parse()?,
        task: TaskName::parse("test")?,
        attempt: 1,
        root: GroupPath::new("project", project)?,
        position: 1,
        arch: None,
        privileged: false,
        labels: BTreeMap::new(),
    })
}
