//! The clone step against real repositories.

use std::{
    fs,
    io::{BufRead, BufReader, Read, Write},
    net::{SocketAddr, TcpListener, TcpStream},
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    process::{Command, Output, Stdio},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread::JoinHandle,
};

use runyard_runconfig::{clone_step, definition::CloneOptions};
use tempfile::TempDir;

/// A repository with a history, and a directory to clone into.
///
/// ```text
/// main:   first - second (tag v1) - third
/// side:   first - side
/// gone:   a commit that no reference reaches
/// pull:   refs/pull/1/head
/// ```
struct World {
    dir: TempDir,
    first: String,
    second: String,
    third: String,
    side: String,
    gone: String,
    pull: String,
}

fn git(dir: &Path, args: &[&str]) -> String {
    let output = base(Command::new("git")).current_dir(dir).args(args).output().expect("git starts");
    assert!(output.status.success(), "git {args:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).expect("text").trim().to_owned()
}

/// Without anything of the machine's configuration, nor of a run that these tests are a step of.
fn base(mut command: Command) -> Command {
    for (name, _) in std::env::vars_os() {
        let of_a_run = |prefix: &str| name.to_str().is_some_and(|name| name.starts_with(prefix));
        if of_a_run("RUNYARD_") || of_a_run("AGOLA_") {
            command.env_remove(&name);
        }
    }
    for name in ["GIT_DIR", "GIT_WORK_TREE", "GIT_INDEX_FILE", "GIT_SSH", "GIT_SSH_COMMAND"] {
        command.env_remove(name);
    }
    command
        .env("GIT_CONFIG_NOSYSTEM", "1")
        .env("no_proxy", "127.0.0.1")
        .env("GIT_CONFIG_GLOBAL", "/dev/null")
        .env("GIT_AUTHOR_NAME", "a")
        .env("GIT_AUTHOR_EMAIL", "a@example.org")
        .env("GIT_COMMITTER_NAME", "a")
        .env("GIT_COMMITTER_EMAIL", "a@example.org");
    command
}

fn commit(repository: &Path, file: &str, content: &str) -> String {
    fs::write(repository.join(file), content).expect("writes");
    git(repository, &["add", "."]);
    git(repository, &["commit", "--quiet", "-m", content]);
    git(repository, &["rev-parse", "HEAD"])
}

impl World {
    fn new() -> Self {
        let dir = TempDir::new().expect("a directory");
        let origin = dir.path().join("origin");
        fs::create_dir(&origin).expect("creates");
        git(&origin, &["init", "--quiet", "--initial-branch=main", "."]);
        let first = commit(&origin, "file", "first");
        let second = commit(&origin, "file", "second");
        git(&origin, &["tag", "-a", "-m", "a tag", "v1"]);
        let third = commit(&origin, "file", "third");
        git(&origin, &["checkout", "--quiet", "--detach", &first]);
        let gone = commit(&origin, "file", "gone");
        git(&origin, &["checkout", "--quiet", "--detach", &first]);
        let pull = commit(&origin, "file", "pull");
        git(&origin, &["update-ref", "refs/pull/1/head", &pull]);
        git(&origin, &["checkout", "--quiet", "-b", "side", &first]);
        let side = commit(&origin, "file", "side");
        git(&origin, &["checkout", "--quiet", "main"]);
        fs::create_dir(dir.path().join("work")).expect("creates");
        fs::create_dir(dir.path().join("home")).expect("creates");
        Self { dir, first, second, third, side, gone, pull }
    }

    fn origin(&self) -> PathBuf {
        self.dir.path().join("origin")
    }

    fn work(&self) -> PathBuf {
        self.dir.path().join("work")
    }

    fn run(&self, options: CloneOptions, environment: &[(&str, &str)]) -> Output {
        self.command(options, environment).output().expect("the shell starts")
    }

    fn command(&self, options: CloneOptions, environment: &[(&str, &str)]) -> Command {
        let step = clone_step("clone".into(), &options);
        let script = self.dir.path().join("script");
        fs::write(&script, step.command).expect("writes");
        let shell = step.shell.expect("the script brings its shell");
        let mut words = shell.split(' ');
        let mut command = base(Command::new(words.next().expect("a program")));
        command.args(words).arg(&script).current_dir(self.work());
        command.env("HOME", self.dir.path().join("home")).env("RUNYARD_REPOSITORY_URL", self.origin());
        command.envs(environment.iter().copied());
        command
    }

    /// Clones, and returns what is checked out.
    fn clone(&self, options: CloneOptions, environment: &[(&str, &str)]) -> String {
        let output = self.run(options, environment);
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        git(&self.work(), &["rev-parse", "HEAD"])
    }

    fn fail(&self, environment: &[(&str, &str)]) -> String {
        let output = self.run(CloneOptions::default(), environment);
        assert_eq!(output.status.code(), Some(1));
        String::from_utf8(output.stderr).expect("text")
    }

    fn content(&self) -> String {
        fs::read_to_string(self.work().join("file")).expect("reads")
    }

    fn history(&self) -> usize {
        git(&self.work(), &["rev-list", "--count", "HEAD"]).parse().expect("a number")
    }
}

fn depth(depth: u32) -> CloneOptions {
    CloneOptions { depth: Some(depth), ..CloneOptions::default() }
}

const MAIN: (&str, &str) = ("RUNYARD_GIT_REF", "refs/heads/main");

fn at(commit: &str) -> (&str, &str) {
    ("RUNYARD_GIT_COMMITSHA", commit)
}

#[test]
fn the_commit_arrives_with_all_branches_and_tags_beside_files_that_were_there() {
    let world = World::new();
    fs::write(world.work().join("mine"), "kept").expect("writes");
    fs::write(world.work().join("file"), "in the way").expect("writes");
    assert_eq!(world.clone(CloneOptions::default(), &[MAIN, at(&world.third)]), world.third);
    assert_eq!(world.content(), "third");
    assert_eq!(fs::read_to_string(world.work().join("mine")).expect("reads"), "kept");
    assert_eq!(world.history(), 3);
    assert_eq!(git(&world.work(), &["rev-parse", "origin/side"]), world.side);
    assert_eq!(git(&world.work(), &["describe", "--tags"]), format!("v1-1-g{}", &world.third[..7]));
}

#[test]
fn a_commit_behind_the_tip_arrives_with_and_without_a_depth() {
    for options in [CloneOptions::default(), depth(1)] {
        let world = World::new();
        assert_eq!(world.clone(options, &[MAIN, at(&world.first)]), world.first);
        assert_eq!(world.content(), "first");
    }
}

#[test]
fn a_depth_limits_the_history() {
    let world = World::new();
    assert_eq!(world.clone(depth(2), &[MAIN, at(&world.third)]), world.third);
    assert_eq!(world.history(), 2);
}

#[test]
fn a_commit_that_was_pushed_over_still_arrives() {
    for options in [CloneOptions::default(), depth(1)] {
        let world = World::new();
        assert_eq!(world.clone(options, &[MAIN, at(&world.gone)]), world.gone);
        let world = World::new();
        let deleted = ("RUNYARD_GIT_REF", "refs/heads/deleted");
        assert_eq!(world.clone(options, &[deleted, at(&world.gone)]), world.gone);
    }
}

#[test]
fn a_server_that_gives_out_references_only_is_enough() {
    let old = [("GIT_CONFIG_COUNT", "1"), ("GIT_CONFIG_KEY_0", "protocol.version"), ("GIT_CONFIG_VALUE_0", "0")];
    let world = World::new();
    assert_eq!(world.clone(depth(1), &[&old[..], &[MAIN, at(&world.first)]].concat()), world.first);
    let world = World::new();
    let deleted = ("RUNYARD_GIT_REF", "refs/heads/deleted");
    assert_eq!(world.clone(depth(1), &[&old[..], &[deleted, at(&world.second)]].concat()), world.second);
}

#[test]
fn tags_pull_requests_and_the_default_branch_arrive() {
    for options in [CloneOptions::default(), depth(1)] {
        let world = World::new();
        assert_eq!(world.clone(options, &[("RUNYARD_GIT_REF", "refs/tags/v1")]), world.second);
        assert_eq!(world.clone(options, &[("RUNYARD_GIT_REF", "refs/tags/v1"), at(&world.second)]), world.second);
        let pull = ("RUNYARD_GIT_REF", "refs/pull/1/head");
        assert_eq!(world.clone(options, &[pull, at(&world.pull)]), world.pull);
        assert_eq!(world.clone(options, &[]), world.third);
        assert_eq!(world.clone(options, &[MAIN]), world.third);
    }
}

#[test]
fn submodules_of_submodules_arrive() {
    let world = World::new();
    let allow = ["-c", "protocol.file.allow=always"];
    let make = |name: &str| {
        let dir = world.dir.path().join(name);
        fs::create_dir(&dir).expect("creates");
        git(&dir, &["init", "--quiet", "--initial-branch=main", "."]);
        commit(&dir, name, name);
        dir
    };
    let (inner, outer) = (make("inner"), make("outer"));
    git(&outer, &[&allow[..], &["submodule", "--quiet", "add", inner.to_str().expect("text"), "sub"]].concat());
    git(&outer, &["commit", "--quiet", "-m", "with inner"]);
    git(
        &world.origin(),
        &[&allow[..], &["submodule", "--quiet", "add", outer.to_str().expect("text"), "sub"]].concat(),
    );
    git(&world.origin(), &["commit", "--quiet", "-m", "with outer"]);
    let options = CloneOptions { recurse_submodules: true, depth: Some(1) };
    world.clone(options, &[MAIN, ("GIT_ALLOW_PROTOCOL", "file")]);
    assert_eq!(fs::read_to_string(world.work().join("sub/sub/inner")).expect("reads"), "inner");
}

#[test]
fn without_an_address_or_the_commit_it_fails_and_says_why() {
    let world = World::new();
    let error = world.fail(&[("RUNYARD_REPOSITORY_URL", "")]);
    assert_eq!(error, "clone: RUNYARD_REPOSITORY_URL is empty: there is nothing to clone\n");
    let error = world.fail(&[MAIN, at(&"1".repeat(40))]);
    assert!(error.ends_with(&format!("is not in {} any more\n", world.origin().display())), "{error}");
    let error = world.fail(&[("RUNYARD_GIT_REF", "refs/heads/none")]);
    assert!(error.ends_with("clone: the reference refs/heads/none cannot be fetched\n"), "{error}");
}

/// An `ssh` that notes its arguments and serves the repository from this machine.
fn fake_ssh(world: &World) -> String {
    let bin = world.dir.path().join("bin");
    fs::create_dir(&bin).expect("creates");
    let ssh = bin.join("ssh");
    let log = world.dir.path().join("ssh.log");
    let script = format!("#!/bin/sh\necho \"$@\" >>{}\nfor last; do :; done\nexec sh -c \"$last\"\n", log.display());
    fs::write(&ssh, script).expect("writes");
    fs::set_permissions(&ssh, fs::Permissions::from_mode(0o755)).expect("sets");
    format!("{}:{}", bin.display(), std::env::var("PATH").expect("a path"))
}

#[test]
fn ssh_takes_the_deploy_key_and_the_host_key_and_leaves_the_images_configuration_alone() {
    let world = World::new();
    let path = fake_ssh(&world);
    let home = world.dir.path().join("home");
    fs::create_dir(home.join(".ssh")).expect("creates");
    fs::write(home.join(".ssh/config"), "# mine\n").expect("writes");
    let url = format!("git@git.example.org:{}", world.origin().display());
    let environment = [
        ("PATH", path.as_str()),
        ("RUNYARD_REPOSITORY_URL", &url),
        ("RUNYARD_GIT_HOST", "git.example.org"),
        ("RUNYARD_GIT_PORT", "2222"),
        ("RUNYARD_SSHPRIVKEY", "the key"),
        ("RUNYARD_SSHHOSTKEY", "ssh-ed25519 AAAA"),
        MAIN,
    ];
    assert_eq!(world.clone(depth(1), &environment), world.third);

    let read = |name: &str| fs::read_to_string(home.join(".ssh").join(name)).expect("reads");
    assert_eq!(read("config"), "# mine\n");
    assert_eq!(read("runyard_key"), "the key\n");
    let mode = fs::metadata(home.join(".ssh/runyard_key")).expect("exists").permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    assert_eq!(read("runyard_known_hosts"), "[git.example.org]:2222 ssh-ed25519 AAAA\n");
    let ssh = home.join(".ssh").display().to_string();
    assert_eq!(
        read("runyard_config"),
        format!(
            "Host git.example.org\n  Port 2222\nHost *\n  BatchMode yes\n  IdentityFile \"{ssh}/runyard_key\"\n  \
             IdentitiesOnly yes\n  StrictHostKeyChecking yes\n  UserKnownHostsFile \"{ssh}/runyard_known_hosts\"\n"
        )
    );
    let log = fs::read_to_string(world.dir.path().join("ssh.log")).expect("reads");
    assert!(log.starts_with(&format!("-F {ssh}/runyard_config ")), "{log}");
    // A later step fetches with the same key.
    assert_eq!(git(&world.work(), &["config", "core.sshCommand"]), format!("ssh -F '{ssh}/runyard_config'"));
}

#[test]
fn ssh_without_a_host_key_check_asks_for_none() {
    let world = World::new();
    let path = fake_ssh(&world);
    let url = format!("ssh://git@git.example.org{}", world.origin().display());
    let environment = [
        ("PATH", path.as_str()),
        ("RUNYARD_REPOSITORY_URL", &url),
        ("RUNYARD_GIT_HOST", "git.example.org"),
        ("RUNYARD_SKIPSSHHOSTKEYCHECK", "1"),
        ("RUNYARD_SSHHOSTKEY", "git.example.org ssh-ed25519 AAAA"),
        MAIN,
    ];
    world.clone(CloneOptions::default(), &environment);
    let ssh = world.dir.path().join("home/.ssh");
    let config = fs::read_to_string(ssh.join("runyard_config")).expect("reads");
    assert!(config.contains("StrictHostKeyChecking no\n  UserKnownHostsFile /dev/null\n"), "{config}");
    assert!(!config.contains("IdentityFile"), "{config}");
    let include = fs::read_to_string(ssh.join("config")).expect("reads");
    assert_eq!(include, format!("Include \"{}/runyard_config\"\n", ssh.display()));
}

/// Serves the repositories of a directory over HTTP, until it is dropped.
struct HttpServer {
    address: SocketAddr,
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

/// How a server fails to answer.
#[derive(Clone, Copy, Debug)]
enum Fault {
    /// With this status.
    Status(&'static str),
    /// It takes the request, and hangs up.
    HangsUp,
    /// Half of the answer comes.
    Half,
}

impl HttpServer {
    fn new(root: PathBuf) -> Self {
        Self::with_faults(root, Vec::new())
    }

    /// Answers the first requests wrongly.
    fn with_faults(root: PathBuf, faults: Vec<Fault>) -> Self {
        Self::at(TcpListener::bind("127.0.0.1:0").expect("binds"), root, faults)
    }

    fn at(listener: TcpListener, root: PathBuf, faults: Vec<Fault>) -> Self {
        let address = listener.local_addr().expect("is bound");
        let mut faults = faults.into_iter();
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = stop.clone();
        let thread = std::thread::spawn(move || {
            for stream in listener.incoming() {
                if stopped.load(Ordering::SeqCst) {
                    return;
                }
                answer(&root, stream.expect("accepts"), faults.next());
            }
        });
        Self { address, stop, thread: Some(thread) }
    }
}

impl Drop for HttpServer {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::SeqCst);
        // Wakes the thread.
        let _ = TcpStream::connect(self.address);
        let joined = self.thread.take().expect("dropped once").join();
        assert!(joined.is_ok() || std::thread::panicking());
    }
}

/// Hands one request to git's own program for that, by the rules of CGI.
fn answer(root: &Path, mut stream: TcpStream, fault: Option<Fault>) {
    let mut reader = BufReader::new(stream.try_clone().expect("clones"));
    let mut line = String::new();
    reader.read_line(&mut line).expect("reads");
    let words: Vec<_> = line.split(' ').map(str::to_owned).collect();
    let (path, query) = words[1].split_once('?').unwrap_or((&words[1], ""));
    let mut command = base(Command::new("git"));
    command.arg("http-backend").env("GIT_PROJECT_ROOT", root).env("GIT_HTTP_EXPORT_ALL", "1");
    command.env("REQUEST_METHOD", &words[0]).env("PATH_INFO", path).env("QUERY_STRING", query);
    let mut length = 0;
    loop {
        let mut header = String::new();
        reader.read_line(&mut header).expect("reads");
        let Some((name, value)) = header.trim().split_once(": ") else { break };
        match name.to_ascii_lowercase().as_str() {
            "content-length" => length = value.parse().expect("a number"),
            "content-type" => drop(command.env("CONTENT_TYPE", value)),
            "content-encoding" => drop(command.env("HTTP_CONTENT_ENCODING", value)),
            "git-protocol" => drop(command.env("GIT_PROTOCOL", value)),
            _ => {}
        }
    }
    let mut body = vec![0; length];
    reader.read_exact(&mut body).expect("reads");
    command.env("CONTENT_LENGTH", length.to_string());
    let mut child =
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null()).spawn().expect("git starts");
    child.stdin.take().expect("it is piped").write_all(&body).expect("writes");
    let output = child.wait_with_output().expect("ends").stdout;
    let status = if output.starts_with(b"Status: ") { "404 Not Found" } else { "200 OK" };
    match fault {
        None => {
            write!(stream, "HTTP/1.1 {status}\r\nConnection: close\r\n").expect("writes");
            stream.write_all(&output).expect("writes");
        }
        Some(Fault::Status(status)) => {
            let head = "Connection: close\r\nContent-Length: 0\r\nWWW-Authenticate: Basic realm=\"a\"";
            write!(stream, "HTTP/1.1 {status}\r\n{head}\r\n\r\n").expect("writes");
        }
        Some(Fault::HangsUp) => {}
        Some(Fault::Half) => {
            let body = output.windows(4).position(|four| four == b"\r\n\r\n").expect("a head") + 4;
            let (head, body) = output.split_at(body);
            write!(stream, "HTTP/1.1 200 OK\r\nConnection: close\r\nTransfer-Encoding: chunked\r\n").expect("writes");
            stream.write_all(head).expect("writes");
            write!(stream, "{:x}\r\n", body.len()).expect("writes");
            stream.write_all(&body[..body.len() / 2]).expect("writes");
        }
    }
}

#[test]
fn http_serves_as_well() {
    let world = World::new();
    let server = HttpServer::new(world.dir.path().to_owned());
    let url = format!("http://{}/origin/.git", server.address);
    let url = ("RUNYARD_REPOSITORY_URL", url.as_str());
    for (options, reference, commit) in [
        (depth(1), "refs/heads/main", &world.third),
        (depth(1), "refs/heads/main", &world.first),
        (depth(1), "refs/pull/1/head", &world.pull),
        (CloneOptions::default(), "refs/heads/side", &world.side),
        (CloneOptions::default(), "refs/heads/main", &world.gone),
    ] {
        assert_eq!(world.clone(options, &[url, ("RUNYARD_GIT_REF", reference), at(commit)]), *commit, "{reference}");
    }
    assert_eq!(world.content(), "gone");

    let missing = format!("http://{}/none/.git", server.address);
    let output = world.run(depth(1), &[("RUNYARD_REPOSITORY_URL", &missing), MAIN]);
    assert_eq!(output.status.code(), Some(1));
}

const TRIES_AGAIN: &str = "clone: the server cannot be reached; trying again in 1 s\n";

#[test]
fn a_server_that_is_away_for_a_moment_is_waited_for() {
    let world = World::new();
    let free = TcpListener::bind("127.0.0.1:0").expect("binds").local_addr().expect("is bound");
    let url = format!("http://{free}/origin/.git");
    let mut command = world.command(depth(1), &[("RUNYARD_REPOSITORY_URL", url.as_str()), MAIN, at(&world.third)]);
    let mut cloning = command.stderr(Stdio::piped()).stdout(Stdio::null()).spawn().expect("the shell starts");
    let mut lines = BufReader::new(cloning.stderr.take().expect("it is piped")).lines();
    let refused = lines.next().expect("a line").expect("text");
    assert!(refused.contains("refused") || refused.contains("connect"), "{refused}");
    let says_so = lines.any(|line| format!("{}\n", line.expect("text")) == TRIES_AGAIN);
    assert!(says_so);
    let listener = TcpListener::bind(free).expect("the port is still free");
    let _server = HttpServer::at(listener, world.dir.path().to_owned(), Vec::new());
    lines.for_each(drop);
    assert!(cloning.wait().expect("it ends").success());
    assert_eq!(world.content(), "third");
}

#[test]
fn an_answer_that_breaks_off_is_asked_for_again() {
    for fault in
        [Fault::Status("503 Service Unavailable"), Fault::Status("502 Bad Gateway"), Fault::HangsUp, Fault::Half]
    {
        let world = World::new();
        let server = HttpServer::with_faults(world.dir.path().to_owned(), vec![fault]);
        let url = format!("http://{}/origin/.git", server.address);
        let output = world.run(depth(1), &[("RUNYARD_REPOSITORY_URL", &url), MAIN, at(&world.third)]);
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success() && said.ends_with(TRIES_AGAIN), "{fault:?}: {said}");
        assert_eq!(world.content(), "third");
    }
}

#[test]
fn a_refusal_is_final() {
    let forbidden = [Fault::Status("401 Unauthorized"), Fault::Status("403 Forbidden"), Fault::Status("404 Not Found")];
    for fault in forbidden {
        let world = World::new();
        let server = HttpServer::with_faults(world.dir.path().to_owned(), vec![fault; 10]);
        let url = format!("http://{}/origin/.git", server.address);
        let output = world.run(depth(1), &[("RUNYARD_REPOSITORY_URL", &url), MAIN]);
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(!output.status.success() && !said.contains("again"), "{fault:?}: {said}");
    }
    // Nor is a reference waited for that is not there.
    let world = World::new();
    let server = HttpServer::new(world.dir.path().to_owned());
    let url = format!("http://{}/origin/.git", server.address);
    let said = world.fail(&[("RUNYARD_REPOSITORY_URL", &url), ("RUNYARD_GIT_REF", "refs/heads/none")]);
    assert!(said.ends_with("the reference refs/heads/none cannot be fetched\n") && !said.contains("again"), "{said}");
}

#[test]
fn a_server_that_stays_away_is_given_up() {
    let world = World::new();
    let free = TcpListener::bind("127.0.0.1:0").expect("binds").local_addr().expect("is bound");
    let url = format!("http://{free}/origin/.git");
    let said = world.fail(&[("RUNYARD_REPOSITORY_URL", &url), ("RUNYARD_CLONE_PATIENCE", "1"), MAIN]);
    assert_eq!(said.matches(TRIES_AGAIN).count(), 1, "{said}");
    assert!(said.ends_with("clone: the server cannot be reached, also after 1 s of trying: giving up\n"), "{said}");
}
