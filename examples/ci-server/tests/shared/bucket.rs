//! Two servers on a bucket.

use std::{
    io::{Read, Write},
    net::TcpStream,
};

use crate::{
    servers::{House, wait_until_ok},
    support::{wait_for_end, wait_for_run},
};

const DEFINITION: &str = "
version: v1
runs:
  - name: build
    tasks:
      - name: compile
        runtime:
          containers: [{image: any}]
        steps:
          - clone:
          - run: cat message
          - save_to_workspace:
              contents: [{source_dir: ., paths: [message]}]
      - name: check
        runtime:
          containers: [{image: any}]
        depends: [compile]
        steps:
          - restore_workspace: {dest_dir: .}
          - run: cat message && echo checked
";

/// The URL of the S3 server under test.
fn endpoint() -> String {
    std::env::var("RUNYARD_TEST_S3")
        .expect("RUNYARD_TEST_S3 has to be the URL of a server: `scripts/s3-server up DIR` starts one and prints it")
}

/// The URL of a bucket, which is made if `make` says so.
pub(crate) fn bucket(name: &str, make: bool) -> String {
    let (endpoint, bucket) = (endpoint(), format!("shared-{name}-{}", std::process::id()));
    if make {
        let host = endpoint.trim_start_matches("http://");
        let mut connection = TcpStream::connect(host).expect("the S3 server answers");
        // moto reads the region and the service from it, and checks nothing.
        let authorization = "AWS4-HMAC-SHA256 Credential=runyard/20200101/us-east-1/s3/aws4_request, \
                             SignedHeaders=host, Signature=0";
        let request = format!(
            "PUT /{bucket} HTTP/1.1\r\nhost: {host}\r\nauthorization: {authorization}\r\ncontent-length: 0\r\n\
             connection: close\r\n\r\n"
        );
        connection.write_all(request.as_bytes()).expect("sent");
        let mut answer = String::new();
        connection.read_to_string(&mut answer).expect("an answer");
        assert!(answer.starts_with("HTTP/1.1 200"), "the bucket could not be created: {answer}");
    }
    format!("s3://{bucket}/ci?endpoint={endpoint}")
}

#[test]
fn what_is_pushed_to_one_server_is_a_run_and_a_repository_of_both() {
    let house = House::new(Some(bucket("both", true)));
    let [a, b] = [house.server("a"), house.server("b")];
    a.json(&["project", "create", "hello"]);
    let work = house.work();
    let commit = work.commit(DEFINITION, "first words");
    work.git(&["push", "-q", &a.git_url(), "main"]);
    for server in [&a, &b] {
        wait_for_run(server, "1");
        let run = wait_for_end(server, "1");
        assert_eq!((&run["result"], &run["annotations"]["commit"]), (&"success".into(), &commit.as_str().into()));
    }
    let logs = [&a, &b].map(|server| server.ok(&["logs", "1", "--project", "hello"]));
    assert_eq!(logs[0], logs[1]);
    assert!(logs[0].contains("first words") && logs[0].contains("checked"), "{}", logs[0]);

    // And the other way round.
    work.git(&["fetch", "-q", &b.git_url(), "main"]);
    assert_eq!(work.git(&["rev-parse", "FETCH_HEAD"]), commit);
    work.commit(DEFINITION, "second words");
    work.git(&["push", "-q", &b.git_url(), "main"]);
    wait_until_ok(&a, &["runs", "show", "2", "--project", "hello"]);
    let log = a.ok(&["logs", "2", "--project", "hello", "--follow"]);
    assert!(log.contains("second words") && log.contains("checked"), "{log}");
    for server in [a, b] {
        server.end();
    }
}
