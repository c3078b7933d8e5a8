//! Workspaces and caches go out of one pod and into another.

use bytes::Bytes;
use runyard_executor_core::contract::{
    AttemptState, Contents, RestoreCacheStep, RestoreWorkspaceStep, SaveCacheStep, SaveToWorkspaceStep, Step, TaskName,
    WorkspaceArchive,
};

use crate::house::{House, failure, id, run, task};

fn contents(source_dir: &str, dest_dir: &str, paths: &[&str]) -> Vec<Contents> {
    let paths = paths.iter().map(|path| (*path).to_owned()).collect();
    vec![Contents { source_dir: source_dir.into(), dest_dir: dest_dir.into(), paths }]
}

fn save(contents: Vec<Contents>) -> Step {
    Step::SaveToWorkspace(SaveToWorkspaceStep { name: "save".into(), contents })
}

fn restore(dest_dir: &str) -> Step {
    Step::RestoreWorkspace(RestoreWorkspaceStep { name: "restore".into(), dest_dir: dest_dir.into() })
}

fn save_cache(key: &str) -> Step {
    Step::SaveCache(SaveCacheStep { name: "save".into(), key: key.into(), contents: contents("deps", "", &["**"]) })
}

fn restore_cache(keys: &[&str]) -> Step {
    let keys = keys.iter().map(|key| (*key).to_owned()).collect();
    Step::RestoreCache(RestoreCacheStep { name: "restore".into(), keys, dest_dir: "deps".into() })
}

fn archive(task: &str, step: u32) -> WorkspaceArchive {
    WorkspaceArchive { level: 0, name: TaskName::parse(task).expect("a name"), step, task: id(task) }
}

#[tokio::test]
async fn files_of_ancestors_are_restored_in_order() {
    let house = House::start().await;
    let make = |text: &str| {
        run(&format!(
            "mkdir out; echo {text} > out/{text}; head -c 3000000 /dev/urandom > out/big-{text}; sha256sum out/big-{text}"
        ))
    };
    for name in ["a", "b"] {
        let report = house.execute(task(name, [make(name), save(contents("out", "from", &["**"]))])).await;
        assert_eq!(report.state, AttemptState::Success, "{}", house.log(&id(name), 1));
        let log = house.log(&id(name), 1);
        assert!(log.contains("saved 3.0 MB to the workspace"), "{log}");
    }
    let mut child = task("child", [restore("."), run("cat from/a from/b; sha256sum from/big-*")]);
    child.workspace = vec![archive("a", 1), archive("b", 1)];
    let report = house.execute(child).await;
    assert_eq!(report.state, AttemptState::Success, "{}", house.log(&id("child"), 0));
    let log = house.log(&id("child"), 1);
    assert!(log.starts_with("a\nb\n"), "{log}");
    for name in ["a", "b"] {
        let sum = house.log(&id(name), 0);
        assert!(log.contains(sum.split_whitespace().next().unwrap()), "{log}");
    }
    let restored = house.log(&id("child"), 0);
    assert!(restored.contains("that step 2 of task `a` saved"), "{restored}");
    assert!(report.steps[0].log.as_ref().unwrap().sha256.is_some());
    house.assert_clean().await;
}

#[tokio::test]
async fn a_file_in_the_way_is_named() {
    let house = House::start().await;
    house.execute(task("a", [run("echo a > file"), save(contents("", "", &["file"]))])).await;
    let mut child = task("child", [run("echo other > file"), restore("."), run("true")]);
    child.workspace = vec![archive("a", 1)];
    let report = house.execute(child).await;
    let (class, message) = failure(&report);
    assert_eq!(class, "exit");
    assert!(message.contains("step 2 (restore)") && message.contains("`file` already exists"), "{message}");
    assert!(house.log(&id("child"), 1).contains("`file` already exists"));
}

#[tokio::test]
async fn an_archive_that_is_damaged_fails_the_step() {
    let house = House::start().await;
    house.service.put_archive(&id("a"), 0, Bytes::from_static(b"this is no archive"));
    let mut child = task("child", [restore(".")]);
    child.workspace = vec![archive("a", 0)];
    assert_eq!(failure(&house.execute(child).await).0, "exit");
}

#[tokio::test]
async fn an_archive_that_cannot_be_packed_is_not_stored() {
    let house = House::start().await;
    let report = house.execute(task("a", [save(contents("no/such/dir", "", &["**"]))])).await;
    let (class, message) = failure(&report);
    assert_eq!(class, "exit");
    assert!(message.contains("no/such/dir"), "{message}");
    house.service.with(|stored| assert!(stored.workspace.is_empty()));
}

#[tokio::test]
async fn a_cache_is_restored_by_its_exact_key_or_the_newest_prefix() {
    let house = House::start().await;
    let save = |name: &str, lock: &str| {
        let key = "deps-{{ md5sum \"lock\" }}";
        let prepare = run(&format!("printf {lock} > lock; mkdir deps; echo {lock} > deps/which"));
        task(name, [prepare, save_cache(key), save_cache(key)])
    };
    for (name, lock) in [("a", "abc"), ("b", "xyz")] {
        let report = house.execute(save(name, lock)).await;
        assert_eq!(report.state, AttemptState::Success, "{}", house.log(&id(name), 1));
    }
    let log = house.log(&id("a"), 1);
    assert!(log.contains("to the cache as `deps-900150983cd24fb0d6963f7d28e17f72`"), "{log}");
    let again = house.log(&id("a"), 2);
    assert!(again.contains("has `deps-900150983cd24fb0d6963f7d28e17f72` already"), "{again}");
    let use_it = |name: &str, lock: &str| {
        let keys = ["deps-{{ md5sum \"lock\" }}", "deps-"];
        task(
            name,
            [
                run(&format!("printf {lock} > lock; mkdir deps; echo old > deps/which")),
                restore_cache(&keys),
                run("cat deps/which"),
            ],
        )
    };
    for (name, lock, expected) in [("exact", "abc", "abc"), ("prefix", "new", "xyz")] {
        let report = house.execute(use_it(name, lock)).await;
        assert_eq!(report.state, AttemptState::Success, "{}", house.log(&id(name), 1));
        assert_eq!(house.log(&id(name), 2).trim(), expected);
    }
    let miss = house.execute(task("miss", [restore_cache(&["other-{{ arch }}"])])).await;
    assert_eq!(miss.state, AttemptState::Success);
    let log = house.log(&id("miss"), 0);
    assert!(log.contains("the cache has nothing for `other-"), "{log}");
}

#[tokio::test]
async fn a_mistake_in_a_template_fails_the_step() {
    let house = House::start().await;
    let report = house.execute(task("t", [restore_cache(&["{{ md5sum \"missing\" }}"])])).await;
    let (class, message) = failure(&report);
    assert_eq!(class, "exit");
    assert!(message.contains("missing"), "{message}");
}
