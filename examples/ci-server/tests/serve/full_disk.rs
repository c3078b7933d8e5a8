//! What happens when the disk of the data directory is full, and when it has space again?

use std::{
    io::{BufRead, BufReader, ErrorKind, Write},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
};

use crate::support::{Server, Work, serve, wait_for, wait_for_end, wait_for_no_process_of, wait_for_run};

/// A small disk that a child process has mounted where nobody else sees it, and that goes with that process.
struct Disk {
    keeper: Child,
    directory: PathBuf,
}

impl Disk {
    fn new(directory: PathBuf) -> Self {
        std::fs::create_dir(&directory).expect("a directory");
        let mut keeper = Command::new("unshare");
        if !rustix::process::geteuid().is_root() {
            keeper.arg("--map-root-user");
        }
        let mount = "mount -t tmpfs -o size=8m none \"$0\" && echo mounted && exec cat";
        keeper.args(["--mount", "sh", "-c", mount]).arg(&directory);
        let mut keeper = keeper.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().expect("unshare is there");
        let mut line = String::new();
        BufReader::new(keeper.stdout.take().expect("it is piped")).read_line(&mut line).expect("a line");
        assert_eq!(line, "mounted\n", "a mount namespace can be had by root, or with user namespaces");
        Self { keeper, directory }
    }

    /// The same disk, as it is seen from outside.
    fn outside(&self) -> PathBuf {
        let directory = self.directory.strip_prefix("/").expect("an absolute path");
        Path::new("/proc").join(self.keeper.id().to_string()).join("root").join(directory)
    }

    fn start(&self, disk_free_min: &str) -> Server {
        let mut inner = serve(&self.directory.join("data"), "127.0.0.1:0");
        inner.args(["--disk-free-min", disk_free_min]);
        let mut command = Command::new("nsenter");
        if !rustix::process::geteuid().is_root() {
            command.args(["--user", "--preserve-credentials"]);
        }
        command.arg("--mount").arg(format!("--target={}", self.keeper.id())).arg("--wd=/");
        command.arg(inner.get_program()).args(inner.get_args()).stdout(Stdio::piped());
        let child = command.spawn().expect("nsenter is there");
        Server::announced(child, &self.outside().join("data")).expect("the server starts")
    }

    fn fill(&self) {
        let mut filler = std::fs::File::create(self.filler()).expect("created");
        loop {
            match filler.write(&[0; 4096]) {
                Ok(_) => {}
                Err(error) if error.kind() == ErrorKind::StorageFull => return,
                Err(error) => panic!("{error}"),
            }
        }
    }

    fn make_room(&self) {
        std::fs::remove_file(self.filler()).expect("it is there");
    }

    fn filler(&self) -> PathBuf {
        self.outside().join("filler")
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        // It ends with its input, and the disk with it.
        drop(self.keeper.stdin.take());
        let _ = self.keeper.wait();
    }
}

fn definition(gate: &Path) -> String {
    format!(
        "
version: v1
runs:
  - name: long
    tasks:
      - name: one
        runtime:
          containers: [{{image: any}}]
        steps:
          - run: echo before; while ! test -e '{}'; do sleep 0.02; done; seq 1 50000
",
        gate.display()
    )
}

#[test]
fn a_full_disk_fails_what_needs_it_with_a_reason_and_loses_nothing() {
    let directory = tempfile::tempdir().expect("a directory");
    let disk = Disk::new(directory.path().join("disk"));
    let gate = directory.path().join("gate");
    let server = disk.start("0");
    let work = Work::new(&directory);
    server.json(&["project", "create", "hello"]);
    std::fs::write(&gate, "").expect("written");
    work.commit(&definition(&gate), "there is room");
    work.git(&["push", "-q", &server.git_url(), "main"]);
    wait_for_run(&server, "1");
    let before = wait_for_end(&server, "1");
    assert_eq!(before["result"], "success", "{before:#}");
    let log_before = server.ok(&["logs", "1", "--project", "hello"]);

    // A run is under way when the disk becomes full, and has much to print.
    std::fs::remove_file(&gate).expect("it is there");
    work.commit(&definition(&gate), "there will be none");
    work.git(&["push", "-q", &server.git_url(), "main"]);
    wait_for_run(&server, "2");
    let first_step = ["logs", "2", "one", "--step", "0", "--project", "hello"];
    wait_for("the first output", || match server.runyard(&first_step) {
        output if output.stdout.starts_with(b"before\n") => Ok(()),
        output => Err(format!("{output:?}")),
    });
    disk.fill();
    std::fs::write(&gate, "").expect("written elsewhere");

    work.commit(&definition(&gate), "once more");
    let push = work.git_command(&["push", &server.git_url(), "main"]).output().expect("git runs");
    let said = String::from_utf8_lossy(&push.stderr);
    assert!(!push.status.success() && said.contains("no space left") && said.contains("push again"), "{said}");
    // It answers as before.
    assert_eq!(server.ok(&["logs", "1", "--project", "hello"]), log_before);
    assert_eq!(server.json(&["runs", "show", "1", "--project", "hello"]), before);

    disk.make_room();
    let failed = wait_for_end(&server, "2");
    let failure = &failed["tasks"][0]["failure"];
    assert_eq!((&failed["result"], &failure["class"]), (&"failed".into(), &"lost".into()), "{failed:#}");
    assert!(failure["message"].as_str().expect("text").contains("No space left on device"), "{failed:#}");
    assert!(server.ok(&first_step).starts_with("before\n"));
    work.git(&["push", "-q", &server.git_url(), "main"]);
    wait_for_run(&server, "3");
    assert_eq!(wait_for_end(&server, "3")["result"], "success");
    assert_eq!(server.ok(&["logs", "1", "--project", "hello"]), log_before);
    server.end();

    let server = disk.start("0");
    assert_eq!(server.ok(&["logs", "1", "--project", "hello"]), log_before);
    assert_eq!(server.json(&["runs", "show", "1", "--project", "hello"]), before);
    assert_eq!(server.json(&["runs", "show", "2", "--project", "hello"]), failed);
    server.end();
    drop(disk);
    wait_for_no_process_of(directory.path());
}

#[test]
fn tasks_wait_for_room_on_the_disk_and_say_so() {
    let directory = tempfile::tempdir().expect("a directory");
    let disk = Disk::new(directory.path().join("disk"));
    let server = disk.start("512");
    let work = Work::new(&directory);
    server.json(&["project", "create", "hello"]);
    work.commit(&definition(&directory.path().join("gate")), "wait");
    work.git(&["push", "-q", &server.git_url(), "main"]);
    wait_for_run(&server, "1");
    wait_for("the reason", || match server.ok(&["runs", "show", "1", "--project", "hello"]) {
        shown if shown.contains("is not ready: `local` (its disk has") => Ok(()),
        shown => Err(shown),
    });
    drop(server);
    drop(disk);
    wait_for_no_process_of(directory.path());
}
