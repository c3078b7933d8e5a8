//! What does a storage in a directory cost, beside the same system calls by hand?
//!
//! Each figure stands beside its floor, and the two are measured in turn, because a figure on a noisy machine means
//! little without it. The floor of a put is what any program has to do that wants the same promise: create, write,
//! sync, rename, sync the directory, on a blocking thread. That of a get is `cat`.
//!
//! `cargo bench -p runyard-objectstorage --bench posix` takes minutes and some gigabytes of disk;
//! `cargo bench -p runyard-objectstorage --bench posix -- 0.01` does the hundredth part, to see that it works;
//! a second argument, `put`, `large` or `list`, only that part.

use std::{
    error::Error,
    fs::{self, File},
    io::{Read, Write},
    path::Path,
    process::{Command, Stdio},
    sync::Arc,
    time::{Duration, Instant},
};

use bytes::Bytes;
use futures::{StreamExt, TryStreamExt, stream};
use runyard_objectstorage::{
    Body, Durability, GetRange, ListRequest, ObjectKey, ObjectStorage, PosixStorage, PutMode, PutOptions, PutSize,
};
use rustix::{
    fd::OwnedFd,
    fs::{Advice, CWD, Mode, OFlags, fadvise, fsync, openat, renameat},
};
use tokio::task::spawn_blocking;

const OBJECT_BYTES: usize = 4 * 1024;
const LARGE_BYTES: u64 = 1 << 30;
const PIECE_BYTES: usize = 64 * 1024;

type Outcome<T = ()> = Result<T, Box<dyn Error + Send + Sync>>;

fn main() -> Outcome {
    // Cargo adds an argument of its own.
    let mut arguments = std::env::args().skip(1).filter(|argument| !argument.starts_with('-'));
    let scale = arguments.next().map_or(Ok(1.0), |scale| scale.parse::<f64>())?;
    let only = arguments.next();
    tokio::runtime::Builder::new_multi_thread().enable_all().build()?.block_on(bench(scale, only.as_deref()))
}

async fn bench(scale: f64, only: Option<&str>) -> Outcome {
    let scaled = |count: f64| (count * scale).ceil() as usize;
    let is_wanted = |part: &str| only.is_none_or(|only| only == part);
    let directory = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR"))?;
    let path = |name| directory.path().join(name);
    let idle = peak()?;
    if is_wanted("put") {
        puts("put 4 KiB, synced", &path("synced"), scaled(2_000.0), Durability::Synced).await?;
        puts("put 4 KiB, relaxed", &path("relaxed"), scaled(20_000.0), Durability::Relaxed).await?;
    }
    if is_wanted("large") {
        large(&path("large"), scaled(LARGE_BYTES as f64) as u64, idle).await?;
    }
    if is_wanted("list") {
        list(&path("many"), scaled(1_000.0), idle).await?;
    }
    Ok(())
}

async fn puts(title: &str, path: &Path, count: usize, durability: Durability) -> Outcome {
    let storage = PosixStorage::open(path.join("objects")).await?;
    let floor = Arc::new(Floor::open(&path.join("floor"))?);
    let bytes = Bytes::from(vec![b'x'; OBJECT_BYTES]);
    let size = PutSize::Exact(OBJECT_BYTES as u64);
    let (mut overwrites, mut creates, mut floors, mut raw_floors) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
    for index in 0..count + count / 10 {
        let mut times = [Duration::ZERO; 4];
        // Who comes first pays for what the one before left to be done, so they take turns in that as well.
        for place in 0..3 {
            let start = now();
            match (place + index) % 3 {
                0 => {
                    let floor = floor.clone();
                    let bytes = bytes.clone();
                    let put = move || floor.put(&index.to_string(), &bytes, durability == Durability::Synced);
                    times[3] = spawn_blocking(put).await??;
                    times[2] = start.elapsed();
                }
                way => {
                    let mode = [PutMode::Overwrite, PutMode::Create][way - 1];
                    let key = ObjectKey::parse(&format!("{way}/{index}"))?;
                    let start = now();
                    storage.put(&key, bytes.clone().into(), PutOptions { size, durability, mode }).await?;
                    times[way - 1] = start.elapsed();
                }
            }
        }
        // The first ones warm up.
        if index >= count / 10 {
            for (series, time) in [&mut overwrites, &mut creates, &mut floors, &mut raw_floors].into_iter().zip(times) {
                series.push(time);
            }
        }
    }
    let floor = median(floors);
    println!("{title}: {count} each, medians");
    row("  floor: by hand on a blocking thread", micros(floor), "");
    row("  the same without the hop to the thread", micros(median(raw_floors)), "");
    for (name, times) in [("  put, overwrite", overwrites), ("  put, create", creates)] {
        let time = median(times);
        row(
            name,
            micros(time),
            &compared(time.as_secs_f64() / floor.as_secs_f64(), "of the floor", |it| it <= 1.3, "at most 1.3"),
        );
    }
    Ok(())
}

/// The system calls by hand.
struct Floor {
    staging: OwnedFd,
    directory: OwnedFd,
}

impl Floor {
    fn open(path: &Path) -> Outcome<Self> {
        let open = |name| -> Outcome<_> {
            fs::create_dir_all(path.join(name))?;
            let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
            Ok(openat(CWD, path.join(name), flags, Mode::empty())?)
        };
        Ok(Self { staging: open("staging")?, directory: open("objects")? })
    }

    fn put(&self, name: &str, bytes: &[u8], is_synced: bool) -> Outcome<Duration> {
        let start = now();
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::CLOEXEC;
        let mut file = File::from(openat(&self.staging, name, flags, Mode::from_raw_mode(0o666))?);
        file.write_all(bytes)?;
        if is_synced {
            fsync(&file)?;
        }
        renameat(&self.staging, name, &self.directory, name)?;
        if is_synced {
            fsync(&self.directory)?;
        }
        drop(file);
        Ok(start.elapsed())
    }
}

async fn large(path: &Path, size: u64, idle: u64) -> Outcome {
    let storage = PosixStorage::open(path).await?;
    let key = ObjectKey::parse("large")?;
    println!("one object of {} MiB", size >> 20);
    reset_peak()?;
    let start = now();
    let piece = Bytes::from(vec![b'x'; PIECE_BYTES]);
    let pieces = (0..size.div_ceil(PIECE_BYTES as u64)).map(move |index| {
        let left = size - index * PIECE_BYTES as u64;
        Ok(piece.slice(..left.min(PIECE_BYTES as u64) as usize))
    });
    let relaxed = PutOptions { durability: Durability::Relaxed, ..PutOptions::default() };
    storage.put(&key, Body::stream(stream::iter(pieces)), relaxed).await?;
    row("  put, relaxed", rate(size, start.elapsed()), &memory(peak()?.saturating_sub(idle)));
    let (mut cats, mut copies, mut gets, mut peaks) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
    cat(&path.join("large"))?;
    for _ in 0..15 {
        cats.push(cat(&path.join("large"))?);
        let file = path.join("large");
        copies.push(spawn_blocking(move || copy(&file)).await??);
        reset_peak()?;
        gets.push(get(&storage, &key, size).await?);
        peaks.push(peak()?.saturating_sub(idle));
    }
    let (mut cold_cats, mut cold_gets) = (Vec::new(), Vec::new());
    for _ in 0..3 {
        forget(&path.join("large"))?;
        cold_cats.push(cat(&path.join("large"))?);
        forget(&path.join("large"))?;
        cold_gets.push(get(&storage, &key, size).await?);
    }
    let (cat, get) = (median(cats), median(gets));
    row("  floor: cat to /dev/null, warm", rate(size, cat), "");
    row("  the same loop in this process", rate(size, median(copies)), "");
    let speed = cat.as_secs_f64() / get.as_secs_f64();
    row("  get to /dev/null, warm", rate(size, get), &compared(speed, "of cat", |it| it >= 0.8, "at least 0.8"));
    let (cat, get) = (median(cold_cats), median(cold_gets));
    row("  cat to /dev/null, cold", rate(size, cat), "");
    row("  get to /dev/null, cold", rate(size, get), &format!("{:.2} of cat", cat.as_secs_f64() / get.as_secs_f64()));
    let peak = peaks.into_iter().max().unwrap_or_default();
    row("  memory of a get", format!("{peak} KiB"), &memory(peak));
    Ok(())
}

async fn get(storage: &PosixStorage, key: &ObjectKey, size: u64) -> Outcome<Duration> {
    let mut sink = File::options().write(true).open("/dev/null")?;
    let start = now();
    let mut stream = storage.get(key, GetRange::Full).await?.stream;
    let mut read = 0;
    while let Some(piece) = stream.try_next().await? {
        read += piece.len() as u64;
        sink.write_all(&piece)?;
    }
    assert_eq!(read, size);
    Ok(start.elapsed())
}

fn cat(path: &Path) -> Outcome<Duration> {
    let start = now();
    let status = Command::new("cat").arg(path).stdout(Stdio::null()).status()?;
    assert!(status.success());
    Ok(start.elapsed())
}

/// Makes the kernel forget what is in a file.
fn forget(path: &Path) -> Outcome {
    let file = File::open(path)?;
    file.sync_all()?;
    Ok(fadvise(&file, 0, None, Advice::DontNeed)?)
}

/// What `cat` does, without the start of a process.
fn copy(path: &Path) -> Outcome<Duration> {
    let (mut source, mut sink) = (File::open(path)?, File::options().write(true).open("/dev/null")?);
    let mut buffer = vec![0; 128 * 1024];
    let start = now();
    loop {
        let read = source.read(&mut buffer)?;
        if read == 0 {
            return Ok(start.elapsed());
        }
        sink.write_all(&buffer[..read])?;
    }
}

async fn list(path: &Path, directories: usize, idle: u64) -> Outcome {
    let storage = PosixStorage::open(path).await?;
    let relaxed = PutOptions { durability: Durability::Relaxed, ..PutOptions::default() };
    let keys = (0..directories).flat_map(|directory| (0..100).map(move |name| format!("{directory:04}/{name:016}")));
    let keys: Vec<_> = keys.map(|key| ObjectKey::parse(&key)).collect::<Result<_, _>>()?;
    let puts = stream::iter(&keys).map(|key| storage.put(key, "x".into(), relaxed)).buffer_unordered(16);
    puts.try_collect::<()>().await?;
    let count = keys.len();
    drop(keys);
    println!("{count} keys in {directories} directories");
    let (mut times, mut peaks) = (Vec::new(), Vec::new());
    for _ in 0..12 {
        reset_peak()?;
        let start = now();
        let mut listing = storage.list(ListRequest::default());
        let mut listed = 0;
        while listing.try_next().await?.is_some() {
            listed += 1;
        }
        times.push(start.elapsed());
        peaks.push(peak()?.saturating_sub(idle));
        assert_eq!(listed, count);
    }
    // The first one warmed up.
    let time = median(times.split_off(1));
    let speed = count as f64 / time.as_secs_f64();
    row("  list", format!("{speed:.0} keys/s"), &compared(speed, "keys/s", |it| it >= 200_000.0, "at least 200000"));
    let peak = peaks.into_iter().max().unwrap_or_default();
    row("  memory of a listing", format!("{peak} KiB"), &memory(peak));
    Ok(())
}

/// Forgets how much memory was in use at most.
fn reset_peak() -> Outcome {
    Ok(fs::write("/proc/self/clear_refs", "5")?)
}

/// How much memory was in use at most since the last reset, in KiB.
fn peak() -> Outcome<u64> {
    let status = fs::read_to_string("/proc/self/status")?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).ok_or("the kernel tells no peak")?;
    Ok(line.trim().trim_end_matches(" kB").parse()?)
}

fn memory(kib: u64) -> String {
    compared(kib as f64 / 1024.0, "MiB above idle", |it| it < 64.0, "under 64")
}

fn row(name: &str, figure: String, remark: &str) {
    println!("{name:42} {figure:>16}   {remark}");
}

fn compared(figure: f64, unit: &str, is_met: impl Fn(f64) -> bool, target: &str) -> String {
    let verdict = if is_met(figure) { "met" } else { "MISSED" };
    format!("{figure:.2} {unit} ({target}: {verdict})")
}

fn rate(bytes: u64, time: Duration) -> String {
    format!("{:.0} MiB/s", bytes as f64 / f64::from(1 << 20) / time.as_secs_f64())
}

fn micros(time: Duration) -> String {
    format!("{:.1} µs", time.as_secs_f64() * 1e6)
}

fn median(mut times: Vec<Duration>) -> Duration {
    times.sort();
    times[times.len() / 2]
}

#[expect(clippy::disallowed_methods, reason = "a bench measures real time")]
fn now() -> Instant {
    Instant::now()
}
