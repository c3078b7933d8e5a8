//! What does a step directory tell, whether its supervisor lives or not?

use std::collections::BTreeSet;
use std::io;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::kill::kill_until_gone;
use super::processes::{self, Process};
use super::socket;
use super::spec::{CLAIMED_FILE, EXIT_FILE, PID_FILE, SPEC_FILE, SURVIVORS_FILE};
use super::spool::SpoolChunks;
use super::{ExitStatus, PidFile, ProcessId, clock, files};

/// How long a supervisor may take from its start to its socket, and from its last word to its exit.
const PATIENCE: Duration = Duration::from_secs(5);

/// Between two looks at a supervisor that does neither listen nor has ended: nothing wakes one for that.
const LOOK_AGAIN: Duration = Duration::from_millis(10);

/// The directory of a step, seen by an executor in the same pid namespace.
///
/// While the supervisor serves, talk to it with [`connect`](Self::connect). When that fails, or the connection ends
/// without an `Exit` frame, the files have the rest: first [`exit`](Self::exit), then [`read_spool`](Self::read_spool).
/// No exit and no living supervisor means that the supervisor was killed: [`kill_orphans`](Self::kill_orphans).
///
/// ```no_run
/// let step = runyard_toolbox::StepDir::open("/var/lib/ci/pods/p1/steps/0")?;
/// if let Some(status) = step.exit()? {
///     for chunk in step.read_spool(0)? {
///         println!("{} bytes", chunk?.bytes.len());
///     }
///     println!("ended with {}", status.code);
/// }
/// # Ok::<(), std::io::Error>(())
/// ```
#[derive(Debug, Clone)]
pub struct StepDir {
    path: PathBuf,
}

/// Where the rest of the output of a step is.
#[derive(Debug)]
pub enum OutputSource {
    /// Its supervisor sends it.
    Supervisor(UnixStream),
    /// In the spool, all of it: the step has ended.
    Ended(ExitStatus),
    /// In the spool, what there is of it: the supervisor is gone, and did not say how the step ended. Something of the
    /// step may still run.
    Gone,
}

impl StepDir {
    /// The step in the directory `path`.
    ///
    /// # Errors
    /// If there is no such directory.
    pub fn open(path: impl Into<PathBuf>) -> io::Result<Self> {
        let path = path.into();
        if !std::fs::metadata(&path)?.is_dir() {
            return Err(io::Error::new(io::ErrorKind::NotADirectory, format!("{} is no directory", path.display())));
        }
        Ok(Self { path })
    }

    /// Where it is.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// How the step ended; `None` if it has not, or its supervisor was killed. Once there is a status, all of the
    /// output is in the spool.
    ///
    /// # Errors
    /// If the file cannot be read.
    pub fn exit(&self) -> io::Result<Option<ExitStatus>> {
        files::read_json(&self.path, EXIT_FILE)
    }

    /// The output from `offset` on, as far as it is in the spool now.
    ///
    /// # Errors
    /// `InvalidInput` if `offset` was acknowledged and is gone.
    pub fn read_spool(&self, offset: u64) -> io::Result<SpoolChunks> {
        SpoolChunks::open(&self.path, offset)
    }

    /// The recorded processes; `None` if the step was never started.
    ///
    /// # Errors
    /// If the file cannot be read.
    pub fn pids(&self) -> io::Result<Option<PidFile>> {
        files::read_json(&self.path, PID_FILE)
    }

    /// The processes that outlived the step when it ended by itself.
    ///
    /// # Errors
    /// If the file cannot be read.
    pub fn survivors(&self) -> io::Result<Vec<ProcessId>> {
        Ok(files::read_json(&self.path, SURVIVORS_FILE)?.unwrap_or_default())
    }

    /// Takes the step back if no supervisor has begun with it, and says whether that is so: then none ever will.
    ///
    /// An executor that was killed between preparing a step and starting its supervisor leaves such a step.
    ///
    /// # Errors
    /// If the directory cannot be read or written.
    pub fn withdraw(&self) -> io::Result<bool> {
        match std::fs::remove_file(self.path.join(SPEC_FILE)) {
            Ok(()) => return Ok(true),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(error),
        }
        // Either the executor was killed before it had written the specification, or a supervisor has claimed it. That
        // one writes its pids before it removes the claimed file, so they are looked for last.
        Ok(!self.path.join(CLAIMED_FILE).try_exists()? && self.pids()?.is_none())
    }

    /// Whether the supervisor is a living process. After the end of a step it may live on, without a socket, to take
    /// the output of processes in the background.
    ///
    /// # Errors
    /// If the pid file cannot be read.
    pub fn is_supervisor_alive(&self) -> io::Result<bool> {
        let Some(pids) = self.pids()? else { return Ok(false) };
        let found = processes::find(pids.supervisor.pid);
        Ok(pids.boot_id == processes::boot_id()
            && found.is_some_and(|process| process.id == pids.supervisor && !process.zombie))
    }

    /// Connects to the supervisor.
    ///
    /// # Errors
    /// `NotFound` or `ConnectionRefused` if no supervisor listens.
    pub fn connect(&self) -> io::Result<UnixStream> {
        socket::connect(&self.path)
    }

    /// Finds out where the rest of the output is. Blocks for some seconds where a supervisor neither listens nor ends.
    ///
    /// # Errors
    /// If the files cannot be read.
    pub fn output_source(&self) -> io::Result<OutputSource> {
        let give_up = clock::now() + PATIENCE;
        loop {
            if let Ok(stream) = self.connect() {
                return Ok(OutputSource::Supervisor(stream));
            }
            if let Some(status) = self.exit()? {
                return Ok(OutputSource::Ended(status));
            }
            let is_dead = self.pids()?.is_some() && !self.is_supervisor_alive()?;
            if is_dead || clock::now() >= give_up {
                // It may have ended properly between the two looks.
                return Ok(self.exit()?.map_or(OutputSource::Gone, OutputSource::Ended));
            }
            clock::pause(LOOK_AGAIN);
        }
    }

    /// Kills what is recorded of the step and still runs: the supervisor, the command with its session and process
    /// group, survivors, and everything below them. Returns those that could not be killed.
    ///
    /// A process is killed only if its start time is the recorded one, or it is in the session or group that the
    /// command leads. Blocks until they have ended. An orphan that left both is not found here: see
    /// [`kill_marked`](crate::kill_marked).
    ///
    /// # Errors
    /// If the files or `/proc` cannot be read, or the kernel has no pidfd (Linux before 5.3).
    pub fn kill_orphans(&self) -> io::Result<Vec<ProcessId>> {
        let Some(pids) = self.pids()? else { return Ok(Vec::new()) };
        if pids.boot_id != processes::boot_id() {
            return Ok(Vec::new());
        }
        if self.exit()?.is_some_and(|status| status.nothing_left) {
            // Not even looked for: on a busy host there are many processes that are not of the step.
            let supervisor = || processes::find(pids.supervisor.pid).filter(|process| process.id == pids.supervisor);
            return kill_until_gone(|| Ok(supervisor().into_iter().collect()));
        }
        let mut recorded = BTreeSet::from([pids.supervisor]);
        recorded.extend(pids.command);
        recorded.extend(self.survivors()?);
        kill_until_gone(|| Ok(still_there(&processes::all()?, &recorded, pids.command)))
    }
}

fn still_there(all: &[Process], recorded: &BTreeSet<ProcessId>, command: Option<ProcessId>) -> Vec<Process> {
    let is_recorded = |process: &Process| recorded.contains(&process.id);
    // While a group or session lives, no new process gets its id. So if the command's pid is another process now, the
    // group that the command led is gone.
    let command = command.filter(|command| {
        all.iter().all(|process| process.id.pid != command.pid || process.id.start_time == command.start_time)
    });
    let is_led = |process: &Process| {
        command.is_some_and(|command| {
            (process.session == command.pid || process.group == command.pid)
                && process.id.start_time >= command.start_time
        })
    };
    let roots: Vec<Process> = all.iter().copied().filter(|process| is_recorded(process) || is_led(process)).collect();
    let mut found = processes::descendants(all, &roots.iter().map(|process| process.id.pid).collect());
    found.extend(roots);
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    fn process(pid: i32, start_time: u64, parent: i32, session: i32) -> Process {
        Process { id: ProcessId { pid, start_time }, parent, group: session, session, zombie: false }
    }

    fn pids(found: &[Process]) -> Vec<i32> {
        let mut pids: Vec<i32> = found.iter().map(|process| process.id.pid).collect();
        pids.sort_unstable();
        pids
    }

    #[test]
    fn members_of_the_session_and_their_children_are_orphans_after_the_command_is_gone() {
        let command = ProcessId { pid: 10, start_time: 100 };
        let all = [process(11, 105, 1, 10), process(12, 106, 11, 12), process(13, 107, 1, 13)];
        assert_eq!(pids(&still_there(&all, &BTreeSet::from([command]), Some(command))), [11, 12]);
    }

    #[test]
    fn a_stranger_with_a_recorded_pid_is_left_alone() {
        let command = ProcessId { pid: 10, start_time: 100 };
        let supervisor = ProcessId { pid: 9, start_time: 99 };
        let all = [process(9, 500, 1, 9), process(10, 501, 1, 10), process(11, 502, 10, 10)];
        assert_eq!(pids(&still_there(&all, &BTreeSet::from([command, supervisor]), Some(command))), [0; 0]);
    }
}
