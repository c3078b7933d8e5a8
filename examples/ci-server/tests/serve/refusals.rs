//! What cannot work is said in one message that names the thing and what to do, and loses nothing.

use std::{
    os::unix::process::CommandExt,
    path::Path,
    process::{Command, Output},
};

use crate::support::{Server, Work, serve, wait_for_end, wait_for_run};

const DEFINITION: &str = "
version: v1
runs:
  - name: short
    tasks:
      - name: one
        runtime:
          containers: [{image: any}]
        steps:
          - run: echo one
";

/// Someone who owns nothing.
const NOBODY: u32 = 65534;

/// The only line that a program says before it fails.
fn refusal(output: Output) -> String {
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    assert_eq!(String::from_utf8_lossy(&output.stdout), "");
    let message = String::from_utf8(output.stderr).expect("text");
    assert!(message.starts_with("error: ") && message.lines().count() == 1, "{message}");
    message
}

fn refused_to_serve(command: &mut Command) -> String {
    refusal(command.output().expect("it ends"))
}

fn assert_says(message: &str, expected: &[&str]) {
    for part in expected {
        assert!(message.contains(part), "`{part}` is not in: {message}");
    }
}

#[test]
fn a_server_that_cannot_start_says_what_to_do() {
    let directory = tempfile::tempdir().expect("a directory");
    let data = directory.path().join("data");
    let server = Server::start(&data);
    let address = server.url.trim_start_matches("http://");
    let other = directory.path().join("other");
    assert_says(&refused_to_serve(&mut serve(&other, address)), &[address, "is in use", "--listen"]);
    assert_says(&refused_to_serve(&mut serve(&other, "nonsense")), &["`nonsense`", "127.0.0.1:8080", "--listen"]);
    assert!(!other.exists(), "nothing was made");
    let pid = format!("in use by process {}:", server.pid());
    assert_says(&refused_to_serve(&mut serve(&data, "127.0.0.1:0")), &["/data`", &pid, "--data"]);
    server.ok(&["project", "list"]);
    server.end();

    let file = directory.path().join("file");
    std::fs::write(&file, "mine").expect("written");
    for place in [file.clone(), file.join("below")] {
        let named = format!("`{}`", place.display());
        assert_says(&refused_to_serve(&mut serve(&place, "127.0.0.1:0")), &[&named, "a file in its place", "--data"]);
    }
    assert_eq!(std::fs::read(&file).expect("read"), b"mine");
}

#[test]
fn a_data_directory_of_another_version_is_left_alone() {
    let directory = tempfile::tempdir().expect("a directory");
    let data = directory.path().join("data");
    let server = Server::start(&data);
    server.json(&["project", "create", "hello"]);
    server.end();
    for store in ["configdata", "rundata"] {
        let format = data.join("objects").join(store).join("format");
        let ours = std::fs::read_to_string(&format).expect("it was written at the first start");
        let theirs = ours.replacen("\"format\":1", "\"format\":7", 1);
        assert_ne!(ours, theirs);
        std::fs::write(&format, &theirs).expect("written");
        let before = objects(&data);
        let message = refused_to_serve(&mut serve(&data, "127.0.0.1:0"));
        assert_says(
            &message,
            &[&data.display().to_string(), store, "format 7", "format 1", "use the version of Runyard"],
        );
        assert_eq!(objects(&data), before);
        std::fs::write(&format, ours).expect("written");
    }
    let server = Server::start(&data);
    assert_eq!(server.json(&["project", "list"])[0]["name"], "hello");
    server.end();
}

/// Every file of a data directory with what it holds.
fn objects(data: &Path) -> Vec<(String, Vec<u8>)> {
    let (mut found, mut left) = (Vec::new(), vec![data.join("objects")]);
    while let Some(directory) = left.pop() {
        for entry in std::fs::read_dir(directory).expect("a directory").flatten() {
            match entry.file_type().expect("a type").is_dir() {
                true => left.push(entry.path()),
                false => found.push((entry.path().display().to_string(), std::fs::read(entry.path()).expect("read"))),
            }
        }
    }
    found.sort();
    found
}

#[test]
fn a_data_directory_without_permission_is_named_with_the_user() {
    use std::os::unix::fs::PermissionsExt;
    let directory = tempfile::tempdir().expect("a directory");
    let own = rustix::process::geteuid().as_raw();
    let user = if own == 0 { NOBODY } else { own };
    // Root may do everything, so it asks somebody else to try, who has to reach the directory and the program.
    let mode = if own == 0 { 0o755 } else { 0o555 };
    std::fs::set_permissions(directory.path(), std::fs::Permissions::from_mode(mode)).expect("it is ours");
    let program = directory.path().join("runyard");
    let mut command = match own {
        0 => {
            // The build directory may be closed to others.
            std::fs::copy(env!("CARGO_BIN_EXE_runyard"), &program).expect("copied");
            let mut command = Command::new(&program);
            command.uid(user).gid(user);
            command
        }
        _ => Command::new(env!("CARGO_BIN_EXE_runyard")),
    };
    let data = directory.path().join("data");
    command.args(["serve", "--listen", "127.0.0.1:0", "--data"]).arg(&data).current_dir("/");
    let message = refused_to_serve(&mut command);
    assert_says(&message, &[&format!("`{}`", data.display()), &format!("user id {user} may not write"), "--data"]);
    std::fs::set_permissions(directory.path(), std::fs::Permissions::from_mode(0o755)).expect("it is ours");
}

#[test]
fn a_command_that_cannot_be_done_says_what_to_do() {
    let directory = tempfile::tempdir().expect("a directory");
    let server = Server::start(&directory.path().join("data"));
    server.json(&["project", "create", "hello"]);
    let work = Work::new(&directory);
    work.commit(DEFINITION, "one");
    work.git(&["push", "-q", &server.git_url(), "main"]);
    wait_for_run(&server, "1");
    wait_for_end(&server, "1");
    for (args, expected) in [
        ("project list --token wrong", &["token is not valid", "admin-token"][..]),
        ("runs show 1 --project hello --token wrong", &["token is not valid", "admin-token"]),
        ("project create hello", &["`hello` exists already", "another name"]),
        ("project create Hello!", &["`Hello!`", "use only a-z"]),
        ("runs list --project none", &["project `none` does not exist", "runyard project list"]),
        ("logs 1 --project none", &["project `none` does not exist", "runyard project list"]),
        ("runs show 7 --project hello", &["`hello` has no run #7", "runyard runs list"]),
        ("logs 7 --project hello", &["`hello` has no run #7", "runyard runs list"]),
        ("runs stop 7 --project hello", &["`hello` has no run #7", "runyard runs list"]),
        ("runs show none", &["run `none` does not exist", "runyard runs list"]),
        ("runs show 7", &["`7` is a number", "--project"]),
        ("logs 1 none --project hello", &["run #1 has no task `none`", "it has `one`"]),
        ("logs 1 one --step 7 --project hello", &["task `one` has no step 7"]),
        ("logs 1 one --step x --project hello", &["`x` is not a valid step", "the index of a step"]),
        ("runs approve 1 none --project hello", &["run #1 has no task `none`"]),
        ("runs stop 1 --project hello", &["run #1 is finished", "only a running run"]),
        ("project list --server ftp://here", &["`ftp://here`", "http://host:port"]),
        ("project list --server http://127.0.0.1:1", &["http://127.0.0.1:1/", "runyard serve", "--server"]),
    ] {
        let args: Vec<_> = args.split(' ').collect();
        assert_says(&refusal(server.runyard(&args)), expected);
    }
    let mut without_token = Command::new(env!("CARGO_BIN_EXE_runyard"));
    without_token.args(["project", "list", "--server", &server.url]).current_dir(directory.path());
    without_token.env_remove("RUNYARD_TOKEN");
    assert_says(&refusal(without_token.output().expect("it ends")), &["needs a token", "--token", "RUNYARD_TOKEN"]);

    let mut push = work.git_command(&["push", &server.git_url().replace(&server.token, "wrong"), "main"]);
    let said = push.output().expect("git runs");
    assert!(!said.status.success());
    assert_says(&String::from_utf8_lossy(&said.stderr), &["token as the password", "admin-token"]);
    let none = server.git_url().replace("hello.git", "none.git");
    let said = work.git_command(&["push", &none, "main"]).output().expect("git runs");
    assert!(!said.status.success());
    assert_says(&String::from_utf8_lossy(&said.stderr), &["project `none` does not exist"]);

    let (url, token) = (server.url.clone(), server.token.clone());
    server.end();
    let mut command = Command::new(env!("CARGO_BIN_EXE_runyard"));
    command.args(["runs", "list", "--project", "hello", "--server", &url, "--token", &token]);
    assert_says(&refusal(command.output().expect("it ends")), &[&url, "cannot be reached", "runyard serve"]);
}
