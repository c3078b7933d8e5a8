//! How is a push received? Into a quarantine, checked there, stored, committed, and only then seen by anybody.
//!
//! A crash, or a client that goes away, leaves the push there wholly or not at all: what counts is the transaction.
//! Before it there is a directory that the next start removes, and perhaps an object without a row.

use std::{path::PathBuf, process::Stdio};

use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWriteExt},
    process::Command as Process,
};

use super::{
    Error, GitService, Result,
    command::{complaints, finish, git, output},
    push_request::{Command, PushRequest, Report},
};
use crate::configdata::{ObjectId, ProjectId, Push, RefChange, RefName};

/// How much of a pack is read from the client at once, in bytes.
const READ_BYTES: usize = 64 * 1024;

/// What git itself refuses nowhere by default and old histories are full of.
const STRICT: &str = "--strict=badTimezone=ignore,missingSpaceBeforeDate=ignore,zeroPaddedFilemode=ignore";

impl GitService {
    /// Receives a push to its end, and says what became of it. `body` stands where the pack begins.
    ///
    /// # Cancel safety
    /// Dropping the future leaves the push there wholly or not at all.
    pub(super) async fn receive(
        &self,
        project: &ProjectId,
        request: &PushRequest,
        mut body: impl AsyncRead + Send + Unpin,
    ) -> Report {
        let report = self.try_receive(project, request, &mut body).await;
        // Git hears the reply only after all that it sends was taken.
        let _ = tokio::io::copy(&mut body, &mut tokio::io::sink()).await;
        report.unwrap_or_else(|error| {
            tracing::warn!(%project, error = &error as &dyn std::error::Error, "a push failed");
            Report::failed(request, reason_of(&error))
        })
    }

    async fn try_receive(
        &self,
        project: &ProjectId,
        request: &PushRequest,
        body: &mut (impl AsyncRead + Send + Unpin),
    ) -> Result<Report> {
        let git_dir = self.caches.synced(project).await?;
        let quarantine = Quarantine::create(self.caches.unfinished(), git_dir).await?;
        // A client that only deletes sends no pack.
        let pack = match request.commands.iter().any(|command| command.new.is_some()) {
            true => quarantine.unpack(body, self.settings.push_size_max).await?,
            false => None,
        };
        let mut report = Report { unpack: Ok(()), refs: refuse_names(&request.commands), messages: Vec::new() };
        quarantine.check(request, &mut report).await?;
        if request.atomic && report.refs.iter().any(Result::is_err) {
            let reason = "the push is atomic, and another of its refs was refused";
            report
                .refs
                .iter_mut()
                .filter(|verdict| verdict.is_ok())
                .for_each(|verdict| *verdict = Err(reason.to_owned()));
        }
        let changes = accepted(request, &report);
        if changes.is_empty() {
            return Ok(report);
        }
        let needs_pack = changes.iter().any(|change| change.new.is_some());
        let stored = match pack.as_ref().filter(|_| needs_pack) {
            Some(checksum) => Some(self.packs.store(project, checksum.clone(), &quarantine.pack_file(checksum)).await?),
            None => None,
        };
        let push = Push { changes, atomic: request.atomic, pack: stored };
        let outcomes = self.config.push(project, &push).await?;
        for (change, outcome) in push.changes.iter().zip(&outcomes) {
            let at = request.commands.iter().position(|command| command.name == change.name.as_str());
            if let (Some(at), Err(refused)) = (at, outcome) {
                report.refs[at] = Err(refused.to_string());
            }
        }
        if let (Some(pack), true) = (&push.pack, outcomes.iter().any(Result::is_ok)) {
            let moved = self.caches.install(project, &quarantine.pack_dir(), pack.checksum.as_str()).await;
            // The push is durable; the next use of the cache fetches what is not there.
            if let Err(error) = moved {
                tracing::debug!(%project, %error, "a pack was not moved into the cache");
            }
        }
        tracing::info!(%project, refs = push.changes.len(), "received a push");
        self.wait_for_runs(project, &mut report).await;
        Ok(report)
    }

    /// The push is durable and its runs will come; waiting a moment means that whoever looks next finds them.
    async fn wait_for_runs(&self, project: &ProjectId, report: &mut Report) {
        if self.settings.wait_for_runs.is_zero() {
            return;
        }
        let handled = tokio::time::timeout(self.settings.wait_for_runs, self.config.triggers_handled(project)).await;
        if !matches!(handled, Ok(Ok(()))) {
            report.messages.push("The push is taken; its runs are still being created.".to_owned());
        }
    }
}

/// What the user reads. Where the server is at fault, its log has the causes.
fn reason_of(error: &Error) -> String {
    match error {
        Error::Config(crate::configdata::Error::Data(runyard_datamanager::Error::OutcomeUnknown { .. })) => {
            "the storage did not say whether the push was written: push again, which does no harm".to_owned()
        }
        _ if crate::server::problem::is_full(error) => {
            "the disk of the server has no space left; nothing of the push was taken, so push again when there is room"
                .to_owned()
        }
        Error::Io { .. } | Error::Storage { .. } | Error::Config(_) => {
            format!("{error}: the server's log says why; nothing of the push was taken, so push again later")
        }
        _ => error.to_string(),
    }
}

/// Refuses names that git does not allow, and names that come twice.
fn refuse_names(commands: &[Command]) -> Vec<Result<(), String>> {
    let verdict = |command: &Command| {
        RefName::parse(&command.name).map_err(|error| error.to_string())?;
        match commands.iter().filter(|other| other.name == command.name).count() {
            1 => Ok(()),
            _ => Err("the push changes this ref more than once".to_owned()),
        }
    };
    commands.iter().map(verdict).collect()
}

/// The changes that nothing was found against yet.
fn accepted(request: &PushRequest, report: &Report) -> Vec<RefChange> {
    let pairs = request.commands.iter().zip(&report.refs).filter(|(_, verdict)| verdict.is_ok());
    pairs
        .filter_map(|(command, _)| {
            let name = RefName::parse(&command.name).ok()?;
            Some(RefChange { name, old: command.old.clone(), new: command.new.clone() })
        })
        .collect()
}

/// Where the objects of a push are until it is accepted: removed when dropped.
struct Quarantine {
    directory: tempfile::TempDir,
    git_dir: PathBuf,
}

impl Quarantine {
    /// In one piece off the async threads, so that a push that is dropped meanwhile takes it along.
    async fn create(unfinished: PathBuf, git_dir: PathBuf) -> Result<Self> {
        let objects = git_dir.join("objects");
        let path = unfinished.clone();
        let create = move || {
            std::fs::create_dir_all(&unfinished)?;
            let directory = tempfile::tempdir_in(&unfinished)?;
            std::fs::create_dir_all(directory.path().join("objects/pack"))?;
            std::fs::create_dir_all(directory.path().join("objects/info"))?;
            // The objects of the repository are seen from the quarantine, and not the other way round.
            let alternates = directory.path().join("objects/info/alternates");
            std::fs::write(alternates, format!("{}\n", objects.display()))?;
            Ok(directory)
        };
        let created = tokio::task::spawn_blocking(create).await.map_err(std::io::Error::other).flatten();
        let directory = created.map_err(Error::io("creating a directory in", path))?;
        Ok(Self { directory, git_dir })
    }

    fn git(&self) -> Process {
        let mut command = git(&self.git_dir);
        command.env("GIT_OBJECT_DIRECTORY", self.directory.path().join("objects"));
        command
    }

    fn pack_dir(&self) -> PathBuf {
        self.directory.path().join("objects/pack")
    }

    fn pack_file(&self, checksum: &ObjectId) -> PathBuf {
        self.pack_dir().join(format!("pack-{checksum}.pack"))
    }

    /// Takes a pack from the client and completes it; none if it has no objects.
    async fn unpack(&self, body: &mut (impl AsyncRead + Send + Unpin), size_max: u64) -> Result<Option<ObjectId>> {
        let mut header = [0; 12];
        body.read_exact(&mut header).await.map_err(Error::Body)?;
        if !header.starts_with(b"PACK") {
            return Err(Error::Protocol("the pack of the push does not begin with `PACK`".to_owned()));
        }
        if header.ends_with(&[0; 4]) {
            return Ok(None);
        }
        let mut command = self.git();
        command.args(["index-pack", "--stdin", "--fix-thin", STRICT]).stdin(Stdio::piped());
        let mut child = command.spawn().map_err(Error::io("starting", "git"))?;
        let mut stdin = child.stdin.take().expect("stdin is piped");
        let mut stdout = child.stdout.take().expect("stdout is piped").take(1024);
        let stderr = child.stderr.take().expect("stderr is piped");
        let feed = async {
            let mut size = header.len() as u64;
            let mut piece = vec![0; READ_BYTES];
            // A program that has seen enough closes its input; its exit status says why.
            let mut listens = stdin.write_all(&header).await.is_ok();
            while listens {
                let length = body.read(&mut piece).await.map_err(Error::Body)?;
                if length == 0 {
                    break;
                }
                size += length as u64;
                if size > size_max {
                    return Err(Error::TooLarge { limit: size_max });
                }
                listens = stdin.write_all(&piece[..length]).await.is_ok();
            }
            drop(stdin);
            Ok(())
        };
        let mut printed = String::new();
        let read =
            async { stdout.read_to_string(&mut printed).await.map_err(Error::io("reading the output of", "git")) };
        let complaints = async { Ok(complaints(stderr).await) };
        let ((), _, complaints) = tokio::try_join!(feed, read, complaints)?;
        finish(child, "checking the objects of the push", complaints).await?;
        let checksum = printed.split_whitespace().last().and_then(|word| word.parse().ok());
        checksum.map(Some).ok_or_else(|| Error::Git { doing: "checking the objects of the push", stderr: printed })
    }

    /// Refuses refs to what is not there whole, and branches to what is not a commit.
    async fn check(&self, request: &PushRequest, report: &mut Report) -> Result<()> {
        let commands: Vec<(usize, &Command, &ObjectId)> = request
            .commands
            .iter()
            .enumerate()
            .filter(|(at, _)| report.refs[*at].is_ok())
            .filter_map(|(at, command)| Some((at, command, command.new.as_ref()?)))
            .collect();
        if commands.is_empty() {
            return Ok(());
        }
        let objects: String = commands.iter().map(|(_, _, object)| format!("{object}\n")).collect();
        let mut types = self.git();
        types.args(["cat-file", "--batch-check=%(objecttype)"]);
        let types = output(types, "looking for the objects of the push", objects.as_bytes()).await?;
        let types = String::from_utf8_lossy(&types);
        for ((at, command, object), kind) in commands.iter().zip(types.lines()) {
            if kind.ends_with("missing") {
                report.refs[*at] = Err(format!("object {object} is not on the server and was not sent"));
            } else if command.name.starts_with("refs/heads/") && kind != "commit" {
                report.refs[*at] = Err(format!("a branch must point to a commit, and {object} is a {kind}"));
            }
        }
        let mut walk = self.git();
        walk.args(["rev-list", "--objects", "--quiet", "--stdin", "--not", "--all"]);
        if let Err(Error::Git { stderr, .. }) =
            output(walk, "checking the history of the push", objects.as_bytes()).await
        {
            tracing::info!(stderr, "a push lacks objects");
            for (at, ..) in commands {
                let missing = || Err("objects of its history are neither on the server nor were they sent".to_owned());
                report.refs[at] = std::mem::replace(&mut report.refs[at], Ok(())).and_then(|()| missing());
            }
            if request.shallow {
                let advice = "Your clone has only a part of the history: run `git fetch --unshallow`, then push again.";
                report.messages.push(advice.to_owned());
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_git_does_not_allow_or_that_come_twice_are_refused() {
        let command = |name: &str| Command { name: name.to_owned(), old: None, new: None };
        let names = ["refs/heads/a", "refs/heads/b", "refs/heads/b", "refs/heads/a..b", "HEAD"];
        let verdicts = refuse_names(&names.map(command));
        assert_eq!(verdicts.iter().map(Result::is_ok).collect::<Vec<_>>(), [true, false, false, false, false]);
    }
}
