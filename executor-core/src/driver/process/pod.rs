//! One pod of the process driver.

use std::{
    fs, io,
    path::{Path, PathBuf},
    process::Stdio,
    sync::Arc,
    time::Duration,
};

use async_trait::async_trait;
use runyard_toolbox::{COMMAND_FILE, READY_LINE, StepCommand, StepDirs, SuperviseSpec};
use tokio::{io::AsyncReadExt as _, process::Child};

use super::{PodFile, attach, builder::Host, environment::environment, remove, stop, toolbox, user};
use crate::{
    contract::{ByteStream, Environment, ExecutorId, TaskId},
    driver::{Attachment, DriverError, Pod, PodId, Result, StepSpec, ToolboxCall, ToolboxRun},
};

#[derive(Clone, Debug)]
pub(super) struct ProcessPod {
    id: PodId,
    file: PodFile,
    pub(super) dir: PathBuf,
    host: Arc<Host>,
}

impl ProcessPod {
    pub(super) fn new(id: PodId, file: PodFile, dir: PathBuf, host: Arc<Host>) -> Self {
        Self { id, file, dir, host }
    }

    fn home(&self) -> PathBuf {
        self.dir.join("home")
    }

    pub(super) fn expand(&self, path: &str) -> PathBuf {
        match path.strip_prefix('~') {
            Some("") => self.home(),
            Some(rest) if rest.starts_with('/') => self.home().join(rest.trim_start_matches('/')),
            _ => self.home().join(path),
        }
    }

    pub(super) fn steps(&self) -> StepDirs {
        StepDirs::new(self.dir.join("steps"))
    }

    /// Whether it is known, without a look at the processes of the host, that nothing runs in it.
    pub(super) fn is_known_empty(&self) -> io::Result<bool> {
        Ok(self.host.steps_only().contains(&self.id) && self.steps().nothing_left()?)
    }

    pub(super) fn lost_after(&self) -> Duration {
        Duration::from_millis(self.file.lost_after_ms)
    }

    pub(super) fn environment(&self, task: &Environment) -> io::Result<std::collections::BTreeMap<String, String>> {
        let home = utf8(&self.home())?;
        // What is not UTF-8 cannot be handed on in the JSON of a specification.
        let own =
            std::env::vars_os().filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)));
        let Host { inherit, environment: driver, .. } = &*self.host;
        Ok(environment(own, inherit, driver, &home, task, self.id.as_str()))
    }

    /// The toolbox with one of its subcommands; it sees nothing of our environment.
    pub(super) fn toolbox_command(&self, subcommand: &str) -> tokio::process::Command {
        let (program, arguments) = self.host.toolbox.split_first().expect("the builder refuses an empty command");
        let mut command = tokio::process::Command::new(program);
        command.args(arguments).arg(subcommand).env_clear();
        command
    }

    /// Everything up to the running supervisor, without a point at which it could be interrupted half-way.
    fn spawn_supervisor(&self, spec: &StepSpec) -> Result<Child> {
        let writing = || DriverError::io(format!("writing the files of step {}", spec.step));
        let supervise = self.supervise_spec(spec).map_err(writing())?;
        let created = self.steps().create(spec.step, &spec.command, &supervise).map_err(writing())?;
        let Some(dir) = created else { return Err(DriverError::AlreadyStarted { step: spec.step }) };
        self.toolbox_command("supervise")
            .arg(dir.path())
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .map_err(DriverError::io("starting the supervisor"))
    }

    fn supervise_spec(&self, spec: &StepSpec) -> io::Result<SuperviseSpec> {
        let command = StepCommand::Shell { shell: spec.shell.clone(), file: COMMAND_FILE.into() };
        let mut supervise = SuperviseSpec::new(command, self.expand(&spec.working_dir));
        supervise.environment = self.environment(&spec.environment)?;
        supervise.secrets.clone_from(&spec.secrets);
        supervise.tty = spec.tty;
        supervise.lost_after = self.lost_after();
        Ok(supervise)
    }
}

fn utf8(path: &Path) -> io::Result<String> {
    let text = path.to_str().ok_or_else(|| io::Error::other(format!("`{}` is not UTF-8", path.display())));
    text.map(str::to_owned)
}

/// Waits until the supervisor listens. It goes on by itself from then, whatever becomes of us.
async fn ready(mut child: Child) -> Result<()> {
    let doing = || DriverError::io("starting the supervisor");
    let mut stdout = child.stdout.take().expect("it is piped");
    let mut line = vec![0; READY_LINE.len()];
    if stdout.read_exact(&mut line).await.is_ok() && line == READY_LINE.as_bytes() {
        return Ok(());
    }
    let mut message = String::new();
    let stderr = child.stderr.take().expect("it is piped");
    stderr.take(4096).read_to_string(&mut message).await.map_err(doing())?;
    let status = child.wait().await.map_err(doing())?;
    Err(doing()(io::Error::other(format!("{} ({status})", message.trim()))))
}

#[async_trait]
impl Pod for ProcessPod {
    fn id(&self) -> &PodId {
        &self.id
    }

    fn task(&self) -> &TaskId {
        &self.file.task
    }

    fn attempt(&self) -> u32 {
        self.file.attempt
    }

    fn executor(&self) -> &ExecutorId {
        &self.file.executor
    }

    async fn create_dir(&self, path: &str) -> Result<String> {
        let dir = self.expand(path);
        let doing = || DriverError::io(format!("creating the directory `{path}`"));
        fs::create_dir_all(&dir).map_err(doing())?;
        utf8(&dir).map_err(doing())
    }

    async fn start_step(&self, spec: StepSpec) -> Result<()> {
        if let Some(user) = &spec.user {
            user::require_current(user)?;
        }
        let supervisor = self.spawn_supervisor(&spec)?;
        ready(supervisor).await
    }

    async fn attach(&self, step: u32, offset: u64) -> Result<Box<dyn Attachment>> {
        attach::attach(self, step, offset).await
    }

    async fn stop(&self, grace: Duration) -> Result<()> {
        stop::stop(self, grace).await
    }

    async fn remove(&self) -> Result<()> {
        stop::stop(self, Duration::ZERO).await?;
        remove::remove(self).await?;
        self.host.steps_only().remove(&self.id);
        Ok(())
    }

    async fn toolbox(&self, call: ToolboxCall, stdin: Option<ByteStream>) -> Result<ToolboxRun> {
        // It may have to be killed with the pod.
        self.host.steps_only().remove(&self.id);
        toolbox::run(self, call, stdin)
    }
}
