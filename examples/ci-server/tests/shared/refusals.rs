//! What cannot be used is named before anything is started.

use std::process::Output;

use crate::{
    bucket::bucket,
    servers::{Etcd, s3_keys},
    support::serve,
};

fn refusal(storage: &str, coordinator: &str) -> String {
    let data = tempfile::tempdir().expect("a directory");
    let mut command = serve(data.path(), "127.0.0.1:0");
    s3_keys(&mut command);
    command.env("RUNYARD_STORAGE", storage).env("RUNYARD_COORDINATOR", coordinator);
    let Output { status, stdout, stderr } = command.output().expect("it ends");
    let said = String::from_utf8(stderr).expect("text");
    assert_eq!((status.code(), &stdout[..]), (Some(1), &b""[..]), "{said}");
    // What a bucket answers has lines of its own.
    let error = said.lines().find(|line| line.starts_with("error: ")).expect("what is wrong");
    assert!(!said.contains("secret"), "{said}");
    error.to_owned()
}

#[test]
fn an_etcd_or_a_bucket_that_cannot_be_used_is_named_with_what_to_do() {
    let directory = tempfile::tempdir().expect("a directory");
    let objects = directory.path().join("objects");
    let objects = objects.to_str().expect("text");
    let etcd = Etcd::start(&["--auth"]);
    let stranger = etcd.url().replace("runyard-secret", "other-secret");
    let missing = bucket("missing", false);
    for (storage, coordinator, expected) in [
        (objects, "etcd://127.0.0.1:1/ci", ["etcd", "127.0.0.1:1"]),
        (objects, &stranger, ["etcd", "password"]),
        (&missing, "embedded", ["shared-missing", "bucket"]),
        ("s3://builds?endpoint=http://127.0.0.1:1", "embedded", ["s3://builds", "127.0.0.1:1"]),
    ] {
        let said = refusal(storage, coordinator);
        println!("{said}");
        assert!(expected.iter().all(|part| said.contains(part)), "{expected:?} is not in: {said}");
    }
    assert!(!directory.path().join("objects/configdata").exists(), "nothing was begun");
}
