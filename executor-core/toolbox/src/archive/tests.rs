//! Round trips, and archives that want out.

use std::fs;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, symlink};
use std::path::Path;

use proptest::prelude::*;

use super::*;

fn everything(source: &Path) -> PackSpec {
    let contents = PackContents { paths: vec!["**".into()], ..PackContents::default() };
    PackSpec { working_dir: source.to_owned(), contents: vec![contents] }
}

fn packed(spec: &PackSpec) -> Vec<u8> {
    let mut archive = Vec::new();
    pack(spec, &mut archive).unwrap();
    archive
}

fn strict(archive: &[u8], dest: &Path) -> Result<(), Error> {
    unpack(archive, dest, UnpackOptions::default())
}

fn set_mtime(path: &Path, seconds: i64, nanos: i64) {
    let time = rustix::fs::Timespec { tv_sec: seconds, tv_nsec: nanos };
    let times = rustix::fs::Timestamps { last_access: time, last_modification: time };
    rustix::fs::utimensat(rustix::fs::CWD, path, &times, rustix::fs::AtFlags::SYMLINK_NOFOLLOW).unwrap();
}

type Listed = (PathBuf, u32, (i64, i64), Vec<u8>);

/// Name, kind and mode, mtime, and content or target of all files below `root`.
fn listing(root: &Path) -> Vec<Listed> {
    let mut found = Vec::new();
    let mut unvisited = vec![root.to_owned()];
    while let Some(dir) = unvisited.pop() {
        for entry in fs::read_dir(&dir).unwrap() {
            let path = entry.unwrap().path();
            let metadata = fs::symlink_metadata(&path).unwrap();
            let content = if metadata.is_dir() {
                unvisited.push(path.clone());
                Vec::new()
            } else if metadata.is_symlink() {
                fs::read_link(&path).unwrap().into_os_string().into_encoded_bytes()
            } else {
                fs::read(&path).unwrap()
            };
            let name = path.strip_prefix(root).unwrap().to_owned();
            found.push((name, metadata.mode(), (metadata.mtime(), metadata.mtime_nsec()), content));
        }
    }
    found.sort();
    found
}

#[test]
fn links_modes_mtimes_long_names_and_empty_directories_survive() {
    let (source, dest) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let root = source.path();
    let long = ["d".repeat(120), "e".repeat(200), "f".repeat(250)].iter().collect::<PathBuf>();
    fs::create_dir_all(root.join("empty")).unwrap();
    fs::create_dir_all(root.join(&long)).unwrap();
    fs::write(root.join(&long).join("file"), "far").unwrap();
    fs::write(root.join("tool"), "#!/bin/sh").unwrap();
    fs::set_permissions(root.join("tool"), fs::Permissions::from_mode(0o751)).unwrap();
    fs::hard_link(root.join("tool"), root.join("zz-same")).unwrap();
    symlink("./../odd//target/.", root.join("link")).unwrap();
    symlink("t".repeat(300), root.join("long link")).unwrap();
    fs::set_permissions(root.join("empty"), fs::Permissions::from_mode(0o500)).unwrap();
    set_mtime(&root.join("tool"), 1_000_000_000, 123_456_789);
    set_mtime(&root.join("link"), 5, 6);
    set_mtime(&root.join("empty"), -2, 250_000_000);
    set_mtime(&root.join(&long), 77, 0);

    let archive = packed(&everything(root));
    strict(&archive, dest.path()).unwrap();
    assert_eq!(listing(dest.path()), listing(root));
    let inode = |name: &str| fs::metadata(dest.path().join(name)).unwrap().ino();
    assert_eq!(inode("tool"), inode("zz-same"));
    assert_eq!(packed(&everything(root)), archive, "the same files give the same bytes");
    strict(&archive, dest.path()).unwrap();
    assert_eq!(listing(dest.path()), listing(root), "unpacking it again changes nothing");
}

#[test]
fn only_what_matches_is_packed_at_its_destination() {
    let (source, dest) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    fs::create_dir_all(source.path().join("src/a/b")).unwrap();
    fs::write(source.path().join("src/a/b/x.jar"), "x").unwrap();
    fs::write(source.path().join("src/a/y.txt"), "y").unwrap();
    let contents = [("src", "./out", "**/*.jar"), ("src", "/dirs/", "a")].map(|(source_dir, dest_dir, path)| {
        PackContents { source_dir: source_dir.into(), dest_dir: dest_dir.into(), paths: vec![path.into()] }
    });
    let spec = PackSpec { working_dir: source.path().to_owned(), contents: contents.to_vec() };
    strict(&packed(&spec), dest.path()).unwrap();
    let names: Vec<_> = listing(dest.path()).into_iter().map(|found| found.0).collect();
    assert_eq!(names, ["dirs", "dirs/a", "out", "out/a", "out/a/b", "out/a/b/x.jar"].map(PathBuf::from));
}

#[test]
fn a_missing_source_directory_is_named() {
    let mut spec = everything(Path::new("/"));
    spec.contents[0].source_dir = "no/such".into();
    let error = pack(&spec, io::sink()).unwrap_err();
    assert_eq!(error.to_string(), "source directory not found: /no/such");
}

#[test]
fn a_file_with_other_content_is_a_conflict_unless_it_is_to_be_overwritten() {
    let (source, dest) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    fs::write(source.path().join("file"), "new").unwrap();
    symlink("new", source.path().join("link")).unwrap();
    let archive = packed(&everything(source.path()));
    for other in ["old", "new and more", "ne"] {
        fs::write(dest.path().join("file"), other).unwrap();
        let error = strict(&archive, dest.path()).unwrap_err();
        assert!(matches!(&error, Error::Conflict { path } if path == Path::new("file")), "{error}");
    }
    fs::remove_file(dest.path().join("file")).unwrap();
    fs::create_dir(dest.path().join("file")).unwrap();
    assert!(matches!(strict(&archive, dest.path()), Err(Error::Conflict { .. })), "a directory is no file");
    fs::remove_dir(dest.path().join("file")).unwrap();
    fs::write(dest.path().join("file"), "new").unwrap();
    symlink("old", dest.path().join("link")).unwrap();
    assert!(matches!(strict(&archive, dest.path()), Err(Error::Conflict { .. })));
    unpack(&*archive, dest.path(), UnpackOptions { overwrite: true }).unwrap();
    assert_eq!(listing(dest.path()), listing(source.path()));
}

#[test]
fn a_file_in_the_place_of_a_directory_is_a_conflict_or_is_replaced() {
    let (source, dest) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    fs::create_dir(source.path().join("dir")).unwrap();
    fs::write(dest.path().join("dir"), "file").unwrap();
    let archive = packed(&everything(source.path()));
    let error = strict(&archive, dest.path()).unwrap_err();
    assert!(matches!(&error, Error::Conflict { path } if path == Path::new("dir")), "{error}");
    unpack(&*archive, dest.path(), UnpackOptions { overwrite: true }).unwrap();
    assert!(dest.path().join("dir").is_dir());
}

#[test]
fn overwriting_through_a_symlink_replaces_the_link_and_not_its_target() {
    let (source, dest) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    fs::create_dir(source.path().join("in")).unwrap();
    fs::write(source.path().join("in/file"), "new").unwrap();
    fs::create_dir(dest.path().join("in")).unwrap();
    fs::write(dest.path().join("outside"), "old").unwrap();
    symlink("../outside", dest.path().join("in/file")).unwrap();
    unpack(&*packed(&everything(source.path())), dest.path(), UnpackOptions { overwrite: true }).unwrap();
    assert_eq!(fs::read(dest.path().join("outside")).unwrap(), b"old");
    assert_eq!(fs::read(dest.path().join("in/file")).unwrap(), b"new");
}

/// An archive with names that `pack` never writes.
fn forged(entries: &[(tar::EntryType, &str, &str)]) -> Vec<u8> {
    let mut builder = tar::Builder::new(zstd::Encoder::new(Vec::new(), 1).unwrap());
    for (kind, name, link) in entries {
        let mut header = tar::Header::new_gnu();
        header.as_gnu_mut().unwrap().name[..name.len()].copy_from_slice(name.as_bytes());
        header.set_entry_type(*kind);
        header.set_link_name_literal(link).unwrap();
        header.set_mode(0o644);
        header.set_uid(0);
        header.set_gid(0);
        header.set_mtime(0);
        header.set_size(0);
        header.set_cksum();
        builder.append(&header, io::empty()).unwrap();
    }
    builder.into_inner().unwrap().finish().unwrap()
}

#[test]
fn archives_that_leave_the_destination_are_refused() {
    use tar::EntryType::{Link, Regular, Symlink};
    let outside = tempfile::tempdir().unwrap();
    let absolute = outside.path().join("file");
    let (outside_dir, absolute) = (outside.path().to_str().unwrap(), absolute.to_str().unwrap());
    let forgeries: [&[(tar::EntryType, &str, &str)]; 6] = [
        &[(Regular, absolute, "")],
        &[(Regular, "../file", "")],
        &[(Regular, "a/../../file", "")],
        &[(Symlink, "door", outside_dir), (Regular, "door/file", "")],
        &[(Link, "file", "../secret")],
        &[(Symlink, "door", outside_dir), (Link, "file", "door/secret")],
    ];
    for forgery in forgeries {
        for overwrite in [false, true] {
            let dest = outside.path().join("dest");
            let result = unpack(&*forged(forgery), &dest, UnpackOptions { overwrite });
            assert!(matches!(result, Err(Error::LeavesDestination { .. })), "{forgery:?}: {result:?}");
            fs::remove_dir_all(&dest).unwrap();
        }
    }
    assert_eq!(listing(outside.path()), [], "nothing was written outside");
}

#[test]
fn a_symlink_that_was_there_before_is_not_followed_either() {
    let (outside, dest) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    symlink(outside.path(), dest.path().join("door")).unwrap();
    let result = strict(&forged(&[(tar::EntryType::Regular, "door/file", "")]), dest.path());
    assert!(matches!(result, Err(Error::LeavesDestination { .. })), "{result:?}");
    assert_eq!(listing(outside.path()), []);
}

#[test]
fn a_cut_archive_is_damaged() {
    let (source, dest) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    fs::write(source.path().join("file"), "content").unwrap();
    let archive = packed(&everything(source.path()));
    for length in [0, archive.len() / 2, archive.len() - 1] {
        assert!(strict(&archive[..length], dest.path()).is_err(), "cut at {length}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(40))]

    #[test]
    fn any_tree_survives_a_round_trip(
        files in prop::collection::btree_map(
            prop::collection::vec("[a-c é]{1,3}", 1..4),
            (prop::collection::vec(any::<u8>(), 0..2000), 0o400u32..0o777, any::<u32>(), 0i64..1_000_000_000),
            0..12,
        ),
    ) {
        let (source, dest) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        for (name, (content, mode, seconds, nanos)) in &files {
            let path = source.path().join(name.iter().collect::<PathBuf>());
            // A name may be a directory of another one.
            if fs::create_dir_all(path.parent().unwrap()).is_ok() && fs::write(&path, content).is_ok() {
                fs::set_permissions(&path, fs::Permissions::from_mode(mode | 0o400)).unwrap();
                set_mtime(&path, i64::from(*seconds), *nanos);
            }
        }
        strict(&packed(&everything(source.path())), dest.path()).unwrap();
        prop_assert_eq!(listing(dest.path()), listing(source.path()));
    }
}
