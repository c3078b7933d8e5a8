//! Are large objects whole, flat in memory, and gone without a trace if they fail?

use std::{task::Poll, time::Duration};

use bytes::Bytes;
use futures::{FutureExt, StreamExt, TryStreamExt, future, stream};
use runyard_objectstorage::{
    Body, BodyError, Error, GetRange, ObjectKey, ObjectStorage, ObjectStorageExt, PutOptions, PutSize, S3Storage,
};

use crate::server::{new_bucket, open, open_uploads};

const MIB: usize = 1 << 20;

fn key() -> ObjectKey {
    ObjectKey::parse("large/object").unwrap()
}

/// Content in which no two MiB are alike, made as it is read.
fn content(mib: usize) -> impl futures::Stream<Item = Result<Bytes, BodyError>> + Send + 'static {
    stream::iter(0..mib).map(|number| Ok(piece(number)))
}

fn piece(number: usize) -> Bytes {
    (number as u64).to_le_bytes().repeat(MIB / 8).into()
}

async fn expect_content(storage: &S3Storage, mib: usize) {
    let mut object = storage.get(&key(), GetRange::Full).await.unwrap();
    let mut at = 0;
    while let Some(read) = object.stream.try_next().await.unwrap() {
        for (offset, byte) in read.iter().enumerate() {
            let place = at + offset;
            assert_eq!(*byte, ((place / MIB) as u64).to_le_bytes()[place % 8], "at {place}");
        }
        at += read.len();
    }
    assert_eq!(at, mib * MIB);
}

#[tokio::test(flavor = "multi_thread")]
async fn objects_of_several_parts_are_read_back() {
    let bucket = new_bucket().await;
    let storage = open(&bucket).await;
    for size in [PutSize::Exact(27 * MIB as u64), PutSize::Unknown] {
        storage.put(&key(), Body::stream(content(27)), PutOptions { size, ..PutOptions::default() }).await.unwrap();
        assert_eq!(storage.head(&key()).await.unwrap().size, 27 * MIB as u64);
        expect_content(&storage, 27).await;
        let across_parts = GetRange::Bounded { start: 8 * MIB as u64 - 8, end: 8 * MIB as u64 + 8 };
        let read = storage.get_range_bytes(&key(), across_parts).await.unwrap();
        assert_eq!(read, [7_u64.to_le_bytes(), 8_u64.to_le_bytes()].concat());
        storage.delete(&key()).await.unwrap();
    }
    assert!(!open_uploads(&bucket).await.contains("<Upload>"));
}

#[tokio::test]
async fn a_failed_upload_leaves_nothing() {
    let bucket = new_bucket().await;
    let storage = open(&bucket).await;
    let failing = Body::stream(content(20).chain(stream::iter([Err(BodyError::from("broken"))])));
    let error = storage.put(&key(), failing, PutOptions::default()).await.unwrap_err();
    assert!(matches!(error, Error::Body { .. }), "{error:?}");
    assert!(!open_uploads(&bucket).await.contains("<Upload>"));
    assert!(!storage.exists(&key()).await.unwrap());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dropped_upload_leaves_nothing() {
    let bucket = new_bucket().await;
    let storage = open(&bucket).await;
    // Dropped when it is seen on the server, and dropped while it begins.
    for is_seen in [true, false] {
        let target = key();
        let body = Body::stream(content(20).chain(stream::pending()));
        let mut put = storage.put(&target, body, PutOptions::default());
        if is_seen {
            until(&bucket, true, &mut put).await;
        } else {
            assert!(future::poll_fn(|context| Poll::Ready(put.poll_unpin(context).is_pending())).await);
        }
        drop(put);
        until(&bucket, false, &mut future::pending::<()>()).await;
    }
    assert!(!storage.exists(&key()).await.unwrap());
}

/// More than it takes to begin an upload, or to abort one, on a server that is busy.
const PATIENCE: Duration = Duration::from_secs(60);

/// Drives `work` until the server has open uploads, or none. It tells nobody, so it is asked again and again.
async fn until(bucket: &str, has_uploads: bool, work: &mut (impl Future + Unpin)) {
    let asked = async {
        while open_uploads(bucket).await.contains("<Upload>") != has_uploads {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    let is_seen = tokio::select! {
        _ = work => panic!("the put ended"),
        asked = tokio::time::timeout(PATIENCE, asked) => asked.is_ok(),
    };
    let expected = if has_uploads { "a begun upload" } else { "no upload: what was dropped was not aborted" };
    assert!(is_seen, "after {PATIENCE:?} the server should have {expected}");
}

/// The resident memory of this process and the most that it ever was, in bytes.
fn memory() -> (usize, usize) {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = |name: &str| {
        let line = status.lines().find_map(|line| line.strip_prefix(name)).unwrap();
        line.trim().trim_end_matches(" kB").trim().parse::<usize>().unwrap() * 1024
    };
    (line("VmRSS:"), line("VmHWM:"))
}

/// In a process of its own: the other tests of this binary use memory, too.
#[tokio::test(flavor = "multi_thread")]
async fn memory_is_flat_while_a_large_object_is_moved() {
    const MARK: &str = "RUNYARD_TEST_S3_MEMORY";
    if std::env::var_os(MARK).is_none() {
        let name = "uploading::memory_is_flat_while_a_large_object_is_moved";
        let mut child = tokio::process::Command::new(std::env::current_exe().unwrap());
        let output = child.args(["--exact", name, "--nocapture"]).env(MARK, "1").kill_on_drop(true).output().await;
        let output = output.unwrap();
        let text = String::from_utf8_lossy(&output.stdout);
        println!("{text}");
        assert!(output.status.success() && text.contains("above idle"), "{}", String::from_utf8_lossy(&output.stderr));
        return;
    }
    let bucket = new_bucket().await;
    let storage = open(&bucket).await;
    let (idle, _) = memory();
    storage.put(&key(), Body::stream(content(256)), PutOptions::default()).await.unwrap();
    expect_content(&storage, 256).await;
    let (_, peak) = memory();
    println!("{} MiB above idle", peak.saturating_sub(idle) / MIB);
    assert!(peak - idle < 64 * MIB, "idle {idle}, peak {peak}");
    storage.delete(&key()).await.unwrap();
}
