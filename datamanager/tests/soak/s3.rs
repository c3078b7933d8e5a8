//! A storage of its own for a soak, which can be paused: the server of `scripts/s3-server`.

use std::path::{Path, PathBuf};

use rustix::process::{Pid, Signal, kill_process};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    process::Command,
};

use crate::place::BASE_PATH;

/// A running server, with a bucket. Dropping it kills it, and everything in it is gone.
#[derive(Debug)]
pub(crate) struct S3Server {
    pub(crate) endpoint: String,
    pid: Pid,
}

impl S3Server {
    pub(crate) async fn start(directory: &Path) -> Self {
        let directory = directory.join("s3");
        let script = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../scripts/s3-server");
        let output = Command::new(script).arg("up").arg(&directory).output().await.unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        let endpoint = String::from_utf8(output.stdout).unwrap().trim().to_owned();
        let pid = std::fs::read_to_string(directory.join("pid")).unwrap().trim().parse().unwrap();
        let server = Self { endpoint, pid: Pid::from_raw(pid).unwrap() };
        server.create_bucket().await;
        server
    }

    async fn create_bucket(&self) {
        let address = self.endpoint.trim_start_matches("http://");
        let mut connection = TcpStream::connect(address).await.unwrap();
        // The server reads the region and the service from it, and checks nothing.
        let authorization = "AWS4-HMAC-SHA256 Credential=runyard/20200101/us-east-1/s3/aws4_request, \
                             SignedHeaders=host, Signature=0";
        let request = format!(
            "PUT /{BASE_PATH} HTTP/1.1\r\nhost: {address}\r\nauthorization: {authorization}\r\n\
             content-length: 0\r\nconnection: close\r\n\r\n"
        );
        connection.write_all(request.as_bytes()).await.unwrap();
        let mut answer = String::new();
        connection.read_to_string(&mut answer).await.unwrap();
        assert!(answer.starts_with("HTTP/1.1 200"), "the bucket could not be created: {answer}");
    }

    pub(crate) fn signal(&self, signal: Signal) {
        kill_process(self.pid, signal).unwrap();
    }
}

impl Drop for S3Server {
    fn drop(&mut self) {
        // It is nobody's child here, so nothing waits for it. It may have ended by itself.
        let _ = kill_process(self.pid, Signal::KILL);
    }
}
