//! What does a commit say? Its message, and the definition file that it carries.

use super::{
    Error, GitService, Result,
    command::{git, output},
};
use crate::configdata::{ObjectId, ProjectId};

/// The largest definition file, in bytes.
pub(crate) const DEFINITION_BYTES_MAX: u64 = 1 << 20;

/// What a run needs to know of a commit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Commit {
    /// The commit itself, where the object was an annotated tag.
    pub(crate) id: ObjectId,
    pub(crate) message: String,
    /// The first of the files asked for that exists, with its path.
    pub(crate) definition: Option<(String, String)>,
}

impl GitService {
    /// Reads a commit, and the first file of `paths` that it has.
    ///
    /// # Errors
    /// [`Error::Definition`] if the object is no commit, or if the file is not a plain text of at most 1 MiB: it says
    /// what to do.
    pub(crate) async fn read_commit(&self, project: &ProjectId, object: &ObjectId, paths: &[&str]) -> Result<Commit> {
        let git_dir = self.caches.synced(project).await?;
        let mut log = git(&git_dir);
        log.args(["log", "-1", "--no-show-signature", "--encoding=UTF-8", "--format=%H%n%B", object.as_str(), "--"]);
        let mut tree = git(&git_dir);
        tree.args(["ls-tree", "-z", "-l", "--full-tree", object.as_str(), "--"]).args(paths);
        let (log, tree) = tokio::join!(output(log, "reading a commit", b""), output(tree, "reading a tree", b""));
        let not_a_commit = || Error::Definition(format!("object {object} is not a commit, so it has no definition"));
        let log = String::from_utf8_lossy(&log?).into_owned();
        let (id, message) = log.split_once('\n').ok_or_else(not_a_commit)?;
        let id: ObjectId = id.parse().map_err(|_| not_a_commit())?;
        let tree = tree?;
        let entries: Vec<Entry> = String::from_utf8_lossy(&tree).split('\0').filter_map(Entry::parse).collect();
        let found = paths.iter().find_map(|path| entries.iter().find(|entry| entry.path == *path));
        let definition = match found {
            Some(entry) => {
                entry.check()?;
                let mut cat = git(&git_dir);
                cat.args(["cat-file", "blob", &entry.object]);
                let content = output(cat, "reading a definition", b"").await?;
                let content = String::from_utf8(content)
                    .map_err(|_| Error::Definition(format!("`{}` is not UTF-8 text: save it as UTF-8", entry.path)))?;
                Some((entry.path.clone(), content))
            }
            None => None,
        };
        Ok(Commit { id, message: message.trim_end().to_owned(), definition })
    }
}

/// A line of `git ls-tree -l`: mode, type, object, size, tab, path.
struct Entry {
    mode: String,
    object: String,
    size: Option<u64>,
    path: String,
}

impl Entry {
    fn parse(line: &str) -> Option<Self> {
        let (head, path) = line.split_once('\t')?;
        let mut words = head.split_whitespace();
        let (mode, _kind, object, size) = (words.next()?, words.next()?, words.next()?, words.next()?);
        Some(Self {
            mode: mode.to_owned(),
            object: object.to_owned(),
            size: size.parse().ok(),
            path: path.to_owned(),
        })
    }

    fn check(&self) -> Result<()> {
        let path = &self.path;
        if !self.mode.starts_with("100") {
            let message = format!("`{path}` is not a plain file: a definition cannot be a link or a directory");
            return Err(Error::Definition(message));
        }
        match self.size {
            Some(size) if size <= DEFINITION_BYTES_MAX => Ok(()),
            _ => Err(Error::Definition(format!("`{path}` is larger than 1 MiB, the limit of a definition"))),
        }
    }
}
