//! A worker, as the orchestrator has it: started, broken, and ended whatever happens.

use std::{path::Path, process::Stdio, time::Duration};

use rustix::process::{Pid, Signal, kill_process};
use tokio::{
    process::{Child as Process, Command},
    time::timeout,
};

use crate::worker::Spec;

/// How long a worker may take to end in good order.
const ENDS_WITHIN: Duration = Duration::from_secs(30);

/// A running worker. Dropping it kills it; and should the orchestrator be killed, it dies too.
#[derive(Debug)]
pub(crate) struct Child {
    pub(crate) spec: Spec,
    process: Process,
}

impl Child {
    /// Starts it; what it says beside its record goes to a file in `directory`.
    pub(crate) fn start(spec: Spec, directory: &Path) -> Self {
        let says = std::fs::File::create(directory.join(format!("process-{}.log", spec.process))).unwrap();
        let mut command = Command::new(std::env::current_exe().unwrap());
        command.arg("worker").arg(serde_json::to_string(&spec).unwrap());
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(says).kill_on_drop(true);
        Self { process: command.spawn().unwrap(), spec }
    }

    pub(crate) fn signal(&self, signal: Signal) {
        let pid = self.process.id().unwrap_or_else(|| panic!("process {} has ended by itself", self.spec.process));
        kill_process(Pid::from_raw(pid.cast_signed()).unwrap(), signal).unwrap();
    }

    /// Kills it, and waits until it is gone.
    pub(crate) async fn kill(mut self) {
        self.still_runs();
        self.process.kill().await.unwrap();
    }

    /// Lets it end by itself.
    pub(crate) async fn end(mut self) {
        self.still_runs();
        self.signal(Signal::TERM);
        let status = timeout(ENDS_WITHIN, self.process.wait()).await;
        let status = status.unwrap_or_else(|_| panic!("process {} does not end", self.spec.process)).unwrap();
        assert!(status.success(), "process {}: {status}", self.spec.process);
    }

    pub(crate) fn still_runs(&mut self) {
        if let Some(status) = self.process.try_wait().unwrap() {
            panic!("process {} has ended by itself: {status}; see its log", self.spec.process);
        }
    }
}
