//! What only this storage promises; the promises of every storage are in the conformance suite.

use std::{fs, os::unix::fs::symlink, path::Path};

use bytes::Bytes;
use futures::{StreamExt, TryStreamExt, stream};
use rustix::{
    fs::{Advice, fadvise},
    io::Errno,
};
use tempfile::TempDir;

use super::{
    PosixStorage,
    calls::Calls,
    power::{SyncVerdict, TracedDisk},
    root::Root,
    staging::STAGING_DIRECTORY,
};
use crate::{
    Body, BodyError, Durability, Error, ListDepth, ListRequest, ObjectKey, ObjectMeta, ObjectStorage, ObjectStorageExt,
    PosixFlatStorage, PutMode, PutOptions,
};

fn key(key: &str) -> ObjectKey {
    ObjectKey::parse(key).unwrap()
}

async fn open() -> (TempDir, PosixStorage) {
    let directory = tempfile::tempdir().unwrap();
    let storage = PosixStorage::open(directory.path()).await.unwrap();
    (directory, storage)
}

/// A storage in `directory/objects` whose syncs are counted and may fail.
async fn open_traced() -> (TempDir, TracedDisk, PosixStorage) {
    let directory = tempfile::tempdir().unwrap();
    let disk = TracedDisk::new(directory.path()).unwrap();
    let storage = disk.open_posix("objects").await.unwrap();
    (directory, disk, storage)
}

fn fail_nth_sync(disk: &TracedDisk, nth: usize) {
    let mut seen = 0;
    disk.on_sync(move |_| {
        seen += 1;
        if seen == nth { SyncVerdict::Fail } else { SyncVerdict::Make }
    });
}

async fn put(storage: &PosixStorage, name: &str) -> crate::Result<()> {
    storage.put_bytes(&key(name), name.to_owned().into(), PutMode::Overwrite).await
}

async fn put_relaxed(storage: &PosixStorage, name: &str) {
    let relaxed = PutOptions { durability: Durability::Relaxed, ..PutOptions::default() };
    storage.put(&key(name), name.to_owned().into(), relaxed).await.unwrap();
}

/// How many syncs a write takes.
async fn syncs_of_put(disk: &TracedDisk, storage: &PosixStorage, name: &str) -> usize {
    let before = disk.syncs();
    put(storage, name).await.unwrap();
    disk.syncs() - before
}

/// The objects that are being written, of every process.
fn staged(root: &Path) -> Vec<String> {
    let mut names = Vec::new();
    for writer in fs::read_dir(root.join(STAGING_DIRECTORY)).unwrap().map(Result::unwrap) {
        if writer.file_type().unwrap().is_dir() {
            let files = fs::read_dir(writer.path()).unwrap().map(|file| file.unwrap().file_name());
            names.extend(files.map(|name| name.into_string().unwrap()).filter(|name| name != "lock"));
        }
    }
    names
}

#[tokio::test]
async fn what_was_written_is_a_plain_file() {
    let directory = tempfile::tempdir().unwrap();
    let storage = PosixStorage::open(directory.path()).await.unwrap();
    let key = ObjectKey::parse("a/b/c").unwrap();
    storage.put_bytes(&key, "content".into(), PutMode::Create).await.unwrap();
    assert_eq!(fs::read(directory.path().join("a/b/c")).unwrap(), b"content");
    assert_eq!(storage.get_bytes(&key).await.unwrap(), "content");
    let listed = storage.list_objects("").await.unwrap();
    assert_eq!(listed, [ObjectMeta::new(key.clone(), 7)]);
    storage.delete(&key).await.unwrap();
    assert!(!directory.path().join("a").exists());
}

#[tokio::test]
async fn a_synced_write_syncs_what_is_not_known_to_be_on_disk() {
    let (_directory, disk, storage) = open_traced().await;
    assert_eq!(syncs_of_put(&disk, &storage, "a").await, 2, "the file and the root");
    assert_eq!(syncs_of_put(&disk, &storage, "d/e/1").await, 4, "the file, and e, d and the root");
    assert_eq!(syncs_of_put(&disk, &storage, "d/e/2").await, 2, "the file and e; the rest is on the disk");
    assert_eq!(syncs_of_put(&disk, &storage, "d/f/1").await, 3, "the file, f, and d");
    for name in ["d/e/1", "d/e/2"] {
        storage.delete(&key(name)).await.unwrap();
    }
    assert_eq!(syncs_of_put(&disk, &storage, "d/e/3").await, 3, "the file, a new e, and d");
}

#[tokio::test]
async fn a_directory_that_a_relaxed_write_or_another_process_made_is_synced_by_the_first_synced_one() {
    let (_directory, disk, storage) = open_traced().await;
    let before = disk.syncs();
    put_relaxed(&storage, "d/e/1").await;
    assert_eq!(disk.syncs(), before, "a relaxed write syncs nothing");
    assert_eq!(syncs_of_put(&disk, &storage, "d/e/2").await, 4);
    let other = disk.open_posix("objects").await.unwrap();
    assert_eq!(syncs_of_put(&disk, &other, "d/e/3").await, 4);
}

#[tokio::test]
async fn a_file_that_cannot_be_synced_is_not_published() {
    let (directory, disk, storage) = open_traced().await;
    put(&storage, "d/old").await.unwrap();
    fail_nth_sync(&disk, 1);
    let before = disk.syncs();
    let error = put(&storage, "d/new").await.unwrap_err();
    assert!(matches!(error, Error::Unavailable { doing: "syncing", .. }), "{error:?}");
    assert_eq!(disk.syncs(), before + 1, "it is not tried again");
    assert!(!storage.exists(&key("d/new")).await.unwrap());
    assert_eq!(staged(&directory.path().join("objects")), [""; 0]);
    put(&storage, "d/new").await.unwrap();
}

#[tokio::test]
async fn a_directory_that_cannot_be_synced_puts_the_storage_out_of_use() {
    for nth in [2, 3, 4] {
        let (directory, disk, storage) = open_traced().await;
        fail_nth_sync(&disk, nth);
        let error = put(&storage, "d/e/1").await.unwrap_err();
        assert!(matches!(error, Error::Unusable { .. }), "{error:?}");
        // Reading the object back would prove nothing.
        for error in [
            storage.get_bytes(&key("d/e/1")).await.unwrap_err(),
            storage.head(&key("d/e/1")).await.unwrap_err(),
            put(&storage, "x").await.unwrap_err(),
            storage.put(&key("x"), Body::stream(stream::empty()), PutOptions::default()).await.unwrap_err(),
            storage.delete(&key("x")).await.unwrap_err(),
            storage.list_objects("").await.unwrap_err(),
        ] {
            assert!(matches!(&error, Error::Unusable { message, .. } if message.contains("d/e/1")), "{error:?}");
        }
        drop(storage);
        put(&PosixStorage::open(directory.path().join("objects")).await.unwrap(), "x").await.unwrap();
    }
}

#[tokio::test]
async fn refused_writes_leave_nothing_behind() {
    let (directory, storage) = open().await;
    put(&storage, "a/b").await.unwrap();
    let failing = stream::iter([Ok(Bytes::from(vec![0; 3_000_000])), Err(BodyError::from("broken"))]);
    storage.put(&key("x/y"), Body::stream(failing), PutOptions::default()).await.unwrap_err();
    storage.put_bytes(&key("a/b"), "again".into(), PutMode::Create).await.unwrap_err();
    put(&storage, "a").await.unwrap_err();
    put(&storage, "a/b/c").await.unwrap_err();
    assert_eq!(staged(directory.path()), [""; 0]);
    assert!(!directory.path().join("x").exists());
}

#[tokio::test]
async fn a_cancelled_write_removes_what_it_staged() {
    let (directory, storage) = open().await;
    let body = stream::iter([Ok(Bytes::from(vec![0; 2_000_000]))]).chain(stream::pending());
    let write = tokio::spawn({
        let storage = storage.clone();
        async move { storage.put(&key("d/a"), Body::stream(body), PutOptions::default()).await }
    });
    while staged(directory.path()).is_empty() {
        tokio::task::yield_now().await;
    }
    write.abort();
    assert!(write.await.unwrap_err().is_cancelled());
    // A system call that was under way ends by itself.
    while !staged(directory.path()).is_empty() {
        tokio::task::yield_now().await;
    }
    assert!(!directory.path().join("d").exists());
}

#[tokio::test]
async fn a_create_loses_late_as_well_as_early() {
    let (directory, storage) = open().await;
    // The body ends only after somebody else has created the object, so that the first look found nothing.
    let (ends, end) = tokio::sync::oneshot::channel::<()>();
    let body = stream::iter([Ok(Bytes::from(vec![0; 2_000_000]))]).chain(stream::once(async move {
        end.await.unwrap();
        Ok("the end".into())
    }));
    let create = PutOptions { mode: PutMode::Create, ..PutOptions::default() };
    let slow = tokio::spawn({
        let storage = storage.clone();
        async move { storage.put(&key("d/a"), Body::stream(body), create).await }
    });
    while staged(directory.path()).is_empty() {
        tokio::task::yield_now().await;
    }
    put(&storage, "d/a").await.unwrap();
    ends.send(()).unwrap();
    assert!(slow.await.unwrap().unwrap_err().is_already_exists());
    assert_eq!(storage.get_bytes(&key("d/a")).await.unwrap(), "d/a");
    assert_eq!(staged(directory.path()), [""; 0]);
}

#[tokio::test]
async fn what_a_dead_writer_left_is_swept_and_what_a_living_one_writes_is_not() {
    let (directory, living) = open().await;
    let dead = directory.path().join(STAGING_DIRECTORY).join("17");
    fs::create_dir(&dead).unwrap();
    fs::write(dead.join("0"), "half an obj").unwrap();
    fs::write(dead.join("lock"), "").unwrap();
    let in_flight = living.store.staging.stage().unwrap();
    let other = PosixStorage::open(directory.path()).await.unwrap();
    assert!(!dead.exists());
    assert_eq!(staged(directory.path()), ["0"]);
    assert_eq!(other.list_objects("").await.unwrap(), []);
    drop(in_flight);
    assert_eq!(staged(directory.path()), [""; 0]);
    drop((living, other));
    let left = fs::read_dir(directory.path().join(STAGING_DIRECTORY)).unwrap().map(|entry| entry.unwrap().file_name());
    let mut left: Vec<_> = left.collect();
    left.sort();
    assert_eq!(left, ["format", "lock"], "closing removes what opening made");
}

#[tokio::test]
async fn no_symbolic_link_leads_anywhere() {
    let outside = tempfile::tempdir().unwrap();
    fs::write(outside.path().join("secret"), "secret").unwrap();
    let (directory, storage) = open().await;
    symlink(outside.path(), directory.path().join("dir")).unwrap();
    symlink(outside.path().join("secret"), directory.path().join("file")).unwrap();
    fs::create_dir(directory.path().join("real")).unwrap();
    symlink("..", directory.path().join("real/up")).unwrap();
    for name in ["file", "dir/secret", "dir/new", "real/up/x", "real/up/real/up/file"] {
        let key = key(name);
        for error in [storage.head(&key).await.unwrap_err(), storage.get_bytes(&key).await.unwrap_err()] {
            assert!(matches!(error, Error::Corrupt { .. }), "{name}: {error:?}");
        }
        let create = storage.put_bytes(&key, "x".into(), PutMode::Create).await.unwrap_err();
        assert!(matches!(create, Error::Corrupt { .. }), "{name}: {create:?}");
        if name != "file" {
            let overwrite = put(&storage, name).await.unwrap_err();
            assert!(matches!(overwrite, Error::Corrupt { .. }), "{name}: {overwrite:?}");
            let delete = storage.delete(&key).await.unwrap_err();
            assert!(matches!(delete, Error::Corrupt { .. }), "{name}: {delete:?}");
        }
    }
    for prefix in ["", "dir/", "dir/s", "real/up/", "file"] {
        for depth in [ListDepth::Recursive, ListDepth::OneLevel] {
            let request = ListRequest { depth, ..ListRequest::prefix(prefix) };
            let listed: Vec<_> = storage.list(request).try_collect().await.unwrap();
            assert_eq!(listed, [], "{prefix}");
        }
    }
    // An overwrite replaces the link itself.
    put(&storage, "file").await.unwrap();
    assert_eq!(fs::read_to_string(outside.path().join("secret")).unwrap(), "secret");
    assert_eq!(storage.get_bytes(&key("file")).await.unwrap(), "file");
    assert_eq!(fs::read_dir(outside.path()).unwrap().count(), 1);
}

#[test]
fn an_old_kernel_reaches_no_further() {
    let outside = tempfile::tempdir().unwrap();
    let directory = tempfile::tempdir().unwrap();
    fs::create_dir_all(directory.path().join("a/b")).unwrap();
    fs::write(directory.path().join("a/b/c"), "").unwrap();
    symlink(outside.path(), directory.path().join("a/link")).unwrap();
    let fd = || std::fs::File::open(directory.path()).unwrap().into();
    for root in [Root::new(fd(), Calls::default()), Root::without_openat2(fd())] {
        root.open("a/b/c", rustix::fs::OFlags::RDONLY).unwrap();
        root.open_directory("").unwrap();
        root.open_or_create_directory("a/d/e").unwrap();
        for (path, expected) in
            [("a/x/c", Errno::NOENT), ("a/b/c/d", Errno::NOTDIR), ("a/link/x", Errno::LOOP), ("a/link", Errno::LOOP)]
        {
            assert_eq!(root.open_directory(path).unwrap_err(), expected, "{path}");
        }
        assert_eq!(root.open_or_create_directory("a/link/x").unwrap_err(), Errno::LOOP);
    }
}

#[tokio::test]
async fn reserved_names_are_no_keys_of_this_storage() {
    let (directory, storage) = open().await;
    fs::create_dir(directory.path().join("lost+found")).unwrap();
    fs::write(directory.path().join("lost+found/x"), "").unwrap();
    for name in [".runyard-staging", ".runyard-staging/lock", "lost+found/x"] {
        assert!(matches!(put(&storage, name).await.unwrap_err(), Error::UnsupportedKey { .. }), "{name}");
        assert!(!storage.exists(&key(name)).await.unwrap(), "{name}");
        storage.delete(&key(name)).await.unwrap();
        assert_eq!(storage.list_objects(name).await.unwrap(), [], "{name}");
    }
    assert!(directory.path().join("lost+found/x").exists());
    assert!(directory.path().join(".runyard-staging/lock").exists());
    put(&storage, "below/lost+found/x").await.unwrap();
}

#[tokio::test]
async fn directories_that_a_crash_left_empty_are_in_nobodys_way() {
    let (directory, storage) = open().await;
    fs::create_dir_all(directory.path().join("a/b/c")).unwrap();
    let request = ListRequest { depth: ListDepth::OneLevel, ..ListRequest::default() };
    let listed: Vec<_> = storage.list(request).try_collect().await.unwrap();
    assert_eq!(listed, [], "an empty directory is no prefix");
    for mode in [PutMode::Create, PutMode::Overwrite] {
        fs::create_dir_all(directory.path().join("x/y/z")).unwrap();
        storage.put_bytes(&key("x"), "object".into(), mode).await.unwrap();
        storage.delete(&key("x")).await.unwrap();
    }
}

#[tokio::test]
async fn foreign_files_are_passed_over() {
    use std::os::unix::ffi::OsStrExt;
    let (directory, storage) = open().await;
    put(&storage, "a").await.unwrap();
    fs::write(directory.path().join(std::ffi::OsStr::from_bytes(b"not utf-8 \xff")), "").unwrap();
    let pipe = rustix::fs::CWD;
    rustix::fs::mkfifoat(pipe, directory.path().join("pipe"), rustix::fs::Mode::from_raw_mode(0o600)).unwrap();
    assert_eq!(storage.list_objects("").await.unwrap(), [ObjectMeta::new(key("a"), 1)]);
    // Opening a pipe for reading waits for a writer, unless it is asked not to.
    assert!(matches!(storage.get_bytes(&key("pipe")).await.unwrap_err(), Error::Corrupt { .. }));
}

#[tokio::test]
async fn a_file_that_somebody_truncated_is_reported() {
    let (directory, storage) = open().await;
    storage.put_bytes(&key("a"), vec![1; 8_000_000].into(), PutMode::Create).await.unwrap();
    let object = storage.get(&key("a"), crate::GetRange::Full).await.unwrap();
    fs::File::options().write(true).open(directory.path().join("a")).unwrap().set_len(10).unwrap();
    let read: crate::Result<Vec<_>> = object.stream.try_collect().await;
    assert!(matches!(read.unwrap_err(), Error::Corrupt { .. }));
}

/// How many descriptors of this process are open on a file.
fn descriptors_of(path: &Path) -> usize {
    let all = fs::read_dir("/proc/self/fd").unwrap().filter_map(|entry| fs::read_link(entry.unwrap().path()).ok());
    all.filter(|target| target == path).count()
}

#[tokio::test]
async fn what_is_in_memory_and_what_is_not_is_read_and_one_who_leaves_keeps_nothing_open() {
    let (directory, storage) = open().await;
    let path = directory.path().canonicalize().unwrap().join("a");
    let content: Vec<_> = (0..8_000_000_u32).map(|at| (at.wrapping_mul(0x9e37_79b9) >> 24) as u8).collect();
    storage.put_bytes(&key("a"), content.clone().into(), PutMode::Create).await.unwrap();

    let file = fs::File::open(&path).unwrap();
    file.sync_all().unwrap();
    for is_forgotten in [false, true] {
        let mut stream = storage.get(&key("a"), crate::GetRange::Full).await.unwrap().stream;
        let mut read = Vec::new();
        while let Some(piece) = stream.try_next().await.unwrap() {
            read.extend_from_slice(&piece);
            if is_forgotten {
                fadvise(&file, 0, None, Advice::DontNeed).unwrap();
            }
        }
        assert!(read == content);
    }
    drop(file);

    let mut leaving = storage.get(&key("a"), crate::GetRange::Full).await.unwrap().stream;
    leaving.try_next().await.unwrap();
    assert!(descriptors_of(&path) > 0);
    drop(leaving);
    // A system call that was under way ends by itself.
    while descriptors_of(&path) > 0 {
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn opening_creates_the_directory_or_says_why_it_cannot() {
    let directory = tempfile::tempdir().unwrap();
    let deep = directory.path().join("not/yet/there");
    put(&PosixStorage::open(&deep).await.unwrap(), "a").await.unwrap();
    let file = deep.join("a");
    symlink("nowhere", directory.path().join("dangling")).unwrap();
    symlink(&deep, directory.path().join("good")).unwrap();
    PosixStorage::open(directory.path().join("good")).await.unwrap();
    for (path, reason) in [
        (file.clone(), "not a directory"),
        (file.join("below"), "not a directory"),
        (directory.path().join("dangling"), "symbolic link to nothing"),
        (Path::new("/sys/kernel").to_owned(), "/sys/kernel"),
    ] {
        let error = PosixStorage::open(&path).await.unwrap_err();
        assert!(matches!(error, Error::Unusable { .. }), "{error:?}");
        assert!(error.to_string().contains(reason), "{error}");
    }
}

/// What a listing yields, and which directories it opens for that.
fn walk(storage: &PosixStorage, request: ListRequest) -> (Vec<String>, Vec<String>) {
    let mut walk = super::walk::Walk::new(storage.store.layout, request);
    let mut names = Vec::new();
    while !walk.is_done() {
        names.extend(walk.page(&storage.store.root).unwrap().iter().map(|entry| entry.name().to_owned()));
    }
    (names, walk.opened.into_inner())
}

#[tokio::test]
async fn a_listing_opens_only_what_is_on_its_way() {
    let (_directory, storage) = open().await;
    for name in ["a/1", "b/b/1", "b/c/1", "b/d/1", "e/1"] {
        put_relaxed(&storage, name).await;
    }
    let request = ListRequest { start_after: Some("b/c/1".to_owned()), ..ListRequest::prefix("b/") };
    let (names, opened) = walk(&storage, request);
    assert_eq!(names, ["b/d/1"]);
    assert_eq!(opened, ["b/", "b/c/", "b/d/"]);
}

#[tokio::test]
async fn a_listing_that_starts_deep_in_a_tree_does_not_walk_what_is_before() {
    let (_directory, storage) = open().await;
    for number in 0..10 * 10 * 10 {
        put_relaxed(&storage, &format!("t/{}/{}/{}", number / 100, number / 10 % 10, number % 10)).await;
    }
    let start_after = Some("t/8/8/8".to_owned());
    let (names, opened) = walk(&storage, ListRequest { start_after: start_after.clone(), ..ListRequest::default() });
    assert_eq!(names.len(), 111);
    assert_eq!(opened[..5], ["", "t/", "t/8/", "t/8/8/", "t/8/9/"]);
    assert_eq!(opened.len(), 3 + 2 + 1 + 10, "the way down, and 9/* behind it");

    let depth = ListDepth::OneLevel;
    let (names, opened) = walk(&storage, ListRequest { start_after, depth, ..ListRequest::prefix("t/8/") });
    assert_eq!(names, ["t/8/8/", "t/8/9/"]);
    assert_eq!(opened, ["t/8/", "t/8/8/", "t/8/9/"]);
}

/// What the first opening wrote down; frozen, because other versions read it.
fn marker(root: &Path) -> String {
    fs::read_to_string(root.join(STAGING_DIRECTORY).join("format")).unwrap()
}

#[tokio::test]
async fn a_directory_is_opened_only_as_what_it_was_made_as() {
    let (posix, flat) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    put(&PosixStorage::open(posix.path()).await.unwrap(), "a/b").await.unwrap();
    let storage = PosixFlatStorage::open(flat.path()).await.unwrap();
    storage.put_bytes(&key("a/b"), "a/b".into(), PutMode::Create).await.unwrap();
    assert_eq!(marker(posix.path()), "runyard posix 1\n");
    assert_eq!(marker(flat.path()), "runyard posixflat 1\n");

    let error = PosixFlatStorage::open(posix.path()).await.unwrap_err().to_string();
    assert!(error.contains("it belongs to a PosixStorage"), "{error}");
    let error = PosixStorage::open(flat.path()).await.unwrap_err().to_string();
    assert!(error.contains("it belongs to a PosixFlatStorage"), "{error}");

    let storage = PosixStorage::open(posix.path()).await.unwrap();
    assert_eq!(storage.get_bytes(&key("a/b")).await.unwrap(), "a/b");
    let storage = PosixFlatStorage::open(flat.path()).await.unwrap();
    assert_eq!(storage.get_bytes(&key("a/b")).await.unwrap(), "a/b");
}

#[tokio::test]
async fn a_directory_of_an_unknown_format_is_refused_and_left_alone() {
    let (directory, storage) = open().await;
    put(&storage, "a").await.unwrap();
    drop(storage);
    for unknown in ["runyard posix 2\n", "", "\u{1b}[31mred"] {
        fs::write(directory.path().join(STAGING_DIRECTORY).join("format"), unknown).unwrap();
        let error = PosixStorage::open(directory.path()).await.unwrap_err().to_string();
        assert!(error.contains("which this version does not know"), "{error}");
        assert!(!error.contains('\u{1b}'), "{error:?}");
        assert_eq!(marker(directory.path()), unknown);
    }
}

#[tokio::test]
async fn a_directory_without_a_mark_is_taken_as_what_it_may_be() {
    let plain = tempfile::tempdir().unwrap();
    fs::create_dir_all(plain.path().join("conf.d")).unwrap();
    fs::write(plain.path().join("conf.d/x"), "mine").unwrap();
    let error = PosixFlatStorage::open(plain.path()).await.unwrap_err().to_string();
    assert!(error.contains("it holds `conf.d/x`"), "{error}");
    assert!(error.contains("open it as a PosixStorage"), "{error}");
    let storage = PosixStorage::open(plain.path()).await.unwrap();
    assert_eq!(storage.get_bytes(&key("conf.d/x")).await.unwrap(), "mine");
    assert_eq!(marker(plain.path()), "runyard posix 1\n");

    let flat = tempfile::tempdir().unwrap();
    fs::create_dir_all(flat.path().join("a.d/empty")).unwrap();
    fs::create_dir(flat.path().join("lost+found")).unwrap();
    fs::write(flat.path().join("a.d/b#"), "older").unwrap();
    let storage = PosixFlatStorage::open(flat.path()).await.unwrap();
    assert_eq!(storage.get_bytes(&key("a/b")).await.unwrap(), "older");
    assert_eq!(marker(flat.path()), "runyard posixflat 1\n");
}
