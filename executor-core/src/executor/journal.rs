//! What does an executor remember of its attempts when it is killed?
//!
//! One JSON file per attempt, `journal/<task>.<attempt>.json`. A file holds secrets (the task's environment), so only
//! the executor's user can read it, and it is removed with the task.

use std::{
    fs, io,
    path::{Path, PathBuf},
    time::Duration,
};

use serde::{Deserialize, Serialize};

use super::{home, progress::Progress, uptime::Moment};
use crate::{
    contract::{HeldTask, TaskSpec},
    driver::PodId,
};

/// What is known of one attempt. The format is frozen by a test.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Entry {
    pub(super) task: TaskSpec,
    pub(super) pod: PodId,
    /// How often an executor has taken it up again. Reports count on from here.
    pub(super) generation: u32,
    pub(super) stage: Stage,
    /// The boot of the machine that it was taken in.
    pub(super) boot: String,
    pub(super) progress: Progress,
    /// When its pod was there; its timeout counts from here.
    pub(super) pod_started: Option<Moment>,
}

/// What may have happened, whatever the journal could not say any more.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Stage {
    /// Its acceptance was not acknowledged. Nothing was started, as long as this is the same boot of the machine: the
    /// next stages reach the disk lazily.
    Assigned,
    /// There may be a pod, and the first step may run.
    Started,
}

impl Entry {
    pub(super) fn held(&self) -> HeldTask {
        HeldTask { task: self.task.id.clone(), attempt: self.task.attempt }
    }

    /// How long the task may take; none: no limit, which a definition may also say with 0.
    pub(super) fn task_limit(&self) -> Option<Duration> {
        self.task.timeout.filter(|limit| !limit.is_zero())
    }
}

/// The files of all attempts.
#[derive(Clone, Debug)]
pub(super) struct Journal {
    dir: PathBuf,
}

impl Journal {
    pub(super) fn new(home: &Path) -> Self {
        Self { dir: home.join("journal") }
    }

    fn file(&self, held: &HeldTask) -> PathBuf {
        self.dir.join(format!("{}.{}.json", held.task, held.attempt))
    }

    /// Survives a crash of this process. A few microseconds, so it may be called from async code.
    pub(super) fn write(&self, entry: &Entry) -> io::Result<()> {
        let json = serde_json::to_vec(entry).map_err(io::Error::other)?;
        home::write_atomically(&self.file(&entry.held()), &json)
    }

    /// Lets what was written survive a crash of the machine.
    pub(super) async fn sync(&self, held: &HeldTask) -> io::Result<()> {
        let file = self.file(held);
        tokio::task::spawn_blocking(move || home::sync(&file)).await.map_err(io::Error::other)?
    }

    /// Forgets an attempt.
    pub(super) fn remove(&self, held: &HeldTask) -> io::Result<()> {
        match fs::remove_file(self.file(held)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            _ => Ok(()),
        }
    }

    /// Every attempt that is remembered. What cannot be read is left where it is, and logged.
    pub(super) fn entries(&self) -> io::Result<Vec<Entry>> {
        let mut entries = Vec::new();
        for file in fs::read_dir(&self.dir)? {
            let path = file?.path();
            if path.extension().is_none_or(|extension| extension != "json") {
                // A file that a crash left half-written: the one it was to replace counts.
                let _ = fs::remove_file(&path);
                continue;
            }
            match serde_json::from_slice(&fs::read(&path)?) {
                Ok(entry) => entries.push(entry),
                Err(error) => tracing::error!(file = %path.display(), %error, "cannot read a journal entry"),
            }
        }
        Ok(entries)
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;
    use crate::executor::samples;

    fn entry() -> Entry {
        let task = samples::task("t", ["true"]);
        Entry {
            progress: Progress::new(&task),
            task,
            pod: PodId::parse("pod-1").unwrap(),
            generation: 2,
            stage: Stage::Started,
            boot: "b".into(),
            pod_started: serde_json::from_str(r#"{"boot":"b","since_boot":{"secs":1,"nanos":2}}"#).unwrap(),
        }
    }

    #[test]
    fn entries_are_found_again_and_private() {
        let home = tempfile::tempdir().unwrap();
        fs::create_dir(home.path().join("journal")).unwrap();
        let journal = Journal::new(home.path());
        journal.write(&entry()).unwrap();
        fs::write(home.path().join("journal/t.1.json.new"), "half").unwrap();
        assert_eq!(journal.entries().unwrap(), [entry()]);
        let mode = fs::metadata(home.path().join("journal/t.1.json")).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        journal.remove(&entry().held()).unwrap();
        journal.remove(&entry().held()).unwrap();
        assert_eq!(fs::read_dir(home.path().join("journal")).unwrap().count(), 0);
    }

    #[test]
    fn the_format_is_frozen() {
        let mut json = serde_json::to_value(entry()).unwrap();
        json.as_object_mut().unwrap().remove("task");
        assert_eq!(
            json,
            serde_json::json!({
                "pod": "pod-1", "generation": 2, "stage": "started",
                "progress": {"setup": {"status": "not_started"}, "steps": [{"status": "not_started"}], "end": null},
                "boot": "b",
                "pod_started": {"boot": "b", "since_boot": {"secs": 1, "nanos": 2}},
            })
        );
    }
}
