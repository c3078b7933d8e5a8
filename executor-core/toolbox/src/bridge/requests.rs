//! What is done for each request, but for those that stream?

use std::collections::BTreeMap;
use std::fs;
use std::io::{self, BufRead as _, BufReader, Read as _};
use std::os::unix::fs::chown;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use super::protocol::{Reply, Request};
use super::{Link, POD_VARIABLE, attach, empty, tool};
use crate::supervise::{Identity, READY_LINE, expand_home, resolve_user};
use crate::{StepDir, StepDirs, SuperviseSpec};

/// The most that is passed on of what a supervisor says that does not start.
const COMPLAINT_BYTES_MAX: u64 = 4 << 10;

/// The pod that a bridge is in.
pub(super) struct Pod {
    pub(super) steps: StepDirs,
    id: String,
}

impl Pod {
    pub(super) fn new(steps_dir: &Path, id: &str) -> Self {
        Self { steps: StepDirs::new(steps_dir), id: id.to_owned() }
    }

    /// Answers one request; false if the stream has ended meanwhile.
    ///
    /// # Errors
    /// If the executor cannot be answered any more.
    pub(super) fn serve(&self, request: Request, link: &mut Link) -> io::Result<bool> {
        let reply = match request {
            Request::Start { step, command, spec } => self.start(step, &command, *spec),
            Request::Attach { step, offset } => return attach::serve(self, step, offset, link),
            Request::Stop { grace_ms } => self.stop(Duration::from_millis(grace_ms)).map(|()| Reply::Done),
            Request::MakeDir { path, user } => make_dir(&path, user.as_deref()),
            Request::Tool { args, working_dir, environment, user } => {
                return tool::serve(self, &args, working_dir.as_deref(), environment, user.as_deref(), link);
            }
        };
        link.reply(reply.unwrap_or_else(|error| Reply::Failed { message: error.to_string() }))?;
        Ok(true)
    }

    fn start(&self, step: u32, command: &str, mut spec: SuperviseSpec) -> io::Result<Reply> {
        let user = match identity(spec.user.as_deref()) {
            Ok(user) => user,
            Err(message) => return Ok(Reply::Refused { message }),
        };
        spec.environment = self.environment(user.as_ref(), spec.environment);
        let Some(dir) = self.steps.create(step, command, &spec)? else { return Ok(Reply::AlreadyStarted) };
        supervise(&dir)?;
        Ok(Reply::Done)
    }

    /// Later wins: the pod's own environment, the home of the user, `added`, the mark.
    pub(super) fn environment(
        &self,
        user: Option<&Identity>,
        added: BTreeMap<String, String>,
    ) -> BTreeMap<String, String> {
        let own =
            std::env::vars_os().filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)));
        let mut environment: BTreeMap<String, String> = own.collect();
        if let Some(home) = home(user).to_str() {
            environment.insert("HOME".to_owned(), home.to_owned());
        }
        environment.extend(added);
        environment.insert(POD_VARIABLE.to_owned(), self.id.clone());
        environment
    }

    fn stop(&self, grace: Duration) -> io::Result<()> {
        self.steps.stop(grace)?;
        empty::keep_supervisors(&self.steps, &self.id)
    }

    /// Kills everything of the steps, their supervisors too.
    pub(super) fn kill(&self) -> io::Result<()> {
        empty::kill_all(&self.steps, &self.id)
    }
}

/// Who `user` is in this pod; none: whoever we are.
pub(super) fn identity(user: Option<&str>) -> Result<Option<Identity>, String> {
    user.map(resolve_user).transpose()
}

/// The home of the user: for ourselves, what the pod's environment says, else what the pod's files do. One that they do not
/// list has none: the root of the file system, as for engines of containers.
pub(super) fn home(user: Option<&Identity>) -> PathBuf {
    let home = match user {
        Some(user) => user.home.clone(),
        None => crate::home(),
    };
    home.unwrap_or_else(|| PathBuf::from("/"))
}

/// Starts the supervisor of a step, which goes on without us, and waits until it listens.
fn supervise(dir: &StepDir) -> io::Result<()> {
    let mut child = Command::new("/proc/self/exe")
        .args(crate::cli::own_arguments("supervise"))
        .arg(dir.path())
        .env_clear()
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()?;
    let mut line = String::new();
    let stdout = child.stdout.take().expect("it is piped");
    BufReader::new(stdout).read_line(&mut line)?;
    if line == READY_LINE {
        // Somebody has to take note of its end, as long as we are its parent.
        std::thread::Builder::new().name("reaper".into()).spawn(move || child.wait())?;
        return Ok(());
    }
    let mut complaint = String::new();
    let stderr = child.stderr.take().expect("it is piped");
    stderr.take(COMPLAINT_BYTES_MAX).read_to_string(&mut complaint)?;
    let status = child.wait()?;
    Err(io::Error::other(format!("the supervisor of the step did not start: {} ({status})", complaint.trim())))
}

/// Makes what is missing of `path`, each directory owned by the user.
fn make_dir(path: &str, user: Option<&str>) -> io::Result<Reply> {
    let user = match identity(user) {
        Ok(user) => user,
        Err(message) => return Ok(Reply::Refused { message }),
    };
    let home = BTreeMap::from([("HOME".to_owned(), home(user.as_ref()).to_string_lossy().into_owned())]);
    let path = expand_home(Path::new(path), &home, None);
    let missing: Vec<_> = path.ancestors().take_while(|dir| !dir.exists()).collect();
    for dir in missing.into_iter().rev() {
        match fs::create_dir(dir) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => continue,
            made => made.map_err(|error| io::Error::new(error.kind(), format!("{}: {error}", dir.display())))?,
        }
        if let Some(user) = &user {
            chown(dir, Some(user.uid), Some(user.gid))?;
        }
    }
    if !path.is_dir() {
        return Ok(Reply::Refused { message: format!("`{}` is there and is no directory", path.display()) });
    }
    match path.into_os_string().into_string() {
        Ok(path) => Ok(Reply::Dir { path }),
        Err(path) => Err(io::Error::other(format!("`{}` is not UTF-8", path.display()))),
    }
}
