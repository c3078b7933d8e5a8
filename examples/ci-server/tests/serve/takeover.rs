//! Two servers on one storage, each of which believes that it is alone: the older one stops, and says who took over.

use std::{path::Path, process::Stdio};

use crate::support::{Server, serve};

fn start(data: &Path, storage: &Path) -> Server {
    let mut command = serve(data, "127.0.0.1:0");
    command.arg("--storage").arg(storage).stderr(Stdio::piped());
    Server::announced(command.spawn().expect("the server starts"), data).expect("the server says where it listens")
}

#[test]
fn the_older_of_two_servers_on_a_storage_stops_and_says_who_took_over() {
    let directory = tempfile::tempdir().expect("a directory");
    let path = |name: &str| directory.path().join(name);
    let older = start(&path("a"), &path("objects"));
    older.json(&["project", "create", "first"]);
    let newer = start(&path("b"), &path("objects"));
    assert_eq!(newer.json(&["project", "list"])[0]["name"], "first");
    let refused = older.runyard(&["project", "create", "second"]);
    assert_eq!(refused.status.code(), Some(1), "{refused:?}");
    let said = older.failed();
    let expected = format!("taken over by the server at {} (process {})", newer.url, newer.pid());
    let last = said.lines().last().expect("a line");
    assert!(last.starts_with("error: ") && last.contains(&expected) && last.contains("etcd"), "{said}");
    // The other database changes hands as well, and what the newer one has is all there is.
    newer.json(&["project", "create", "third"]);
    let projects = newer.json(&["project", "list"]);
    let mut names: Vec<_> = projects.as_array().expect("a list").iter().map(|project| &project["name"]).collect();
    names.sort_by_key(|name| name.to_string());
    assert_eq!(names, ["first", "third"]);
    assert!(!path("a").join("objects").exists(), "nothing but what a process needs for itself is in its directory");
    newer.end();
}

#[test]
fn a_storage_or_a_coordinator_that_is_not_offered_is_refused_before_anything_is_made() {
    let directory = tempfile::tempdir().expect("a directory");
    let data = directory.path().join("data");
    for (arguments, expected) in [
        (["--storage", "posixflat:/x"], "no storage `posixflat:`; give a directory"),
        (["--coordinator", "consul://h:1/p"], "no such coordinator; give `embedded`"),
    ] {
        let output = serve(&data, "127.0.0.1:0").args(arguments).output().expect("it ends");
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.code() == Some(2) && said.contains(expected), "{arguments:?}: {output:?}");
    }
    assert!(!data.exists());
}
