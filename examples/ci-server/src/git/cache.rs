//! How do the rows and packs become a repository that the `git` program can work on?
//!
//! As a bare repository per project, brought up to date before each use and compared with the rows every time, so that
//! it can be deleted, or be of an older state, at any moment. Its refs are one `packed-refs` file, replaced whole.

use std::{
    collections::{BTreeSet, HashMap},
    io,
    path::{Path, PathBuf},
    sync::{Arc, Mutex},
};

use tokio::sync::OwnedMutexGuard;

use super::{
    Error, Result,
    command::{git, output},
    packs::Packs,
};
use crate::configdata::{ConfigData, Pack, ProjectId, Repository};

/// Git needs no more than these to take a directory for a repository. Any object may be asked for by its id, so that
/// a run finds its commit after its branch has moved on.
const CONFIG: &str = "[core]\n\trepositoryformatversion = 0\n\tbare = true\n[uploadpack]\n\tallowFilter = true\n\tallowAnySHA1InWant = true\n";

/// The repositories on the disk.
#[derive(Debug)]
pub(super) struct Caches {
    directory: PathBuf,
    config: ConfigData,
    packs: Packs,
    /// One lock per project, so that each is changed by one at a time.
    locks: Mutex<HashMap<ProjectId, Arc<tokio::sync::Mutex<()>>>>,
}

impl Caches {
    pub(super) async fn open(directory: &Path, config: ConfigData, packs: Packs) -> Result<Self> {
        tokio::fs::create_dir_all(directory).await.map_err(Error::io("creating", directory))?;
        let directory = tokio::fs::canonicalize(directory).await.map_err(Error::io("opening", directory))?;
        let caches = Self { directory, config, packs, locks: Mutex::default() };
        ignore_missing(tokio::fs::remove_dir_all(caches.unfinished()).await)
            .map_err(Error::io("removing", caches.unfinished()))?;
        Ok(caches)
    }

    /// The directory of pushes that are being received, on the same filesystem as the repositories.
    pub(super) fn unfinished(&self) -> PathBuf {
        self.directory.join("unfinished")
    }

    /// The directory of a project's repository, with all of its packs and exactly its refs.
    pub(super) async fn synced(&self, project: &ProjectId) -> Result<PathBuf> {
        let _held = self.lock(project).await;
        // Read under the lock: a pack that is installed meanwhile must not look as if it were unknown.
        let repository = self.config.repository(project).await?;
        let git_dir = self.directory.join(format!("{project}.git"));
        let pack_dir = git_dir.join("objects/pack");
        for directory in [&pack_dir, &git_dir.join("refs")] {
            tokio::fs::create_dir_all(directory).await.map_err(Error::io("creating", directory))?;
        }
        write_if_changed(&git_dir.join("config"), CONFIG.as_bytes()).await?;
        let present = packs_in(&pack_dir).await?;
        for pack in repository.packs.iter().filter(|pack| !present.contains(pack.checksum.as_str())) {
            self.fetch(project, &git_dir, pack).await?;
        }
        // What has no row was never pushed as far as the rows know; a check that found its objects would be wrong.
        let known: BTreeSet<&str> = repository.packs.iter().map(|pack| pack.checksum.as_str()).collect();
        for unknown in present.iter().filter(|checksum| !known.contains(checksum.as_str())) {
            remove_pack(&pack_dir, unknown).await?;
        }
        write_if_changed(&git_dir.join("packed-refs"), packed_refs(&repository).as_bytes()).await?;
        // Last: git takes a directory without it for no repository.
        write_if_changed(&git_dir.join("HEAD"), head(&repository).as_bytes()).await?;
        Ok(git_dir)
    }

    /// Moves a pack whose row is committed from a quarantine into the repository, which spares its download.
    pub(super) async fn install(&self, project: &ProjectId, quarantine: &Path, checksum: &str) -> io::Result<()> {
        let _held = self.lock(project).await;
        let pack_dir = self.directory.join(format!("{project}.git/objects/pack"));
        // Git takes a pack for present when it sees its index, so that goes last.
        for extension in ["pack", "rev", "idx"] {
            let file = format!("pack-{checksum}.{extension}");
            ignore_missing(tokio::fs::rename(quarantine.join(&file), pack_dir.join(&file)).await)?;
        }
        Ok(())
    }

    async fn fetch(&self, project: &ProjectId, git_dir: &Path, pack: &Pack) -> Result<()> {
        let unfinished = self.unfinished();
        tokio::fs::create_dir_all(&unfinished).await.map_err(Error::io("creating", &unfinished))?;
        let directory = tempfile::tempdir_in(&unfinished).map_err(Error::io("creating a directory in", &unfinished))?;
        let name = format!("pack-{}.pack", pack.checksum);
        let file = directory.path().join(&name);
        self.packs.fetch(project, pack, &file).await?;
        let mut index = git(git_dir);
        index.arg("index-pack").arg(&file);
        let printed = output(index, "indexing a pack of the object storage", b"").await?;
        if String::from_utf8_lossy(&printed).trim() != pack.checksum.as_str() {
            let stderr = format!("pack object `{}` of project {project} is not pack {}", pack.id, pack.checksum);
            return Err(Error::Git { doing: "checking a pack of the object storage", stderr });
        }
        for extension in ["pack", "rev", "idx"] {
            let file = format!("pack-{}.{extension}", pack.checksum);
            let to = git_dir.join("objects/pack").join(&file);
            ignore_missing(tokio::fs::rename(directory.path().join(&file), &to).await)
                .map_err(Error::io("moving a pack to", to))?;
        }
        Ok(())
    }

    async fn lock(&self, project: &ProjectId) -> OwnedMutexGuard<()> {
        let lock = {
            let mut locks = self.locks.lock().expect("the lock is never poisoned: no panic while held");
            // Nobody else holds a lock that only the map knows.
            locks.retain(|_, lock| Arc::strong_count(lock) > 1);
            Arc::clone(locks.entry(project.clone()).or_default())
        };
        lock.lock_owned().await
    }
}

/// The checksums of the packs of a directory that are complete.
async fn packs_in(pack_dir: &Path) -> Result<BTreeSet<String>> {
    let mut files = BTreeSet::new();
    let mut entries = tokio::fs::read_dir(pack_dir).await.map_err(Error::io("reading", pack_dir))?;
    while let Some(entry) = entries.next_entry().await.map_err(Error::io("reading", pack_dir))? {
        files.extend(entry.file_name().into_string());
    }
    let checksums = files.iter().filter_map(|file| file.strip_prefix("pack-")?.strip_suffix(".idx"));
    let complete = checksums.filter(|checksum| files.contains(&format!("pack-{checksum}.pack")));
    Ok(complete.map(str::to_owned).collect())
}

async fn remove_pack(pack_dir: &Path, checksum: &str) -> Result<()> {
    for extension in ["idx", "rev", "pack"] {
        let file = pack_dir.join(format!("pack-{checksum}.{extension}"));
        ignore_missing(tokio::fs::remove_file(&file).await).map_err(Error::io("removing", file))?;
    }
    Ok(())
}

/// Every ref in the one file that git reads in a single piece (*gitrepository-layout*, "packed-refs").
fn packed_refs(repository: &Repository) -> String {
    let lines = repository.refs.iter().map(|(name, object)| format!("{object} {name}\n"));
    std::iter::once("# pack-refs with: sorted \n".to_owned()).chain(lines).collect()
}

fn head(repository: &Repository) -> String {
    let branch = repository.project.default_branch.as_ref().map_or("refs/heads/main", |branch| branch.as_str());
    format!("ref: {branch}\n")
}

/// Replaces a file as a whole, unless it has the content already.
async fn write_if_changed(path: &Path, content: &[u8]) -> Result<()> {
    match tokio::fs::read(path).await {
        Ok(present) if present == content => return Ok(()),
        Ok(_) => {}
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => return Err(Error::io("reading", path)(error)),
    }
    let new = path.with_extension("new");
    tokio::fs::write(&new, content).await.map_err(Error::io("writing", &new))?;
    tokio::fs::rename(&new, path).await.map_err(Error::io("writing", path))
}

fn ignore_missing(result: io::Result<()>) -> io::Result<()> {
    match result {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        other => other,
    }
}
