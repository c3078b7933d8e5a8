//! A supervisor under test, and a client of it.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use runyard_toolbox::protocol::{ClientFrame, Decoder, Frame as _, ServerFrame};
use runyard_toolbox::{ExitStatus, READY_LINE, SPEC_FILE, StepCommand, StepDir, SuperviseSpec};

/// Far beyond what anything here takes: a test that hangs fails instead.
const PATIENCE: Duration = Duration::from_secs(20);

pub(crate) const TOOLBOX: &str = env!("CARGO_BIN_EXE_runyard-toolbox");

/// A spec that runs `script` with `/bin/sh -e`.
pub(crate) fn script(script: &str) -> SuperviseSpec {
    let argv = ["/bin/sh", "-ec", script].map(str::to_owned).to_vec();
    let mut spec = SuperviseSpec::new(StepCommand::Argv(argv), "/");
    spec.environment.insert("PATH".into(), "/usr/local/bin:/usr/bin:/bin".into());
    spec
}

/// A step with its supervisor; whatever is left of it is killed at the end of the test.
pub(crate) struct Step {
    pub(crate) dir: StepDir,
    pub(crate) supervisor: Child,
    _root: tempfile::TempDir,
}

impl Step {
    pub(crate) fn start(spec: &SuperviseSpec) -> Self {
        let root = tempfile::tempdir().unwrap();
        let dir = root.path().join("step");
        Self::start_in(root, dir, spec)
    }

    pub(crate) fn start_in(root: tempfile::TempDir, dir: PathBuf, spec: &SuperviseSpec) -> Self {
        std::fs::create_dir_all(&dir).unwrap();
        std::fs::write(dir.join(SPEC_FILE), serde_json::to_vec(spec).unwrap()).unwrap();
        let mut supervisor = Command::new(TOOLBOX)
            .arg("supervise")
            .arg(&dir)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut line = String::new();
        BufReader::new(supervisor.stdout.take().unwrap()).read_line(&mut line).unwrap();
        assert_eq!(line, READY_LINE);
        Self { dir: StepDir::open(dir).unwrap(), supervisor, _root: root }
    }

    pub(crate) fn connect(&self) -> Client {
        Client::new(self.dir.connect().unwrap())
    }

    /// Waits for the supervisor to leave, and returns what it left.
    pub(crate) fn left(&mut self) -> (Vec<u8>, ExitStatus) {
        assert!(self.supervisor.wait().unwrap().success());
        let output = self.dir.read_spool(0).unwrap().flat_map(|chunk| chunk.unwrap().bytes).collect();
        (output, self.dir.exit().unwrap().unwrap())
    }

    /// Runs `spec` to its end without a client.
    pub(crate) fn run(spec: &SuperviseSpec) -> (Vec<u8>, ExitStatus) {
        Self::start(spec).left()
    }
}

impl Drop for Step {
    fn drop(&mut self) {
        let _ = self.dir.kill_orphans();
        let _ = self.supervisor.wait();
    }
}

/// Holds a script until the test is ready for the rest of it.
pub(crate) struct Gate {
    dir: tempfile::TempDir,
}

impl Gate {
    pub(crate) fn new() -> Self {
        let gate = Self { dir: tempfile::tempdir().unwrap() };
        let (kind, mode) = (rustix::fs::FileType::Fifo, 0o600.into());
        rustix::fs::mknodat(rustix::fs::CWD, gate.path(), kind, mode, 0).unwrap();
        gate
    }

    fn path(&self) -> PathBuf {
        self.dir.path().join("gate")
    }

    /// The command that waits in front of the gate.
    pub(crate) fn wait(&self) -> String {
        format!("read go <{}", self.path().display())
    }

    /// Returns once the script goes on.
    pub(crate) fn open(&self) {
        std::fs::write(self.path(), "go\n").unwrap();
    }
}

pub(crate) struct Client {
    stream: UnixStream,
    decoder: Decoder,
}

impl Client {
    fn new(stream: UnixStream) -> Self {
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        Self { stream, decoder: Decoder::new() }
    }

    pub(crate) fn send(&mut self, frame: ClientFrame) {
        self.stream.write_all(&frame.to_bytes()).unwrap();
    }

    /// The next frame, or `None` at the end of the connection.
    pub(crate) fn receive(&mut self) -> Option<ServerFrame> {
        loop {
            if let Some(frame) = self.decoder.next().unwrap() {
                return Some(frame);
            }
            let mut buffer = [0; 10_000];
            match self.stream.read(&mut buffer).unwrap() {
                0 => return None,
                count => self.decoder.feed(&buffer[..count]),
            }
        }
    }

    /// Receives output into `output`, whose length is the offset, until `enough` says so.
    pub(crate) fn read_until(&mut self, output: &mut Vec<u8>, enough: impl Fn(&[u8]) -> bool) {
        while !enough(output) {
            match self.receive() {
                Some(ServerFrame::Output { offset, bytes }) => {
                    assert_eq!(offset, output.len() as u64, "neither a gap nor a repeat");
                    output.extend_from_slice(&bytes);
                }
                other => panic!("output was expected after {:?}, not {other:?}", String::from_utf8_lossy(output)),
            }
        }
    }

    /// Receives output from `offset` on to the end of the step, acknowledging it as it comes.
    pub(crate) fn read_to_exit(&mut self, offset: u64) -> (Vec<u8>, ExitStatus) {
        let mut output = Vec::new();
        loop {
            match self.receive().expect("the exit comes before the end of the connection") {
                ServerFrame::Output { offset: at, bytes } => {
                    assert_eq!(at, offset + output.len() as u64, "neither a gap nor a repeat");
                    output.extend_from_slice(&bytes);
                    self.send(ClientFrame::Ack { offset: offset + output.len() as u64 });
                }
                ServerFrame::Exit { status } => return (output, status),
                ServerFrame::Error { message } => panic!("{message}"),
            }
        }
    }

    /// Where the output ends now, by asking for something beyond it.
    pub(crate) fn output_end(&mut self) -> u64 {
        self.send(ClientFrame::Ack { offset: u64::MAX });
        match self.receive() {
            Some(ServerFrame::Error { message }) => message.rsplit(' ').next().unwrap().parse().unwrap(),
            other => panic!("an error was expected, not {other:?}"),
        }
    }
}

/// Whether a process with this pid runs, as nobody's zombie.
pub(crate) fn is_running(pid: i32) -> bool {
    let stat = std::fs::read_to_string(Path::new("/proc").join(pid.to_string()).join("stat"));
    stat.is_ok_and(|stat| !stat.rsplit(')').next().unwrap().trim_start().starts_with(['Z', 'X']))
}

/// The pids that a script has printed, one on each line.
pub(crate) fn pids(output: &[u8]) -> Vec<i32> {
    String::from_utf8_lossy(output).lines().filter_map(|line| line.trim().parse().ok()).collect()
}
