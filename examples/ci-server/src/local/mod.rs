//! How does a repository's definition run here and now, from the working tree as it is?
//!
//! One process, with everything below one directory that is removed at the end unless the user keeps it. The parts:
//! [`definition`] and [`variables`] say what is to be run, [`snapshot`] makes a commit of the working tree, [`engine`]
//! puts the service and the executor together, [`conduct`] sees the runs to their ends, [`narrate`] tells what happens
//! in each task, and [`mod@print`] shows it.

mod conduct;
pub(crate) mod config;
mod definition;
mod engine;
mod git;
mod host;
mod interrupt;
mod json;
mod lines;
mod message;
mod narrate;
mod print;
mod progress;
mod screen;
mod snapshot;
mod table;
mod text;
mod variables;

use std::{
    cell::OnceCell,
    io,
    path::{Path, PathBuf},
};

use runyard_runconfig::{CompileContext, Compiled, Diagnostic, RefType};
use runyard_runservice_core::model::GroupPath;
use sha2::{Digest, Sha256};
use tempfile::TempDir;
use tokio::sync::mpsc::{Sender, channel};

pub(crate) use self::snapshot::RefChoice;
use self::{
    conduct::Conductor,
    definition::DefinitionError,
    engine::{Engine, EngineError},
    interrupt::Interrupts,
    message::{Message, Tone},
    print::Printer,
    snapshot::{DETACHED, Snapshot, SnapshotError},
};
use crate::{
    evaluate::Ctx,
    server::data_dir::{self, DataDir},
};

/// So many messages may wait for the printer; then those who have something to say wait.
const MESSAGES_MAX: usize = 256;

/// What is to be run, and how.
#[derive(Clone, Debug)]
pub(crate) struct Options {
    pub(crate) dir: PathBuf,
    /// Names of runs; none: those for this branch or tag.
    pub(crate) runs: Vec<String>,
    pub(crate) reference: RefChoice,
    pub(crate) vars: Vec<String>,
    pub(crate) var_files: Vec<PathBuf>,
    /// Where the data is kept; none: nowhere.
    pub(crate) store: Option<PathBuf>,
    /// The most tasks at a time.
    pub(crate) jobs: u32,
    pub(crate) approve: bool,
    pub(crate) json: bool,
}

/// How it ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ending {
    /// Every run succeeded.
    Success,
    /// A run did not.
    Failed,
    /// A signal ended it.
    Interrupted,
}

impl Ending {
    /// The exit status of the program.
    pub(crate) fn code(self) -> u8 {
        match self {
            Self::Success => 0,
            Self::Failed => 1,
            Self::Interrupted => 130,
        }
    }
}

/// Why nothing was run, or not to its end.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    #[error(transparent)]
    Definition(#[from] DefinitionError),
    #[error("{0}")]
    Variables(String),
    #[error(transparent)]
    Snapshot(#[from] SnapshotError),
    #[error("store `{store}` is in use by process {owner}: wait for its end, or give another directory with --store", store = .store.display())]
    StoreInUse { store: PathBuf, owner: String },
    #[error("store `{store}` cannot be used: check that this user may write there and that the disk is not full, or give another directory with --store", store = .store.display())]
    Store { store: PathBuf, source: EngineError },
    #[error("no temporary directory can be made: check that the disk is not full, or set TMPDIR")]
    Temporary(#[source] io::Error),
    #[error("the signals of the system cannot be listened for")]
    Signals(#[source] io::Error),
    #[error("the run was broken off; every task was ended")]
    Engine(#[source] EngineError),
}

impl Error {
    /// The exit status of the program: 2 for what the user asked for in vain, 1 for what failed.
    pub(crate) fn code(&self) -> u8 {
        match self {
            Self::Definition(_) | Self::Variables(_) | Self::Snapshot(_) => 2,
            Self::StoreInUse { .. } | Self::Store { .. } => 2,
            Self::Temporary(_) | Self::Signals(_) | Self::Engine(_) => 1,
        }
    }
}

/// The temporary directory, once there is one. Dropping it removes the directory.
///
/// It is to be dropped after the runtime: only when that has ended, no thread of it writes any more, and a file that
/// appears while a directory is removed makes the removal fail.
#[derive(Debug, Default)]
pub(crate) struct Temporary(OnceCell<TempDir>);

impl Temporary {
    fn make(&self) -> Result<&Path, Error> {
        let directory = tempfile::Builder::new().prefix("runyard-run-").tempdir().map_err(Error::Temporary)?;
        Ok(self.0.get_or_init(|| directory).path())
    }
}

/// Where everything is while it runs.
#[derive(Debug)]
struct Place<'a> {
    temporary: &'a Path,
    kept: Option<DataDir>,
}

impl<'a> Place<'a> {
    fn open(store: Option<&Path>, temporary: &'a Temporary) -> Result<Self, Error> {
        let kept = store.map(DataDir::open).transpose().map_err(|error| match error {
            data_dir::Error::InUse { directory, owner } => Error::StoreInUse { store: directory, owner },
            data_dir::Error::Io { directory, source } => Error::Store { store: directory, source: source.into() },
        })?;
        Ok(Self { temporary: temporary.make()?, kept })
    }

    /// The directory of the data and the pods.
    fn root(&self) -> &Path {
        self.kept.as_ref().map_or(self.temporary, DataDir::root)
    }
}

/// Runs a definition, and shows what happens.
///
/// # Errors
/// If nothing was run, or not to the end; a run that fails is none. Nothing is left behind in either case, once
/// `temporary` is dropped.
pub(crate) async fn run(options: Options, temporary: &Temporary) -> Result<Ending, Error> {
    let (interrupts, _listening) = Interrupts::listen().map_err(Error::Signals)?;
    let prepared = tokio::select! {
        prepared = prepare(&options, temporary) => prepared?,
        () = interrupts.stop.cancelled() => return Ok(Ending::Interrupted),
    };
    let Prepared { place, context, compiled, remarks } = prepared;
    let opened = Box::pin(Engine::open(place.root(), options.jobs)).await;
    let engine = opened.map_err(|source| Error::Store { store: place.root().to_owned(), source })?;

    let printer = Printer::for_stdout(options.json);
    let style = printer.style();
    let (out, messages) = channel(MESSAGES_MAX);
    let printing = tokio::spawn(printer.print(messages, interrupts.stop.clone()));
    let conductor = Conductor { service: engine.service.clone(), out, style, approve: options.approve };
    let ended = Box::pin(perform(engine, &conductor, compiled, remarks, &context, &interrupts)).await;
    drop(conductor);
    if !interrupts.kill.is_cancelled() {
        // It has nothing to do but to print; a panic in it is on standard error already.
        let _ = printing.await;
    }
    ended.map_err(Error::Engine)
}

/// What there is before anything runs.
#[derive(Debug)]
struct Prepared<'a> {
    place: Place<'a>,
    context: CompileContext,
    compiled: Compiled,
    remarks: Vec<Diagnostic>,
}

async fn prepare<'a>(options: &Options, temporary: &'a Temporary) -> Result<Prepared<'a>, Error> {
    let found = definition::find(&options.dir)?;
    let read = |file: &Path| std::fs::read_to_string(file);
    let variables = variables::variables(&options.vars, &options.var_files, read).map_err(Error::Variables)?;
    let place = Place::open(options.store.as_deref(), temporary)?;
    let repository = place.temporary.join("repository.git");
    let snapshot = snapshot::take(&options.dir, &repository, &options.reference).await?;
    let mut context = context(options, &snapshot);
    context.variables = variables;
    let (definition, remarks) = found.read(&Ctx::from(&context)).await?;
    let compiled = definition::select(definition, &options.runs, &context)?;
    Ok(Prepared { place, context, compiled, remarks })
}

async fn perform(
    engine: Engine,
    conductor: &Conductor,
    compiled: Compiled,
    remarks: Vec<Diagnostic>,
    context: &CompileContext,
    interrupts: &Interrupts,
) -> Result<Ending, EngineError> {
    let working = async {
        introduce(&conductor.out, context, remarks.iter().chain(&compiled.warnings)).await;
        conductor.stop_unfinished().await?;
        Ok(conductor.conduct(compiled.runs, &interrupts.stop).await?)
    };
    let Some(runs) = engine.run_while(working, &interrupts.kill).await? else {
        return Ok(Ending::Interrupted);
    };
    let ending = match runs.iter().all(table::is_success) {
        true => Ending::Success,
        false if interrupts.stop.is_cancelled() => Ending::Interrupted,
        false => Ending::Failed,
    };
    let _ = conductor.out.send(Message::Ended { runs, exit_code: ending.code() }).await;
    Ok(ending)
}

/// Says what runs, and what the user should know of it.
async fn introduce(out: &Sender<Message>, context: &CompileContext, remarks: impl Iterator<Item = &Diagnostic>) {
    let short: String = context.commit_sha.chars().take(12).collect();
    let mut notes = vec![(format!("the working tree as commit {short} of {}", context.git_ref), Tone::Quiet)];
    if context.branch == DETACHED {
        notes.push((format!("HEAD is detached: the branch is `{DETACHED}`; choose one with --branch"), Tone::Warning));
    }
    notes.extend(remarks.map(|remark| (remark.to_string(), Tone::Warning)));
    for (text, tone) in notes {
        let _ = out.send(Message::Note { text, tone }).await;
    }
}

fn context(options: &Options, snapshot: &Snapshot) -> CompileContext {
    let git_ref = options.reference.reference(snapshot.branch.as_deref());
    let ref_type = match options.reference {
        RefChoice::Tag(_) => RefType::Tag,
        RefChoice::Current | RefChoice::Branch(_) => RefType::Branch,
    };
    let mut context = context_of(&options.dir, ref_type, git_ref.splitn(3, '/').nth(2).unwrap_or_default());
    context.commit_sha.clone_from(&snapshot.commit);
    context.repository_url = snapshot.repository.display().to_string();
    context
}

/// What is known of a reference of a directory without a look at any commit.
fn context_of(dir: &Path, ref_type: RefType, name: &str) -> CompileContext {
    let kind = match ref_type {
        RefType::Branch => "branch",
        RefType::Tag => "tag",
        RefType::PullRequest => "pr",
    };
    let mut context = CompileContext::new(group(dir, kind, name));
    context.ref_type = ref_type;
    let (git_ref, place) = match ref_type {
        RefType::Branch => (format!("refs/heads/{name}"), &mut context.branch),
        RefType::Tag => (format!("refs/tags/{name}"), &mut context.tag),
        RefType::PullRequest => (format!("refs/pull/{name}/head"), &mut context.pull_request_id),
    };
    name.clone_into(place);
    context.git_ref = git_ref;
    context
}

/// The group of the runs of a directory. Its root differs by directory, so that two of them can share a store and
/// neither sees the caches of the other.
fn group(dir: &Path, kind: &str, name: &str) -> GroupPath {
    let dir = std::fs::canonicalize(dir).unwrap_or_else(|_| dir.to_owned());
    let digest = Sha256::digest(dir.as_os_str().as_encoded_bytes());
    let short: String = digest.iter().take(8).map(|byte| format!("{byte:02x}")).collect();
    let root = GroupPath::new("local", &short).expect("hexadecimal digits make a valid name");
    // A branch with so long a name has the root for its group.
    root.child(kind, name).unwrap_or(root)
}
