//! Which steps were started in a pod, and how does everything that they left end?

use std::fs::{self, DirBuilder};
use std::io::{self, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::stop;
use super::{ProcessId, SPEC_FILE, StepDir, SuperviseSpec};

/// The name of the file, in a step directory, that holds what the shell of the step reads: see
/// [`StepCommand::Shell`](crate::StepCommand::Shell).
pub const COMMAND_FILE: &str = "command";

/// The step directories of one pod, each named by the number of its step.
///
/// Whoever calls has to be in the pid namespace of the pod. All calls block, those that end processes until these have
/// ended.
#[derive(Clone, Debug)]
pub struct StepDirs {
    path: PathBuf,
}

impl StepDirs {
    /// The steps below the directory `path`, which is made by the first of them if need be.
    pub fn new(path: impl Into<PathBuf>) -> Self {
        Self { path: path.into() }
    }

    /// Where the directory of a step is, whether there is one or not.
    #[must_use]
    pub fn path_of(&self, step: u32) -> PathBuf {
        self.path.join(step.to_string())
    }

    /// Makes the directory of a step, for `supervise` to be started on it. `None` if there was one before: the step was
    /// started already.
    ///
    /// # Errors
    /// If the files cannot be written.
    pub fn create(&self, step: u32, command: &str, spec: &SuperviseSpec) -> io::Result<Option<StepDir>> {
        // Others than its owner pass through it to the file of their command, and see nothing.
        match DirBuilder::new().mode(0o711).create(&self.path) {
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error),
            Err(_) => {}
            Ok(()) => fs::set_permissions(&self.path, fs::Permissions::from_mode(0o711))?,
        }
        let dir = self.path_of(step);
        match DirBuilder::new().mode(0o700).create(&dir) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => return Ok(None),
            made => made?,
        }
        write_private(&dir.join(COMMAND_FILE), command.as_bytes())?;
        write_private(&dir.join(SPEC_FILE), &serde_json::to_vec(spec)?)?;
        StepDir::open(dir).map(Some)
    }

    /// The step directory of a step that was started, or may have been. `None` if it never was and never will be: what
    /// an executor left that was killed before it had started the supervisor is removed.
    ///
    /// # Errors
    /// If the directory cannot be read or written.
    pub fn find(&self, step: u32) -> io::Result<Option<StepDir>> {
        let dir = match StepDir::open(self.path_of(step)) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            opened => opened?,
        };
        if dir.pids()?.is_some() || !dir.withdraw()? {
            return Ok(Some(dir));
        }
        fs::remove_dir_all(dir.path())?;
        Ok(None)
    }

    /// The directories of all steps.
    ///
    /// # Errors
    /// If they cannot be listed.
    pub fn all(&self) -> io::Result<Vec<StepDir>> {
        match fs::read_dir(&self.path) {
            Ok(entries) => entries.map(|entry| StepDir::open(entry?.path())).collect(),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
            Err(error) => Err(error),
        }
    }

    /// Ends the steps that run: asks their supervisors, which kill after `grace`. A supervisor that cannot be asked, or
    /// takes much longer than that, is left for [`kill_recorded`](Self::kill_recorded).
    ///
    /// # Errors
    /// If the directories cannot be read.
    pub fn stop(&self, grace: Duration) -> io::Result<()> {
        let running: Vec<_> = self.all()?.into_iter().filter(|dir| !matches!(dir.exit(), Ok(Some(_)))).collect();
        stop::stop(&running, grace);
        Ok(())
    }

    /// Whether the supervisors know that nothing of any step runs: true only if nothing but steps ever ran in the pod.
    ///
    /// # Errors
    /// If the directories cannot be read.
    pub fn nothing_left(&self) -> io::Result<bool> {
        for dir in self.all()? {
            if !dir.exit()?.is_some_and(|status| status.nothing_left) {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// Kills what is recorded of all steps and still runs, their supervisors too, and returns what could not be killed. What
    /// has left its step's tree is not found here: see [`kill_marked`](crate::kill_marked).
    ///
    /// # Errors
    /// As [`StepDir::kill_orphans`].
    pub fn kill_recorded(&self) -> io::Result<Vec<ProcessId>> {
        let mut left = Vec::new();
        for dir in self.all()? {
            left.extend(dir.kill_orphans()?);
        }
        Ok(left)
    }
}

fn write_private(path: &Path, content: &[u8]) -> io::Result<()> {
    fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?.write_all(content)
}
