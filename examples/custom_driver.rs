//! A driver of your own: pods are wherever you can start a program.
//!
//! `cargo run --example custom_driver --features conformance`
//!
//! An executor asks much of a pod: steps that outlive it, output that can be read again from any byte, archives. All of that
//! is the toolbox's work, and the driver only says how the toolbox is started in a pod (`Dial`): over ssh, by the command
//! line of a scheduler, in a virtual machine. Here it is started right here, with a directory as its home: replace
//! `Place::dial` by your way in, and `Local` by where your pods are written down. The suite tells whether it works.

use std::{error::Error, fs, io, path::PathBuf, process::Stdio, sync::Arc, time::Duration};

use async_trait::async_trait;
use futures::StreamExt as _;
use runyard::executor::{
    TOOLBOX_WORD,
    contract::{Arch, ByteStream, Container, ExecutorId, TaskId},
    driver::{
        Attachment, DriverError, ExecutorDriver, Pod, PodId, PodSpec, Result, SetupLog, StepSpec, ToolboxCall,
        ToolboxRun,
        bridge::{BridgedPod, Dial, Streams},
        conformance,
    },
    run_toolbox_if_invoked,
};
use serde::{Deserialize, Serialize};
use tokio::process::Command;
use tokio_util::{io::ReaderStream, sync::CancellationToken};

/// Pods are directories below `root`.
#[derive(Debug)]
struct Local {
    root: PathBuf,
}

/// What is written down of a pod, so that another process finds it.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct Record {
    id: PodId,
    task: TaskId,
    attempt: u32,
    executor: ExecutorId,
    lost_after: Duration,
}

#[derive(Debug)]
struct LocalPod {
    record: Record,
    dir: PathBuf,
    bridged: BridgedPod,
}

/// One pod, as a place to start the toolbox in.
#[derive(Debug)]
struct Place {
    dir: PathBuf,
    pod: PodId,
}

#[async_trait]
impl Dial for Place {
    async fn dial(&self) -> Result<Streams> {
        if !self.dir.exists() {
            return Err(DriverError::Gone { message: "its directory was removed".to_owned() });
        }
        let mut bridge = Command::new(std::env::current_exe().map_err(failed("finding the toolbox"))?)
            .args([TOOLBOX_WORD, "bridge"])
            .arg(self.dir.join("steps"))
            .arg(self.pod.as_str())
            .env("HOME", self.dir.join("home"))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .map_err(failed("starting the toolbox"))?;
        let streams = bridge.stdin.take().zip(bridge.stdout.take());
        let (input, output) =
            streams.ok_or_else(|| DriverError::failed("starting the toolbox", "it has no streams"))?;
        Ok(Streams { input: Box::pin(input), output: ReaderStream::new(output).boxed() })
    }
}

impl Local {
    fn pod(&self, record: Record) -> Arc<dyn Pod> {
        let dir = self.root.join(record.id.as_str());
        let place = Place { dir: dir.clone(), pod: record.id.clone() };
        Arc::new(LocalPod { bridged: BridgedPod::new(Arc::new(place), None, record.lost_after), record, dir })
    }
}

#[async_trait]
impl ExecutorDriver for Local {
    async fn prepare(&self, _executor: &ExecutorId) -> Result<()> {
        fs::create_dir_all(&self.root).map_err(failed("making the directory of pods"))
    }

    async fn archs(&self) -> Result<Vec<Arch>> {
        Ok(Arch::current().into_iter().collect())
    }

    async fn create_pod(&self, spec: PodSpec, log: &dyn SetupLog, cancel: &CancellationToken) -> Result<Arc<dyn Pod>> {
        if spec.user.is_some() || spec.containers.len() > 1 {
            let message = "this driver has one place and one user for a task".to_owned();
            return Err(DriverError::Refused { message });
        }
        if cancel.is_cancelled() {
            return Err(DriverError::Cancelled { doing: "making the pod" });
        }
        log.line("making a directory");
        let PodSpec { id, task, attempt, executor, lost_after, .. } = spec;
        let record = Record { id, task, attempt, executor, lost_after };
        let dir = self.root.join(record.id.as_str());
        let json = serde_json::to_vec(&record).map_err(|error| DriverError::failed("writing the pod down", error))?;
        // Named last, so that whoever looks for pods finds whole ones.
        let made = fs::create_dir_all(dir.join("home"))
            .and_then(|()| fs::write(dir.join("record.new"), json))
            .and_then(|()| fs::rename(dir.join("record.new"), dir.join("record")));
        made.map_err(failed("making the pod"))?;
        Ok(self.pod(record))
    }

    async fn pods(&self, owner: &ExecutorId) -> Result<Vec<Arc<dyn Pod>>> {
        let mut pods = Vec::new();
        for entry in fs::read_dir(&self.root).map_err(failed("listing pods"))? {
            let file = entry.map_err(failed("listing pods"))?.path().join("record");
            // One that is half made, or just being removed, is nobody's.
            let Ok(json) = fs::read(file) else { continue };
            let record: Record = serde_json::from_slice(&json).map_err(|e| DriverError::failed("reading a pod", e))?;
            if record.executor == *owner {
                pods.push(self.pod(record));
            }
        }
        Ok(pods)
    }
}

#[async_trait]
impl Pod for LocalPod {
    fn id(&self) -> &PodId {
        &self.record.id
    }

    fn task(&self) -> &TaskId {
        &self.record.task
    }

    fn attempt(&self) -> u32 {
        self.record.attempt
    }

    fn executor(&self) -> &ExecutorId {
        &self.record.executor
    }

    async fn create_dir(&self, path: &str) -> Result<String> {
        self.bridged.create_dir(path).await
    }

    async fn start_step(&self, spec: StepSpec) -> Result<()> {
        self.bridged.start_step(spec).await
    }

    async fn attach(&self, step: u32, offset: u64) -> Result<Box<dyn Attachment>> {
        self.bridged.attach(step, offset).await
    }

    async fn stop(&self, grace: Duration) -> Result<()> {
        self.bridged.stop(grace).await
    }

    async fn remove(&self) -> Result<()> {
        self.bridged.stop(Duration::ZERO).await?;
        match fs::remove_dir_all(&self.dir) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(failed("removing the pod")(error)),
            _ => Ok(()),
        }
    }

    async fn toolbox(&self, call: ToolboxCall, stdin: Option<ByteStream>) -> Result<ToolboxRun> {
        self.bridged.toolbox(call, stdin).await
    }
}

fn failed(doing: &'static str) -> impl FnOnce(io::Error) -> DriverError {
    move |error| DriverError::failed(doing, error)
}

fn main() -> Result<(), Box<dyn Error>> {
    // This program is also the toolbox.
    run_toolbox_if_invoked();
    let dir = tempfile::tempdir()?;
    let root = dir.path().join("pods");
    let check = conformance::check(move || Arc::new(Local { root: root.clone() }), Container::default(), true);
    tokio::runtime::Runtime::new()?.block_on(check);
    println!("the driver keeps its {} promises", conformance::cases().len());
    Ok(())
}
