//! What cannot work is said in one message that names the thing and what to do.

use std::process::Command;

use crate::support::Server;

#[test]
fn a_server_that_cannot_start_says_what_to_do() {
    let directory = tempfile::tempdir().expect("a directory");
    let server = Server::start(&directory.path().join("data"));
    let address = server.url.trim_start_matches("http://");
    let serve = |listen: &str, data: &str| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_runyard"));
        command.args(["serve", "--listen", listen, "--data"]).arg(directory.path().join(data));
        let output = command.output().expect("it ends");
        assert_eq!(output.status.code(), Some(1));
        String::from_utf8(output.stderr).expect("text")
    };
    let in_use = serve(address, "other");
    assert!(in_use.contains(address) && in_use.contains("--listen"), "{in_use}");
    let held = serve("127.0.0.1:0", "data");
    assert!(held.contains("in use by process") && held.contains("--data"), "{held}");
    server.end();
}
