//! What is the working tree as a commit, so that `clone` delivers it as it is?
//!
//! Changed files and files that git neither tracks nor ignores are part of it. The user's repository, its index and its
//! references stay untouched: everything new goes into a bare repository of our own, which reads the user's objects
//! (`objects/info/alternates`).
//!
//! The whole repository keeps its history and the tags in it; a clean tree is the very commit that is checked out. A
//! subdirectory becomes the root of a commit without history, and so does a repository whose history is not all there
//! (a shallow or partial clone). A submodule is the commit that is checked out in it, to be fetched from its own URL.

use std::{
    fs::{self, File},
    io,
    path::{Path, PathBuf},
};

use super::git::{Git, GitError};

/// A commit of the working tree, and the repository that gives it out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Snapshot {
    /// The bare repository.
    pub(crate) repository: PathBuf,
    /// The commit.
    pub(crate) commit: String,
    /// The branch that is checked out; none: `HEAD` is detached.
    pub(crate) branch: Option<String>,
}

/// What the commit is to be called in its repository.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) enum RefChoice {
    /// The branch that is checked out.
    #[default]
    Current,
    Branch(String),
    Tag(String),
}

/// The branch of a detached `HEAD`.
pub(crate) const DETACHED: &str = "detached";

impl RefChoice {
    /// The whole reference, given the branch that is checked out.
    pub(crate) fn reference(&self, branch: Option<&str>) -> String {
        match self {
            Self::Current => format!("refs/heads/{}", branch.unwrap_or(DETACHED)),
            Self::Branch(branch) => format!("refs/heads/{branch}"),
            Self::Tag(tag) => format!("refs/tags/{tag}"),
        }
    }
}

/// Why there is no commit of the working tree.
#[derive(Debug, thiserror::Error)]
pub(crate) enum SnapshotError {
    #[error("`{dir}` is not in a git repository: run `git init {dir}` first (nothing needs to be committed)", dir = .0.display())]
    NotARepository(PathBuf),
    #[error("`{dir}` is not in the working tree of a repository: give the directory of a checkout", dir = .0.display())]
    NoWorkTree(PathBuf),
    #[error("git ignores every file of `{dir}`, so there is nothing to clone: see `git check-ignore --verbose`", dir = .0.display())]
    Ignored(PathBuf),
    #[error("`{0}` is not a valid name of a branch or tag")]
    InvalidRef(String),
    #[error("cannot write the commit of the working tree below `{path}`", path = .path.display())]
    Io { path: PathBuf, source: io::Error },
    #[error(transparent)]
    Git(#[from] GitError),
}

impl SnapshotError {
    fn io(path: &Path) -> impl FnOnce(io::Error) -> Self {
        let path = path.to_owned();
        move |source| Self::Io { path, source }
    }
}

/// What is known of the user's repository.
#[derive(Debug)]
struct Source {
    top_level: PathBuf,
    /// Where the directory is below the top level, with a slash at its end; empty: the top level itself.
    prefix: String,
    objects: PathBuf,
    index: PathBuf,
    format: String,
    head: Option<String>,
    branch: Option<String>,
    has_all_history: bool,
}

/// Makes a commit of the working tree at `dir`, in a new bare repository at `into`, referred to as `chosen` says.
///
/// # Cancel safety
/// Dropping the future leaves an unfinished repository at `into`, and nothing else.
pub(crate) async fn take(dir: &Path, into: &Path, chosen: &RefChoice) -> Result<Snapshot, SnapshotError> {
    let source = look(dir).await?;
    let reference = chosen.reference(source.branch.as_deref());
    check_ref(dir, &reference).await?;
    let bare = make_bare(&source, into).await?;
    let tree = write_tree(&source, into).await.map_err(|error| match error {
        // Either there is nothing at the prefix, or git refuses to add it.
        SnapshotError::Git(GitError::Failed { message, .. })
            if message.contains("not found") || message.contains("are ignored") =>
        {
            SnapshotError::Ignored(dir.to_owned())
        }
        other => other,
    })?;
    let commit = commit(&source, &bare, &tree).await?;
    refer(&source, &bare, &commit, &reference).await?;
    Ok(Snapshot { repository: into.to_owned(), commit, branch: source.branch })
}

async fn look(dir: &Path) -> Result<Source, SnapshotError> {
    let git = Git::new(dir);
    let asked = [
        "rev-parse",
        "--path-format=absolute",
        "--is-inside-work-tree",
        "--is-shallow-repository",
        "--show-object-format",
        "--git-path",
        "objects",
        "--git-path",
        "index",
    ];
    let answers = match git.run("looking at the repository", asked).await {
        Err(GitError::Failed { message, .. }) if message.contains("not a git repository") => {
            return Err(SnapshotError::NotARepository(dir.to_owned()));
        }
        answers => answers?,
    };
    let answers: Vec<&str> = answers.lines().collect();
    let [inside, shallow, format, objects, index] = answers[..] else {
        let message = format!("an unexpected answer of {} lines", answers.len());
        return Err(GitError::Failed { doing: "looking at the repository", message }.into());
    };
    if inside != "true" {
        return Err(SnapshotError::NoWorkTree(dir.to_owned()));
    }
    // Each on its own: a path may hold a line break.
    let top_level = git.run("finding the top level", ["rev-parse", "--show-toplevel"]).await?;
    let prefix = git.run("finding the top level", ["rev-parse", "--show-prefix"]).await?;
    let promisor = ["config", "--get-regexp", r"^(extensions\.partialclone|remote\..*\.promisor)$"];
    let is_partial = git.run("reading its configuration", promisor).await.is_ok();
    Ok(Source {
        top_level: top_level.into(),
        prefix,
        objects: objects.into(),
        index: index.into(),
        format: format.to_owned(),
        head: git.run("reading HEAD", ["rev-parse", "--verify", "--quiet", "HEAD^{commit}"]).await.ok(),
        branch: git.run("reading HEAD", ["symbolic-ref", "--quiet", "--short", "HEAD"]).await.ok(),
        has_all_history: shallow == "false" && !is_partial,
    })
}

async fn check_ref(dir: &Path, reference: &str) -> Result<(), SnapshotError> {
    match Git::new(dir).run("checking a name", ["check-ref-format", reference]).await {
        Err(GitError::Failed { .. }) => {
            let name = reference.splitn(3, '/').nth(2).unwrap_or_default();
            Err(SnapshotError::InvalidRef(name.to_owned()))
        }
        checked => Ok(checked.map(drop)?),
    }
}

async fn make_bare(source: &Source, into: &Path) -> Result<Git, SnapshotError> {
    fs::create_dir_all(into).map_err(SnapshotError::io(into))?;
    let format = format!("--object-format={}", source.format);
    let init = ["init", "--quiet", "--bare", "--template=", &format, "."];
    Git::new(into).run("making a repository", init).await?;
    let info = into.join("objects/info");
    let alternates = format!("{}\n", source.objects.display());
    fs::create_dir_all(&info)
        .and_then(|()| fs::write(info.join("alternates"), alternates))
        .map_err(SnapshotError::io(&info))?;
    Ok(Git::new(into).with("GIT_DIR", into))
}

async fn write_tree(source: &Source, into: &Path) -> Result<String, SnapshotError> {
    let index = into.join("runyard-index");
    copy_index(&source.index, &index).map_err(SnapshotError::io(&index))?;
    let git = Git::new(&source.top_level)
        .with("GIT_INDEX_FILE", &index)
        .with("GIT_OBJECT_DIRECTORY", into.join("objects"))
        .with("GIT_ALTERNATE_OBJECT_DIRECTORIES", &source.objects);
    // As a path and not as a pattern, whatever characters it has.
    let here = if source.prefix.is_empty() { "." } else { &source.prefix };
    git.run("reading the working tree", ["--literal-pathspecs", "add", "--all", "--", here]).await?;
    let prefix = format!("--prefix={}", source.prefix);
    Ok(git.run("writing the tree", ["write-tree", &prefix]).await?)
}

/// Copies the index with its time, by which git knows which entries it must not trust.
fn copy_index(from: &Path, to: &Path) -> io::Result<()> {
    let modified = match fs::metadata(from) {
        Ok(metadata) => metadata.modified()?,
        // A repository in which nothing was ever added.
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(error),
    };
    fs::copy(from, to)?;
    File::options().write(true).open(to)?.set_modified(modified)
}

async fn commit(source: &Source, bare: &Git, tree: &str) -> Result<String, SnapshotError> {
    let is_whole = source.prefix.is_empty() && source.has_all_history;
    let parent = source.head.as_deref().filter(|_| is_whole);
    if let Some(head) = parent {
        let head_tree = bare.run("reading HEAD", ["rev-parse", &format!("{head}^{{tree}}")]).await?;
        if head_tree == tree {
            return Ok(head.to_owned());
        }
    }
    let ours = [
        ("GIT_AUTHOR_NAME", "Runyard"),
        ("GIT_AUTHOR_EMAIL", "runyard@localhost"),
        ("GIT_COMMITTER_NAME", "Runyard"),
        ("GIT_COMMITTER_EMAIL", "runyard@localhost"),
    ];
    let bare = ours.into_iter().fold(bare.clone(), |git, (name, value)| git.with(name, value));
    let mut args = vec!["commit-tree", tree, "-m", "The working tree as it is"];
    args.extend(parent.into_iter().flat_map(|parent| ["-p", parent]));
    Ok(bare.run("making a commit", args).await?)
}

/// Names the commit, and the tags in its history.
async fn refer(source: &Source, bare: &Git, commit: &str, reference: &str) -> Result<(), SnapshotError> {
    let mut updates = String::new();
    if let Some(head) = source.head.as_deref().filter(|_| source.prefix.is_empty() && source.has_all_history) {
        let list = ["for-each-ref", "--format=%(refname) %(objectname)", "--merged", head, "refs/tags"];
        let tags = Git::new(&source.top_level).run("listing the tags", list).await?;
        for line in tags.lines().filter(|line| line.split(' ').next() != Some(reference)) {
            updates.push_str(&format!("create {line}\n"));
        }
    }
    updates.push_str(&format!("create {reference} {commit}\n"));
    bare.feed("naming the commit", ["update-ref", "--stdin"], &updates).await?;
    if reference.starts_with("refs/heads/") {
        bare.run("naming the commit", ["symbolic-ref", "HEAD", reference]).await?;
    } else {
        bare.run("naming the commit", ["update-ref", "--no-deref", "HEAD", commit]).await?;
    }
    Ok(())
}

#[cfg(test)]
mod tests;
