//! What does a server cost that has nothing to do?
//!
//! The server, as its users have it, gets a project and a run; when that has ended, its memory is read from `/proc`,
//! and its wake-ups and its reads and writes are counted for a while.
//!
//! `cargo bench -p runyard-ci-server --bench idle`

use std::{
    collections::BTreeMap,
    error::Error,
    fs,
    io::{BufRead, BufReader},
    path::Path,
    process::{Child, Command, Stdio},
    thread::sleep,
    time::{Duration, Instant},
};

type Outcome<T = ()> = Result<T, Box<dyn Error>>;

const SAMPLE: Duration = Duration::from_secs(10);

/// Until the last word about the run is written and everything has gone back to sleep.
const SETTLE: Duration = Duration::from_secs(2);

const RSS_MAX_KIB: u64 = 25 * 1024;
const SWITCHES_MAX: f64 = 5.0;

const DEFINITION: &str = "
version: v1
runs:
  - name: idle
    tasks:
      - name: hello
        runtime:
          containers: [{image: any}]
        steps:
          - clone:
          - run: seq 1 10000
";

/// Ended when dropped.
struct Server(Child);

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn main() -> Outcome {
    let directory = tempfile::tempdir()?;
    let data = directory.path().join("data");
    let mut command = Command::new(env!("CARGO_BIN_EXE_runyard"));
    command.args(["serve", "--listen", "127.0.0.1:0", "--data"]).arg(&data);
    let mut server = Server(command.stdout(Stdio::piped()).stderr(Stdio::null()).spawn()?);
    let mut first_line = String::new();
    BufReader::new(server.0.stdout.take().ok_or("no output")?).read_line(&mut first_line)?;
    let url = first_line.split([' ', ',']).find(|word| word.starts_with("http://")).ok_or("no address")?;
    let token = fs::read_to_string(data.join("admin-token"))?;
    let pid = server.0.id();
    let fresh = Sample::take(pid)?;
    one_run(directory.path(), url, token.trim())?;
    wait(SETTLE);

    let before = Sample::take(pid)?;
    let start = now();
    wait(SAMPLE);
    let after = Sample::take(pid)?;
    let seconds = start.elapsed().as_secs_f64();

    println!("an idle server after one run, {seconds:.0} s, load {}", fs::read_to_string("/proc/loadavg")?.trim());
    println!("fresh: {:.1} MiB resident", fresh.rss_kib as f64 / 1024.0);
    let rss = after.rss_kib;
    line("resident memory", format!("{:.1} MiB", rss as f64 / 1024.0), "< 25 MiB", rss < RSS_MAX_KIB);
    let during = |(thread, count): (&String, &u64)| count - before.switches.get(thread).copied().unwrap_or(0);
    let switches = after.switches.iter().map(during).sum::<u64>() as f64 / seconds;
    line("voluntary switches", format!("{switches:.1}/s"), "<= 5/s", switches <= SWITCHES_MAX);
    let objects = after.objects != before.objects;
    line("objects changed", objects.to_string(), "false", !objects);
    // An event loop is woken by a write of 8 bytes to itself, so bytes of files show what calls alone would not.
    let [reads, read_bytes, writes, written_bytes] = std::array::from_fn(|at| after.io[at] - before.io[at]);
    println!(
        "{:22} {reads} calls with {read_bytes} bytes read, {writes} with {written_bytes} written",
        "all file calls"
    );
    let only_wakes = written_bytes == writes * 8 && read_bytes <= reads * 8;
    line("storage calls", if only_wakes { "none" } else { "some" }.to_owned(), "none", only_wakes);
    println!("{:22} {:>12}", "threads", after.switches.len());
    Ok(())
}

fn line(what: &str, value: String, target: &str, met: bool) {
    println!("{what:22} {value:>12}   target {target:10} {}", if met { "met" } else { "MISSED" });
}

/// Creates a project, pushes, and waits for the end of the run.
fn one_run(directory: &Path, url: &str, token: &str) -> Outcome {
    let runyard = |args: &[&str]| -> Outcome<String> {
        let mut command = Command::new(env!("CARGO_BIN_EXE_runyard"));
        let output = command.args(args).env("RUNYARD_SERVER", url).env("RUNYARD_TOKEN", token).output()?;
        match output.status.success() {
            true => Ok(String::from_utf8(output.stdout)?),
            false => Err(String::from_utf8_lossy(&output.stderr).into()),
        }
    };
    runyard(&["project", "create", "idle"])?;
    let work = directory.join("work");
    fs::create_dir_all(work.join(".runyard"))?;
    fs::write(work.join(".runyard/config.yml"), DEFINITION)?;
    let remote = url.replace("http://", &format!("http://me:{token}@")) + "/git/idle.git";
    let commit = ["-c", "user.name=me", "-c", "user.email=me@example.org", "commit", "-q", "-m", "idle"];
    for args in [&["init", "-q", "-b", "main"][..], &["add", "-A"], &commit, &["push", "-q", &remote, "main"]] {
        if !Command::new("git").args(args).current_dir(&work).status()?.success() {
            return Err(format!("git {args:?} failed").into());
        }
    }
    for _ in 0..500 {
        if runyard(&["runs", "list", "--project", "idle"])?.contains("success") {
            return Ok(());
        }
        wait(Duration::from_millis(20));
    }
    Err("the run did not succeed".into())
}

struct Sample {
    rss_kib: u64,
    /// Voluntary ones, of each thread.
    switches: BTreeMap<String, u64>,
    /// `syscr`, `rchar`, `syscw` and `wchar`: calls and bytes.
    io: [u64; 4],
    /// Names and times of everything in the storage.
    objects: Vec<(std::path::PathBuf, std::time::SystemTime)>,
}

impl Sample {
    fn take(pid: u32) -> Outcome<Self> {
        let proc = Path::new("/proc").join(pid.to_string());
        let number = |text: &str, field: &str| -> Outcome<u64> {
            let line = text.lines().find_map(|line| line.strip_prefix(field)).ok_or_else(|| format!("no {field}"))?;
            Ok(line.trim_start_matches(':').split_whitespace().next().ok_or("no number")?.parse()?)
        };
        let mut switches = BTreeMap::new();
        for thread in fs::read_dir(proc.join("task"))? {
            let thread = thread?.path();
            // It may just end, as threads for blocking work do after a while.
            let Ok(status) = fs::read_to_string(thread.join("status")) else { continue };
            switches.insert(thread.display().to_string(), number(&status, "voluntary_ctxt_switches")?);
        }
        let text = fs::read_to_string(proc.join("io"))?;
        let io = [number(&text, "syscr")?, number(&text, "rchar")?, number(&text, "syscw")?, number(&text, "wchar")?];
        let rss_kib = number(&fs::read_to_string(proc.join("status"))?, "VmRSS")?;
        let command = fs::read(proc.join("cmdline"))?;
        let data =
            String::from_utf8_lossy(command.split(|byte| *byte == 0).nth(5).ok_or("no data directory")?).into_owned();
        let mut objects = Vec::new();
        let mut left = vec![Path::new(&data).join("objects")];
        while let Some(directory) = left.pop() {
            for entry in fs::read_dir(directory)? {
                let entry = entry?;
                let meta = entry.metadata()?;
                objects.push((entry.path(), meta.modified()?));
                if meta.is_dir() {
                    left.push(entry.path());
                }
            }
        }
        objects.sort();
        Ok(Self { rss_kib, switches, io, objects })
    }
}

#[expect(clippy::disallowed_methods, reason = "a bench measures real time")]
fn now() -> Instant {
    Instant::now()
}

#[expect(clippy::disallowed_methods, reason = "a bench lets another process be idle")]
fn wait(time: Duration) {
    sleep(time);
}
