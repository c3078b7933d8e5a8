//! Does the server survive being killed at any moment? What was acknowledged is there, nothing runs twice, all ends.

mod follow;

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    process::{Child, Stdio},
    sync::{Arc, Mutex},
    time::Duration,
};

use rand::{
    RngExt, SeedableRng, TryRng,
    rngs::{StdRng, SysRng},
};
use serde_json::Value;
use tempfile::TempDir;
use tokio::task::JoinSet;

use self::follow::{After, Api, Log};
use crate::support::{self, Server, Work, wait_for_no_process_of};

const KILLS: usize = 20;
const KILLS_PER_RUN: usize = 4;

/// How long a run may take after the last kill.
const PATIENCE: Duration = Duration::from_secs(60);

/// Set it to the seed that a failed test has printed.
const SEED: &str = "RUNYARD_TEST_SEED";

/// Notes that it was started, prints numbered lines for a while, and leaves a file for the tasks after it.
const COUNT: &str = r#"
echo "$RUNYARD_RUN_COUNTER $1" >>"$STARTS"
line=0
for burst in 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16; do
  for _ in 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20; do
    echo "$1 $((line += 1))"; echo "$1 $((line += 1))"; echo "$1 $((line += 1))"; echo "$1 $((line += 1))"
    echo "$1 $((line += 1))"; echo "$1 $((line += 1))"; echo "$1 $((line += 1))"; echo "$1 $((line += 1))"
  done
  sleep 0.02
done
echo "$1 ended" >"done.$1"
"#;
const LINES: usize = 16 * 20 * 8;

/// The commands, as the task, the index of the step, and the word that its lines begin with.
const COMMANDS: [(&str, usize, &str); 5] =
    [("source", 1, "first"), ("left", 1, "left"), ("right", 1, "right"), ("right", 2, "more"), ("join", 3, "last")];
const TASKS: [(&str, usize); 4] = [("source", 4), ("left", 3), ("right", 4), ("join", 4)];

fn definition(starts: &Path) -> String {
    let starts = starts.display();
    format!(
        "
version: v1
runs:
  - name: numbers
    tasks:
      - name: source
        runtime: &any
          containers: [{{image: any}}]
        environment: &environment {{STARTS: '{starts}'}}
        steps:
          - clone:
          - run: sh count.sh first
          - save_cache: {{key: 'message-{{{{ sha256sum \"message\" }}}}', contents: [{{paths: [message]}}]}}
          - save_to_workspace: {{contents: [{{paths: [count.sh, message, 'done.*']}}]}}
      - name: left
        runtime: *any
        environment: *environment
        depends: [source]
        steps:
          - restore_workspace: {{dest_dir: .}}
          - run: sh count.sh left
          - save_to_workspace: {{contents: [{{paths: ['done.left']}}]}}
      - name: right
        runtime: *any
        environment: *environment
        depends: [source]
        steps:
          - restore_workspace: {{dest_dir: .}}
          - run: {{command: sh count.sh right, tty: true}}
          - run: sh count.sh more
          - save_to_workspace: {{contents: [{{paths: ['done.right', 'done.more']}}]}}
      - name: join
        runtime: *any
        environment: *environment
        depends: [left, right]
        steps:
          - restore_workspace: {{dest_dir: .}}
          - restore_cache: {{keys: ['message-{{{{ sha256sum \"message\" }}}}'], dest_dir: cached}}
          - run: cat done.first done.left done.right done.more && cmp message cached/message
          - run: sh count.sh last
"
    )
}

/// A server that is killed and started again at the same address.
struct House {
    directory: TempDir,
    random: StdRng,
    listen: String,
    kills: usize,
}

impl House {
    fn data(&self) -> PathBuf {
        self.directory.path().join("data")
    }

    fn spawn(&self) -> Child {
        let log = std::fs::OpenOptions::new().append(true).create(true).open(self.directory.path().join("server.log"));
        support::serve(&self.data(), &self.listen).stderr(log.expect("a file")).spawn().expect("the server starts")
    }

    /// Starts the server; a part of the starts is cut short by a kill, and tried again.
    fn start(&mut self) -> Server {
        while self.kills < KILLS && self.random.random_ratio(1, 5) {
            let mut child = self.spawn();
            pause(self.random.random_range(0..200));
            child.kill().expect("it runs");
            child.wait().expect("it ends");
            self.kills += 1;
        }
        // In the moment that it was away, its port may have been taken for a connection of somebody else's.
        (0..50).find_map(|_| Server::announced(self.spawn(), &self.data())).expect("the server starts again")
    }

    fn kill_after(&mut self, server: Server, milliseconds: u64) {
        pause(milliseconds);
        server.kill();
        self.kills += 1;
    }
}

/// A random moment is what is wanted here, so there is nothing to wait for.
fn pause(milliseconds: u64) {
    #[expect(clippy::disallowed_methods, reason = "the kill comes at a random moment")]
    std::thread::sleep(Duration::from_millis(milliseconds));
}

struct Printed(PathBuf, u64);

impl Drop for Printed {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("{}", std::fs::read_to_string(&self.0).unwrap_or_default());
            eprintln!("replay with {SEED}={}", self.1);
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn killed_at_random_moments_a_server_loses_nothing_and_runs_nothing_twice() {
    let given = std::env::var(SEED).ok().map(|seed| seed.parse().expect("a number"));
    let seed: u64 = given.unwrap_or_else(|| SysRng.try_next_u64().expect("random bytes"));
    println!("replay with {SEED}={seed}");
    let directory = tempfile::tempdir().expect("a directory");
    let _printed = Printed(directory.path().join("server.log"), seed);
    let starts = directory.path().join("starts");
    let work = Work::new(&directory);
    std::fs::write(work.path().join("count.sh"), COUNT).expect("written");
    let listen = "127.0.0.1:0".to_owned();
    let mut house = House { directory, random: StdRng::seed_from_u64(seed), listen, kills: 0 };
    let mut server = Server::announced(house.spawn(), &house.data()).expect("the server starts");
    house.listen = server.url.trim_start_matches("http://").to_owned();
    server.json(&["project", "create", "hello"]);
    #[cfg(feature = "s3")]
    // With TLS compiled in, a client does not start without a provider of it. Another one may be installed already.
    drop(rustls::crypto::ring::default_provider().install_default());
    let api = Api {
        http: reqwest::Client::builder().no_proxy().build().expect("a client"),
        url: server.url.clone(),
        token: server.token.clone(),
    };

    let mut number = 0;
    while house.kills < KILLS {
        number += 1;
        let commit = work.commit(&definition(&starts), &format!("message {number}"));
        server = push(&mut house, server, &work, number % 2 == 1);
        // Acknowledged: the run comes, whatever happens, and it comes once.
        if house.random.random_bool(0.5) {
            let moment = house.random.random_range(0..30);
            house.kill_after(server, moment);
            server = house.start();
        }
        let run = wait_for_run_of(&api, &commit).await;
        let (mut following, seen) = follow_all(&api, &run, &mut house.random);
        let kills_before = house.kills;
        while house.kills < (kills_before + KILLS_PER_RUN).min(KILLS) {
            let moment = house.random.random_range(0..900);
            house.kill_after(server, moment);
            server = house.start();
        }
        let all_ended = async {
            while let Some(ended) = following.join_next().await {
                ended.expect("every log can be followed to its end");
            }
        };
        if tokio::time::timeout(PATIENCE, all_ended).await.is_err() {
            panic!("a log did not end: {}", server.ok(&["runs", "show", &number.to_string(), "--project", "hello"]));
        }
        let shown = support::wait_for_end(&server, &number.to_string());
        assert_eq!(shown["result"], "success", "{shown:#}");
        assert_eq!(shown["annotations"]["commit"], commit.as_str());
        check_logs(&api, &seen).await;
    }
    check_starts(&starts, number);
    let listed = server.json(&["runs", "list", "--project", "hello"]);
    assert_eq!(listed.as_array().map(Vec::len), Some(number), "{listed:#}");
    let last_words = server.end();
    assert!(last_words.contains("holds no task"), "{last_words}");
    wait_for_no_process_of(house.directory.path());
    let pods = std::fs::read_dir(house.data().join("pods")).expect("a directory").count();
    assert_eq!(pods, 0, "pods are left");
    let log = std::fs::read_to_string(house.directory.path().join("server.log")).expect("text");
    assert!(log.contains("INFO") && !log.contains('\x1b'), "no colours where no terminal is");
    println!("{} kills in {number} runs", house.kills);
}

/// Pushes until that is acknowledged; the first attempt may be cut short by a kill.
fn push(house: &mut House, server: Server, work: &Work, kill: bool) -> Server {
    let url = server.git_url();
    if !kill || house.kills >= KILLS {
        work.git(&["push", "-q", &url, "main"]);
        return server;
    }
    let mut pushing =
        work.git_command(&["push", "-q", &url, "main"]).stderr(Stdio::null()).spawn().expect("git starts");
    let moment = house.random.random_range(0..250);
    house.kill_after(server, moment);
    let acknowledged = pushing.wait().expect("git ends").success();
    let server = house.start();
    if !acknowledged {
        // It is there wholly or not at all; in the first case this changes nothing.
        work.git(&["push", "-q", &url, "main"]);
    }
    server
}

async fn wait_for_run_of(api: &Api, commit: &str) -> String {
    for _ in 0..500 {
        let runs = api.get("/projects/hello/runs").send().await.expect("the server answers");
        let runs: Value = runs.json().await.expect("JSON");
        let of_commit = |run: &&Value| run["annotations"]["commit"] == commit;
        let found: Vec<_> = runs["items"].as_array().expect("a list").iter().filter(of_commit).collect();
        assert!(found.len() <= 1, "{found:#?}");
        if let [run] = found[..] {
            return run["id"].as_str().expect("an id").to_owned();
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    panic!("the push was acknowledged, and there is no run of {commit}");
}

type Seen = Vec<(Log, Arc<Mutex<Vec<u8>>>)>;

/// Follows every log of a run, some in one way and some in the other.
fn follow_all(api: &Api, run: &str, random: &mut StdRng) -> (JoinSet<()>, Seen) {
    let (mut following, mut all) = (JoinSet::new(), Seen::new());
    for (task, steps) in TASKS {
        for step in std::iter::once("setup".to_owned()).chain((0..steps).map(|index| index.to_string())) {
            let log = Log { run: run.to_owned(), task, step };
            let seen = Arc::<Mutex<Vec<u8>>>::default();
            let after = if random.random_bool(0.5) { After::Resume } else { After::ReadAgain };
            following.spawn(api.clone().follow(log.clone(), after, Arc::clone(&seen)));
            all.push((log, seen));
        }
    }
    (following, all)
}

/// What followers saw is what is stored, and the commands' logs have every line once, in order.
async fn check_logs(api: &Api, seen: &Seen) {
    for (log, seen) in seen {
        let (stored, seen) = (api.read(log).await, seen.lock().expect("no panic while held"));
        assert!(stored == *seen, "{log:?}: stored {}, followed {} bytes", stored.len(), seen.len());
        let command = COMMANDS.iter().find(|(task, step, _)| *task == log.task && step.to_string() == log.step);
        if let Some((.., word)) = command {
            let text = String::from_utf8(stored).expect("text");
            let mut lines = text.lines();
            for line in 1..=LINES {
                assert_eq!(lines.next(), Some(format!("{word} {line}").as_str()), "{log:?}");
            }
            assert_eq!(lines.next(), None, "{log:?}");
        }
    }
}

fn check_starts(starts: &Path, runs: usize) {
    let noted = std::fs::read_to_string(starts).expect("written");
    let mut counts = BTreeMap::new();
    noted.lines().for_each(|line| *counts.entry(line.to_owned()).or_insert(0) += 1);
    let once = (1..=runs).flat_map(|run| COMMANDS.map(|(.., word)| (format!("{run} {word}"), 1)));
    assert_eq!(counts, once.collect());
}
