//! What does a large object in a bucket cost, in memory and in time, beside the same requests by hand?
//!
//! The server is real and on this machine (`scripts/s3-server up DIR --fast`), and shares its processors, so a speed
//! means little without its floor: the same bytes through `object_store` alone, one part of the same size after the
//! other. The two are measured in turn. The memory is that of this process, without the server.
//!
//! `cargo bench -p runyard-objectstorage --features s3 --bench s3` takes minutes, and more where the server has to be
//! installed first, and three gigabytes of disk; with `-- 0.1` it moves the tenth part, to see that it works.

use std::{
    error::Error,
    fs::{self, File},
    io::Write,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    time::{Duration, Instant},
};

use bytes::Bytes;
use futures::{StreamExt, TryStreamExt, stream};
use object_store::{
    ObjectStoreExt, PutPayload,
    aws::{AmazonS3, AmazonS3Builder},
    path::Path as StorePath,
};
use runyard_objectstorage::{
    Body, GetRange, ObjectKey, ObjectStorage, PutOptions, PutSize, S3Credentials, S3Settings, S3Storage,
};

const LARGE_BYTES: u64 = 1 << 30;
const PIECE_BYTES: usize = 64 * 1024;
/// What the storage cuts its objects into.
const PART_BYTES: usize = 8 << 20;
const ROUNDS: usize = 3;

// What `scripts/s3-server` sets.
const BUCKET: &str = "runyard";
const ACCESS_KEY_ID: &str = "runyard";
const SECRET_ACCESS_KEY: &str = "runyard-secret";
const REGION: &str = "us-east-1";

type Outcome<T = ()> = Result<T, Box<dyn Error + Send + Sync>>;

fn main() -> Outcome {
    // Cargo adds an argument of its own.
    let mut arguments = std::env::args().skip(1).filter(|argument| !argument.starts_with('-'));
    let scale = arguments.next().map_or(Ok(1.0), |scale| scale.parse::<f64>())?;
    let size = (LARGE_BYTES as f64 * scale).ceil() as u64;
    // `object_store` makes its clients with the provider of the process; the storage brings its own.
    let provider = rustls::crypto::ring::default_provider();
    provider.install_default().map_err(|_| "there is a provider of TLS already")?;
    let server = Server::start()?;
    tokio::runtime::Builder::new_multi_thread().enable_all().build()?.block_on(bench(&server.url, size))
}

/// Ends when it is dropped.
struct Server {
    url: String,
    directory: tempfile::TempDir,
}

impl Server {
    fn start() -> Outcome<Self> {
        let directory = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR"))?;
        let mut up = Command::new(Self::script());
        let output = up.arg("up").arg(directory.path()).arg("--fast").stderr(Stdio::inherit()).output()?;
        let url = String::from_utf8(output.stdout)?.trim().to_owned();
        if output.status.success() { Ok(Self { url, directory }) } else { Err("the server did not start".into()) }
    }

    fn script() -> PathBuf {
        Path::new(env!("CARGO_MANIFEST_DIR")).join("../scripts/s3-server")
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let ended = Command::new(Self::script()).arg("down").arg(self.directory.path()).status();
        if !ended.is_ok_and(|status| status.success()) {
            eprintln!("the server may still run; {} has its pid", self.directory.path().display());
        }
    }
}

#[derive(Default)]
struct Series {
    times: Vec<Duration>,
    /// KiB above idle, one of each time.
    peaks: Vec<u64>,
}

impl Series {
    async fn add(&mut self, idle: u64, work: impl Future<Output = Outcome>) -> Outcome {
        reset_peak()?;
        let start = now();
        work.await?;
        self.times.push(start.elapsed());
        self.peaks.push(peak()?.saturating_sub(idle));
        Ok(())
    }

    fn show(&self, name: &str, size: u64, floor: Option<&Self>) {
        let memory = self.peaks.iter().max().copied().unwrap_or_default() as f64 / 1024.0;
        let compared = floor.map(|floor| {
            let speed = floor.median() / self.median();
            let verdict = if memory < 64.0 { "met" } else { "MISSED" };
            format!("{speed:.2} of the floor; {memory:.1} MiB above idle (under 64: {verdict})")
        });
        let remark = compared.unwrap_or_else(|| format!("{memory:.1} MiB above idle"));
        let speed = size as f64 / f64::from(1 << 20) / self.median();
        println!("{name:42} {speed:>9.0} MiB/s   {remark}");
    }

    /// In seconds.
    fn median(&self) -> f64 {
        let mut times = self.times.clone();
        times.sort();
        times[times.len() / 2].as_secs_f64()
    }
}

async fn bench(url: &str, size: u64) -> Outcome {
    let idle = peak()?;
    let storage = S3Storage::open(settings(url, size)).await?;
    let store = by_hand(url)?;
    let (key, path) = (ObjectKey::parse("large")?, StorePath::from("large-by-hand"));
    println!("one object of {} MiB, medians of {ROUNDS} rounds, peaks of all", size >> 20);
    let [mut put_floor, mut exact, mut unknown, mut get_floor, mut get] = [(); 5].map(|()| Series::default());
    for _ in 0..ROUNDS {
        put_floor.add(idle, put_by_hand(&store, &path, size)).await?;
        exact.add(idle, put(&storage, &key, size, PutSize::Exact(size))).await?;
        unknown.add(idle, put(&storage, &key, size, PutSize::Unknown)).await?;
        get_floor.add(idle, async { drain(store.get(&path).await?.into_stream(), size).await }).await?;
        get.add(idle, async { drain(storage.get(&key, GetRange::Full).await?.stream, size).await }).await?;
    }
    put_floor.show("  floor: parts put by hand", size, None);
    exact.show("  put, exact size", size, Some(&put_floor));
    unknown.show("  put, unknown size", size, Some(&put_floor));
    get_floor.show("  floor: get by hand to /dev/null", size, None);
    get.show("  get to /dev/null", size, Some(&get_floor));
    Ok(())
}

fn settings(url: &str, size: u64) -> S3Settings {
    let mut settings = S3Settings::bucket(BUCKET);
    settings.endpoint = Some(url.to_owned());
    settings.region = Some(REGION.to_owned());
    settings.credentials = S3Credentials::Keys {
        access_key_id: ACCESS_KEY_ID.to_owned(),
        secret_access_key: SECRET_ACCESS_KEY.into(),
        session_token: None,
    };
    // The fast server lets several racing creators win; nothing is created here.
    settings.objects.requires_atomic_create = false;
    settings.objects.unknown_size_max = size.max(settings.objects.unknown_size_max);
    settings
}

fn by_hand(url: &str) -> Outcome<AmazonS3> {
    let builder = AmazonS3Builder::new().with_endpoint(url).with_allow_http(true).with_region(REGION);
    let builder = builder.with_access_key_id(ACCESS_KEY_ID).with_secret_access_key(SECRET_ACCESS_KEY);
    Ok(builder.with_bucket_name(BUCKET).build()?)
}

/// As many bytes, in pieces as a program reads them: each in memory of its own, or what is held would not show.
fn pieces(size: u64) -> impl Iterator<Item = Bytes> + Send + 'static {
    (0..size.div_ceil(PIECE_BYTES as u64)).map(move |index| {
        let left = size - index * PIECE_BYTES as u64;
        Bytes::from(vec![b'x'; left.min(PIECE_BYTES as u64) as usize])
    })
}

async fn put(storage: &S3Storage, key: &ObjectKey, bytes: u64, size: PutSize) -> Outcome {
    let body = Body::stream(stream::iter(pieces(bytes).map(Ok)));
    Ok(storage.put(key, body, PutOptions { size, ..PutOptions::default() }).await?)
}

async fn put_by_hand(store: &AmazonS3, path: &StorePath, size: u64) -> Outcome {
    let mut upload = store.put_multipart(path).await?;
    let mut parts = stream::iter(pieces(size)).chunks(PART_BYTES / PIECE_BYTES);
    while let Some(part) = parts.next().await {
        upload.put_part(part.into_iter().collect::<PutPayload>()).await?;
    }
    upload.complete().await?;
    Ok(())
}

async fn drain<E>(mut stream: impl futures::Stream<Item = Result<Bytes, E>> + Unpin, size: u64) -> Outcome
where
    E: Error + Send + Sync + 'static,
{
    let mut sink = File::options().write(true).open("/dev/null")?;
    let mut read = 0;
    while let Some(piece) = stream.try_next().await? {
        read += piece.len() as u64;
        sink.write_all(&piece)?;
    }
    assert_eq!(read, size);
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

#[expect(clippy::disallowed_methods, reason = "a bench measures real time")]
fn now() -> Instant {
    Instant::now()
}
