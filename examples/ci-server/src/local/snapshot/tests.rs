//! Against real repositories.

use std::{collections::BTreeSet, fs, os::unix::fs::symlink, path::Path, process::Command};

use tempfile::TempDir;

use super::*;

fn git(dir: &Path, args: &[&str]) -> String {
    let mut command = Command::new("git");
    for (name, _) in std::env::vars().filter(|(name, _)| name.starts_with("GIT_")) {
        command.env_remove(name);
    }
    let output = command
        .current_dir(dir)
        .env("GIT_CONFIG_GLOBAL", "/dev/null")
        .args(["-c", "user.name=t", "-c", "user.email=t@t", "-c", "init.defaultBranch=main"])
        .args(["-c", "protocol.file.allow=always"])
        .args(args)
        .output()
        .unwrap();
    assert!(output.status.success(), "git {args:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap().trim().to_owned()
}

struct Fixture {
    dir: TempDir,
}

impl Fixture {
    fn new() -> Self {
        let dir = TempDir::new().unwrap();
        fs::create_dir(dir.path().join("repo")).unwrap();
        git(&dir.path().join("repo"), &["init", "--quiet"]);
        Self { dir }
    }

    fn repo(&self) -> PathBuf {
        self.dir.path().join("repo")
    }

    fn write(&self, file: &str, content: &str) {
        let path = self.repo().join(file);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, content).unwrap();
    }

    fn commit_all(&self) -> String {
        git(&self.repo(), &["add", "--all"]);
        git(&self.repo(), &["commit", "--quiet", "--message", "x"]);
        git(&self.repo(), &["rev-parse", "HEAD"])
    }

    async fn take(&self, below: &str) -> Snapshot {
        let (dir, into) = (self.repo().join(below), self.dir.path().join("bare.git"));
        take(&dir, &into, &RefChoice::Current).await.unwrap()
    }

    /// What a clone gets, as a directory.
    fn cloned(&self, snapshot: &Snapshot) -> PathBuf {
        let clone = self.dir.path().join("clone");
        fs::create_dir(&clone).unwrap();
        git(&clone, &["init", "--quiet"]);
        git(&clone, &["fetch", "--quiet", snapshot.repository.to_str().unwrap(), "+refs/heads/*:refs/remotes/o/*"]);
        git(&clone, &["checkout", "--quiet", &snapshot.commit]);
        clone
    }
}

fn files(dir: &Path) -> BTreeSet<String> {
    git(dir, &["ls-files"]).lines().map(str::to_owned).collect()
}

#[tokio::test]
async fn a_clone_has_changed_and_untracked_files_but_no_ignored_and_no_deleted_ones() {
    let fixture = Fixture::new();
    for file in ["changed", "deleted", "same", "kept.log"] {
        fixture.write(file, "old");
    }
    let head = fixture.commit_all();
    git(&fixture.repo(), &["tag", "v1"]);
    fixture.write(".gitignore", "*.log\n");
    // As long as before and at once: git must not trust the times in the index.
    fixture.write("changed", "new");
    fixture.write("sub/untracked", "u");
    fixture.write("ignored.log", "i");
    fs::remove_file(fixture.repo().join("deleted")).unwrap();
    symlink("changed", fixture.repo().join("link")).unwrap();
    let before = git(&fixture.repo(), &["status", "--porcelain"]);
    let index = fs::read(fixture.repo().join(".git/index")).unwrap();
    let objects = git(&fixture.repo(), &["count-objects", "-v"]);

    let snapshot = fixture.take("").await;
    let clone = fixture.cloned(&snapshot);

    let expected = [".gitignore", "changed", "kept.log", "link", "same", "sub/untracked"];
    assert_eq!(files(&clone), expected.map(str::to_owned).into());
    assert_eq!(fs::read_to_string(clone.join("changed")).unwrap(), "new");
    assert!(clone.join("link").is_symlink());
    assert_eq!(git(&clone, &["rev-parse", "HEAD^"]), head);
    assert_eq!(git(&snapshot.repository, &["describe", "--tags", "HEAD^"]), "v1");
    assert_eq!(snapshot.branch.as_deref(), Some("main"));
    assert_eq!(git(&fixture.repo(), &["count-objects", "-v"]), objects, "no object was added");
    assert_eq!(fs::read(fixture.repo().join(".git/index")).unwrap(), index, "the index is as it was");
    assert_eq!(git(&fixture.repo(), &["status", "--porcelain"]), before);
}

#[tokio::test]
async fn a_clean_tree_is_the_commit_itself() {
    let fixture = Fixture::new();
    fixture.write("a", "1");
    let head = fixture.commit_all();
    assert_eq!(fixture.take("").await.commit, head);
}

#[tokio::test]
async fn a_subdirectory_becomes_the_root_without_history() {
    let fixture = Fixture::new();
    fixture.write("outside", "1");
    fixture.write("a [b]/tracked", "1");
    fixture.commit_all();
    fixture.write("a [b]/untracked", "2");
    let snapshot = fixture.take("a [b]").await;
    let clone = fixture.cloned(&snapshot);
    assert_eq!(files(&clone), ["tracked", "untracked"].map(str::to_owned).into());
    assert_eq!(git(&clone, &["rev-list", "--count", "HEAD"]), "1");
}

#[tokio::test]
async fn a_repository_without_commits_and_a_detached_head_have_snapshots_too() {
    let fixture = Fixture::new();
    fixture.write("a", "1");
    let unborn = fixture.take("").await;
    assert_eq!(unborn.branch.as_deref(), Some("main"));
    assert_eq!(files(&fixture.cloned(&unborn)), ["a".to_owned()].into());

    let fixture = Fixture::new();
    fixture.write("a", "1");
    let head = fixture.commit_all();
    git(&fixture.repo(), &["checkout", "--quiet", "--detach"]);
    let detached = fixture.take("").await;
    assert_eq!((detached.commit, detached.branch), (head, None));
    assert_eq!(git(&detached.repository, &["for-each-ref", "--format=%(refname)"]), "refs/heads/detached");
}

#[tokio::test]
async fn linked_worktrees_submodules_and_shallow_clones_have_snapshots() {
    let fixture = Fixture::new();
    fixture.write("a", "1");
    fixture.commit_all();
    fixture.write("a", "2");
    fixture.commit_all();
    let root = fixture.dir.path();

    git(&fixture.repo(), &["worktree", "add", "--quiet", "../linked"]);
    fs::write(root.join("linked/new"), "n").unwrap();
    let linked = take(&root.join("linked"), &root.join("linked.git"), &RefChoice::Current).await.unwrap();
    assert_eq!(linked.branch.as_deref(), Some("linked"));
    assert_eq!(git(&linked.repository, &["show", "HEAD:new"]), "n");

    let url = format!("file://{}", fixture.repo().display());
    git(root, &["clone", "--quiet", "--depth", "1", &url, "shallow"]);
    let shallow = take(&root.join("shallow"), &root.join("shallow.git"), &RefChoice::Current).await.unwrap();
    assert_eq!(files(&fixture.cloned(&shallow)), ["a".to_owned()].into());

    git(&fixture.repo(), &["submodule", "--quiet", "add", &url, "module"]);
    fixture.write("module/a", "dirty");
    let with_module = take(&fixture.repo(), &root.join("module.git"), &RefChoice::Current).await.unwrap();
    let entry = git(&with_module.repository, &["ls-tree", "HEAD", "module"]);
    assert!(entry.starts_with("160000 commit"), "{entry}");
}

#[tokio::test]
async fn the_commit_is_called_what_was_chosen() {
    let fixture = Fixture::new();
    fixture.write("a", "1");
    fixture.commit_all();
    git(&fixture.repo(), &["tag", "v1"]);
    let bare = fixture.dir.path().join("bare.git");
    let tagged = take(&fixture.repo(), &bare, &RefChoice::Tag("v1".into())).await.unwrap();
    assert_eq!(git(&tagged.repository, &["for-each-ref", "--format=%(refname)"]), "refs/tags/v1");
    let refused = take(&fixture.repo(), &bare, &RefChoice::Branch("a..b".into())).await.unwrap_err();
    assert!(matches!(refused, SnapshotError::InvalidRef(name) if name == "a..b"));
}

#[tokio::test]
async fn what_has_no_snapshot_says_what_to_do() {
    let fixture = Fixture::new();
    let bare = fixture.dir.path().join("bare.git");
    let refused = take(fixture.dir.path(), &bare, &RefChoice::Current).await.unwrap_err();
    assert!(refused.to_string().contains("git init"), "{refused}");
    let refused = take(&fixture.repo().join(".git"), &bare, &RefChoice::Current).await.unwrap_err();
    assert!(matches!(refused, SnapshotError::NoWorkTree(_)), "{refused:?}");
    assert!(!bare.exists(), "nothing is left behind");
    fixture.write(".gitignore", "out/\n");
    fixture.write("out/a", "1");
    let refused = take(&fixture.repo().join("out"), &bare, &RefChoice::Current).await.unwrap_err();
    assert!(matches!(refused, SnapshotError::Ignored(_)), "{refused:?}");
}
