//! What does a commit say? Its author, its message, and the definition file that it carries.

use std::path::Path;

use super::{
    Error, GitService, Result,
    command::{git, output},
};
use crate::configdata::{ObjectId, ProjectId};

/// The largest definition file, in bytes.
const DEFINITION_BYTES_MAX: u64 = 1 << 20;

/// What a run needs to know of a commit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Commit {
    /// The commit itself, where the object was an annotated tag.
    pub(crate) id: ObjectId,
    pub(crate) message: String,
    /// Name and mail address.
    pub(crate) author: String,
    /// Those of the paths asked for that exist, in their order.
    pub(crate) present: Vec<String>,
    pub(crate) definition: DefinitionFile,
}

/// The first of the files asked for that exists.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum DefinitionFile {
    /// None does.
    Missing,
    /// It is a text.
    Text { path: String, content: String },
    /// It cannot be read as one.
    Unusable {
        path: String,
        /// Why, and what to do.
        reason: &'static str,
    },
}

impl GitService {
    /// Reads a commit, and the first file of `paths` that it has.
    ///
    /// # Errors
    /// [`Error::NotACommit`] for another object. Every other error may pass.
    pub(crate) async fn read_commit(&self, project: &ProjectId, object: &ObjectId, paths: &[&str]) -> Result<Commit> {
        let git_dir = self.caches.synced(project).await?;
        let mut cat = git(&git_dir);
        cat.args(["cat-file", "--batch"]);
        let commit = output(cat, "reading a commit", format!("{object}^{{commit}}\n").as_bytes()).await?;
        let not_a_commit = || Error::NotACommit { object: object.clone() };
        let (id, author, message) = parse_commit(&String::from_utf8_lossy(&commit)).ok_or_else(not_a_commit)?;
        let mut tree = git(&git_dir);
        tree.args(["ls-tree", "-z", "-l", "--full-tree", id.as_str(), "--"]).args(paths);
        let tree = output(tree, "reading a tree", b"").await?;
        let entries: Vec<Entry> = String::from_utf8_lossy(&tree).split('\0').filter_map(Entry::parse).collect();
        let found: Vec<_> = paths.iter().filter_map(|path| entries.iter().find(|entry| entry.path == *path)).collect();
        let definition = match found.first() {
            None => DefinitionFile::Missing,
            Some(entry) => read_file(&git_dir, entry).await?,
        };
        let present = found.iter().map(|entry| entry.path.clone()).collect();
        Ok(Commit { id, message, author, present, definition })
    }
}

async fn read_file(git_dir: &Path, entry: &Entry) -> Result<DefinitionFile> {
    let path = entry.path.clone();
    if let Some(reason) = entry_problem(entry) {
        return Ok(DefinitionFile::Unusable { path, reason });
    }
    let mut cat = git(git_dir);
    cat.args(["cat-file", "blob", &entry.object]);
    Ok(match String::from_utf8(output(cat, "reading a definition", b"").await?) {
        Ok(content) => DefinitionFile::Text { path, content },
        Err(_) => DefinitionFile::Unusable { path, reason: "it is not UTF-8 text: save it as UTF-8" },
    })
}

/// Id, author and message out of an answer of `git cat-file --batch`.
fn parse_commit(answer: &str) -> Option<(ObjectId, String, String)> {
    let (first, content) = answer.split_once('\n')?;
    let (id, rest) = first.split_once(' ')?;
    if !rest.starts_with("commit ") {
        return None;
    }
    let (head, message) = content.split_once("\n\n").unwrap_or((content, ""));
    let author = head.lines().find_map(|line| line.strip_prefix("author ")).unwrap_or_default();
    // Behind the mail address are the time and its zone.
    let author = author.rfind('>').map_or(author, |end| &author[..=end]);
    Some((id.parse().ok()?, author.to_owned(), message.trim_end().to_owned()))
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
        Some(Self { mode: mode.to_owned(), object: object.to_owned(), size: size.parse().ok(), path: path.to_owned() })
    }
}

/// Why an entry cannot be read as a definition.
fn entry_problem(entry: &Entry) -> Option<&'static str> {
    if !entry.mode.starts_with("100") {
        return Some("it is not a plain file: replace the link or directory by one");
    }
    let fits = entry.size.is_some_and(|size| size <= DEFINITION_BYTES_MAX);
    (!fits).then_some("it is larger than 1 MiB, the limit of a definition: make it smaller")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_commit_is_read_with_its_author_and_message() {
        let id = "0123456789abcdef0123456789abcdef01234567";
        let head =
            "tree x\nparent y\nauthor A <B> C <a@b.org> 17 +0100\ncommitter D <d> 17 +0100\ngpgsig -----\n  more";
        let (found, author, message) =
            parse_commit(&format!("{id} commit 99\n{head}\n\nTitle\n\nBody\n\n")).expect("read");
        assert_eq!((found.as_str(), author.as_str(), message.as_str()), (id, "A <B> C <a@b.org>", "Title\n\nBody"));
        assert_eq!(parse_commit(&format!("{id}^{{commit}} missing\n")), None);
        assert_eq!(parse_commit(&format!("{id} tree 3\nabc\n")), None);
    }
}
