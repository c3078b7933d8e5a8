//! The subcommands that do one thing and end.

use std::fs;
use std::process::{Command, Output, Stdio};

use crate::support::TOOLBOX;

fn toolbox(args: &[&str]) -> Command {
    let mut command = Command::new(TOOLBOX);
    command.args(args).stdin(Stdio::null());
    command
}

fn printed(output: &Output) -> &str {
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    std::str::from_utf8(&output.stdout).unwrap()
}

#[test]
fn an_archive_goes_from_stdout_to_stdin() {
    let root = tempfile::tempdir().unwrap();
    let path = |name: &str| root.path().join(name).to_str().unwrap().to_owned();
    fs::create_dir(path("source")).unwrap();
    fs::write(path("source/a.txt"), "a").unwrap();
    fs::write(path("source/b"), "b").unwrap();
    let spec = r#"{"working_dir": "~", "contents": [{"source_dir": "source", "dest_dir": "out", "paths": ["*.txt"]}]}"#;
    fs::write(path("spec.json"), spec).unwrap();
    let archive = fs::File::create(path("archive")).unwrap();
    let packed = toolbox(&["archive", "--spec", &path("spec.json")]).env("HOME", root.path()).stdout(archive).status();
    assert!(packed.unwrap().success());
    let unpack = |options: &[&str]| {
        let mut command = toolbox(&["unarchive"]);
        command.args(options).arg(path("dest")).stdin(fs::File::open(path("archive")).unwrap()).output().unwrap()
    };
    printed(&unpack(&[]));
    assert_eq!(fs::read(path("dest/out/a.txt")).unwrap(), b"a");
    assert!(!fs::exists(path("dest/out/b")).unwrap());

    fs::write(path("dest/out/a.txt"), "other").unwrap();
    let refused = unpack(&[]);
    assert_eq!(refused.status.code(), Some(1));
    let complaint = "runyard-toolbox: `out/a.txt` already exists with other content\n";
    assert_eq!(String::from_utf8(refused.stderr).unwrap(), complaint);
    printed(&unpack(&["--overwrite"]));
    assert_eq!(fs::read(path("dest/out/a.txt")).unwrap(), b"a");
}

#[test]
fn cache_keys_are_rendered_in_the_environment_and_directory_of_the_task() {
    let root = tempfile::tempdir().unwrap();
    fs::write(root.path().join("sum"), "").unwrap();
    let templates = [r#"{{ env "KEY" }}"#, r#"{{ md5sum "sum" }}"#, "plain"];
    let output = toolbox(&["cachekey"]).args(templates).env("KEY", "a\nb").current_dir(root.path()).output().unwrap();
    assert_eq!(printed(&output), "a\nb\0d41d8cd98f00b204e9800998ecf8427e\0plain\0");
    let output = toolbox(&["cachekey", "good", "{{ bad }}"]).output().unwrap();
    assert_eq!((output.status.code(), output.stdout.len()), (Some(1), 0));
    assert!(String::from_utf8(output.stderr).unwrap().contains("`{{ bad }}`, line 1, column 4: "));
}

#[test]
fn a_directory_is_made_below_the_home_and_its_path_is_told() {
    let root = tempfile::tempdir().unwrap();
    let output = toolbox(&["mkdir", "~/a/b"]).env("HOME", root.path()).output().unwrap();
    let made = root.path().join("a/b");
    assert_eq!(printed(&output), format!("{}\n", made.display()));
    assert!(made.is_dir());
}

#[test]
fn the_version_is_that_of_the_package() {
    assert_eq!(printed(&toolbox(&["version"]).output().unwrap()).trim_end(), env!("CARGO_PKG_VERSION"));
}

#[test]
fn wrong_arguments_are_answered_with_the_usage() {
    for args in [&[][..], &["nonsense"], &["supervise"], &["cachekey"]] {
        let output = toolbox(args).output().unwrap();
        assert_eq!(output.status.code(), Some(2));
        assert!(output.stderr.starts_with(b"usage: "));
    }
}
