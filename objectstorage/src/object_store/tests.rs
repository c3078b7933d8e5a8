//! Does the adapter keep its promises over a store that answers as servers do on bad days?

use std::{
    collections::VecDeque,
    fmt,
    sync::{Arc, Mutex, MutexGuard},
    task::Poll,
};

use async_trait::async_trait;
use bytes::Bytes;
use futures::{FutureExt, StreamExt, TryStreamExt, future, stream, stream::BoxStream};
use object_store::{
    CopyOptions, Error as StoreError, GetOptions, GetResult, ListResult, MultipartUpload, ObjectStore,
    PutMultipartOptions, PutPayload, PutResult, UploadPart, memory::InMemory, path::Path,
};
use tokio::sync::Notify;

use super::*;
use crate::{BodyError, ObjectStorageExt, PutMode, PutSize};

/// What becomes of a put.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Put {
    /// It goes through.
    Pass,
    /// It has its effect, but is answered as one that met an object: it was repeated.
    MeetsItself,
    /// It is answered as one that met an object, and has no effect.
    Conflict,
    /// The store cannot create.
    NotImplemented,
    /// It has no condition.
    Overwrite,
    /// It looks, and writes later: of creators that race, several can win.
    LookAndWrite,
    /// The server is away.
    Unavailable,
}

#[derive(Debug, Default)]
struct Script {
    /// For the puts to come; passes when it is empty.
    puts: VecDeque<Put>,
    always: Option<Put>,
    fails_head: bool,
    fails_parts: bool,
    fails_complete: bool,
    /// A complete has its effect, and fails.
    loses_complete: bool,
    creates: usize,
    uploads_begun: usize,
    uploads_open: usize,
    parts: Vec<usize>,
}

/// A store in memory that follows a script.
#[derive(Clone, Debug, Default)]
struct Scripted {
    memory: Arc<InMemory>,
    script: Arc<Mutex<Script>>,
    upload_ended: Arc<Notify>,
    /// Uploads begin when it is notified, if it is there.
    may_begin: Option<Arc<Notify>>,
}

impl Scripted {
    fn script(&self) -> MutexGuard<'_, Script> {
        self.script.lock().expect("not poisoned")
    }

    async fn open(&self) -> ObjectStoreStorage {
        ObjectStoreStorage::open(Arc::new(self.clone()), ObjectStoreSettings::default()).await.expect("a storage")
    }

    async fn probe(&self) -> Result<ObjectStoreStorage> {
        let settings = ObjectStoreSettings { requires_atomic_create: false, ..ObjectStoreSettings::default() };
        ObjectStoreStorage::open(Arc::new(self.clone()), settings).await
    }

    /// How many uploads were begun, and how many of them are open.
    fn uploads(&self) -> (usize, usize) {
        let script = self.script();
        (script.uploads_begun, script.uploads_open)
    }

    /// Returns once an upload was begun and none is open. The time has to be paused: then nobody waits for nothing.
    async fn until_all_uploads_ended(&self) {
        let ended = async {
            loop {
                let ended = self.upload_ended.notified();
                let (begun, open) = self.uploads();
                if begun > 0 && open == 0 {
                    return;
                }
                ended.await;
            }
        };
        timeout(Duration::from_secs(600), ended).await.expect("the upload is aborted");
    }
}

impl fmt::Display for Scripted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the scripted store")
    }
}

fn exists(path: &Path) -> StoreError {
    StoreError::AlreadyExists { path: path.to_string(), source: "409 Conflict".into() }
}

fn away() -> StoreError {
    StoreError::Generic { store: "scripted", source: "503 Service Unavailable".into() }
}

#[async_trait]
impl ObjectStore for Scripted {
    async fn put_opts(
        &self,
        path: &Path,
        payload: PutPayload,
        mut options: object_store::PutOptions,
    ) -> object_store::Result<PutResult> {
        let put = {
            let mut script = self.script();
            script.creates += usize::from(options.mode == object_store::PutMode::Create);
            let always = script.always.filter(|_| options.mode == object_store::PutMode::Create);
            script.puts.pop_front().or(always).unwrap_or(Put::Pass)
        };
        match put {
            Put::Pass => self.memory.put_opts(path, payload, options).await,
            Put::MeetsItself => {
                self.memory.put_opts(path, payload, options).await?;
                Err(exists(path))
            }
            Put::Conflict => Err(exists(path)),
            Put::NotImplemented => {
                Err(StoreError::NotImplemented { operation: "create".into(), implementer: self.to_string() })
            }
            Put::Overwrite | Put::LookAndWrite => {
                if put == Put::LookAndWrite && self.memory.head(path).await.is_ok() {
                    return Err(exists(path));
                }
                tokio::task::yield_now().await;
                options.mode = object_store::PutMode::Overwrite;
                self.memory.put_opts(path, payload, options).await
            }
            Put::Unavailable => Err(away()),
        }
    }

    async fn put_multipart_opts(
        &self,
        path: &Path,
        options: PutMultipartOptions,
    ) -> object_store::Result<Box<dyn MultipartUpload>> {
        if let Some(may_begin) = &self.may_begin {
            may_begin.notified().await;
        }
        let inner = self.memory.put_multipart_opts(path, options).await?;
        let mut script = self.script();
        (script.uploads_begun, script.uploads_open) = (script.uploads_begun + 1, script.uploads_open + 1);
        drop(script);
        Ok(Box::new(ScriptedUpload { inner, store: self.clone() }))
    }

    async fn get_opts(&self, path: &Path, options: GetOptions) -> object_store::Result<GetResult> {
        if options.head && self.script().fails_head {
            return Err(away());
        }
        self.memory.get_opts(path, options).await
    }

    fn delete_stream(
        &self,
        paths: BoxStream<'static, object_store::Result<Path>>,
    ) -> BoxStream<'static, object_store::Result<Path>> {
        self.memory.delete_stream(paths)
    }

    /// In no order, as stores may.
    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, object_store::Result<object_store::ObjectMeta>> {
        let listed = self.memory.list(prefix);
        async move {
            let mut all: Vec<_> = listed.collect().await;
            all.reverse();
            stream::iter(all)
        }
        .flatten_stream()
        .boxed()
    }

    async fn list_with_delimiter(&self, prefix: Option<&Path>) -> object_store::Result<ListResult> {
        self.memory.list_with_delimiter(prefix).await
    }

    async fn copy_opts(&self, from: &Path, to: &Path, options: CopyOptions) -> object_store::Result<()> {
        self.memory.copy_opts(from, to, options).await
    }
}

#[derive(Debug)]
struct ScriptedUpload {
    inner: Box<dyn MultipartUpload>,
    store: Scripted,
}

impl ScriptedUpload {
    fn end(&self) {
        self.store.script().uploads_open -= 1;
        self.store.upload_ended.notify_waiters();
    }
}

#[async_trait]
impl MultipartUpload for ScriptedUpload {
    fn put_part(&mut self, part: PutPayload) -> UploadPart {
        let mut script = self.store.script();
        script.parts.push(part.content_length());
        if script.fails_parts {
            return future::ready(Err(away())).boxed();
        }
        drop(script);
        self.inner.put_part(part)
    }

    async fn complete(&mut self) -> object_store::Result<PutResult> {
        if self.store.script().fails_complete {
            return Err(away());
        }
        let completed = self.inner.complete().await?;
        if self.store.script().loses_complete {
            return Err(StoreError::NotFound { path: "x".into(), source: "NoSuchUpload".into() });
        }
        self.end();
        Ok(completed)
    }

    async fn abort(&mut self) -> object_store::Result<()> {
        self.end();
        Ok(())
    }
}

fn key(key: &str) -> ObjectKey {
    ObjectKey::parse(key).expect("a key")
}

async fn create(storage: &ObjectStoreStorage, name: &str, content: &'static str) -> Result<()> {
    storage.put_bytes(&key(name), content.into(), PutMode::Create).await
}

#[tokio::test(start_paused = true)]
async fn a_create_that_meets_its_own_object_succeeds() {
    let store = Scripted::default();
    let storage = store.open().await;
    store.script().puts.push_back(Put::MeetsItself);
    create(&storage, "log/1", "ours").await.expect("a success");
    assert_eq!(storage.get_bytes(&key("log/1")).await.expect("the object"), "ours");
    assert!(create(&storage, "log/1", "ours").await.expect_err("a loser").is_already_exists());
}

#[tokio::test(start_paused = true)]
async fn a_conflict_where_there_is_no_object_is_tried_again() {
    let store = Scripted::default();
    let storage = store.open().await;
    store.script().puts.extend([Put::Conflict; 5]);
    create(&storage, "log/1", "ours").await.expect("a success");
    // For ever in conflict, it ends, and does not say that somebody else was first.
    store.script().always = Some(Put::Conflict);
    let before = store.script().creates;
    let error = create(&storage, "log/2", "ours").await.expect_err("a conflict");
    assert!(matches!(error, Error::Unavailable { .. }), "{error:?}");
    assert_eq!(store.script().creates - before, 10);
}

#[tokio::test(start_paused = true)]
async fn a_create_whose_outcome_cannot_be_read_is_unavailable() {
    let store = Scripted::default();
    let storage = store.open().await;
    store.script().fails_head = true;
    store.script().puts.push_back(Put::MeetsItself);
    let error = create(&storage, "log/1", "ours").await.expect_err("an unknown outcome");
    assert!(matches!(error, Error::Unavailable { .. }), "{error:?}");
    store.script().puts.push_back(Put::Unavailable);
    let error = create(&storage, "log/2", "ours").await.expect_err("an unknown outcome");
    assert!(matches!(error, Error::Unavailable { .. }), "{error:?}");
}

#[tokio::test]
async fn the_probe_tells_what_becomes_of_a_create() {
    for (always, expected) in [
        (None, ConditionalCreate::Honoured),
        (Some(Put::NotImplemented), ConditionalCreate::Refused),
        (Some(Put::Overwrite), ConditionalCreate::Ignored),
        (Some(Put::LookAndWrite), ConditionalCreate::Ignored),
    ] {
        let store = Scripted::default();
        store.script().always = always;
        let storage = store.probe().await.expect("a storage");
        assert_eq!(storage.capabilities(), Capabilities { conditional_create: expected, attributes: true });
        assert_eq!(storage.list_objects("").await.expect("a listing"), []);
        if expected == ConditionalCreate::Honoured {
            continue;
        }
        // It is refused unless it is asked for, and then it creates nothing.
        let error = ObjectStoreStorage::open(Arc::new(store.clone()), ObjectStoreSettings::default()).await;
        let message = error.expect_err("no atomic create").to_string();
        assert!(message.contains("the scripted store") && message.contains("If-None-Match"), "{message}");
        let error = create(&storage, "a", "x").await.expect_err("no atomic create");
        assert!(matches!(error, Error::Unusable { .. }), "{error:?}");
        storage.put_bytes(&key("a"), "x".into(), PutMode::Overwrite).await.expect("an overwrite");
    }
}

#[tokio::test]
async fn the_probe_finds_that_a_store_overwrites_what_is_old() {
    let store = Scripted::default();
    // The object that is asked for metadata, creators in conflict with the one that wins, and the one that comes late.
    let puts = [Put::Pass, Put::Pass, Put::Conflict, Put::Conflict, Put::Conflict, Put::Overwrite];
    store.script().puts.extend(puts);
    let storage = store.probe().await.expect("a storage");
    assert_eq!(storage.capabilities().conditional_create, ConditionalCreate::Ignored);
}

#[tokio::test]
async fn a_failed_probe_leaves_nothing_behind() {
    let store = Scripted::default();
    store.script().fails_head = true;
    let error = store.probe().await.expect_err("no answer");
    assert!(error.to_string().contains("the scripted store cannot be reached"), "{error}");
    assert!(store.memory.list(None).next().await.is_none());
}

const PART: usize = parts::PART_BYTES as usize;

fn chunks(count: usize) -> BoxStream<'static, Result<Bytes, BodyError>> {
    stream::iter((0..count).map(|_| Ok(Bytes::from(vec![b'x'; PART / 2])))).boxed()
}

#[tokio::test]
async fn a_body_that_fails_in_the_middle_of_an_upload_aborts_it() {
    let store = Scripted::default();
    let storage = store.open().await;
    let failing = Body::stream(chunks(5).chain(stream::iter([Err(BodyError::from("broken"))])));
    let error = storage.put(&key("a"), failing, PutOptions::default()).await.expect_err("a broken body");
    assert!(matches!(error, Error::Body { .. }), "{error:?}");
    assert_eq!((store.uploads(), store.script().parts.len()), ((1, 0), 2));
    let short = PutOptions { size: PutSize::Exact(3 * PART as u64), ..PutOptions::default() };
    let error = storage.put(&key("a"), Body::stream(chunks(5)), short).await.expect_err("a short body");
    assert!(matches!(error, Error::SizeMismatch { .. }), "{error:?}");
    assert_eq!(store.script().uploads_open, 0);
    assert!(!storage.exists(&key("a")).await.expect("an answer"));
}

#[tokio::test]
async fn a_server_that_fails_in_the_middle_of_an_upload_aborts_it() {
    let store = Scripted::default();
    let storage = store.open().await;
    store.script().fails_parts = true;
    let error = storage.put(&key("a"), Body::stream(chunks(5)), PutOptions::default()).await.expect_err("a failure");
    assert!(error.is_retryable(), "{error:?}");
    assert_eq!(store.script().uploads_open, 0);
}

#[tokio::test]
async fn an_upload_that_cannot_be_completed_is_aborted() {
    let store = Scripted::default();
    let storage = store.open().await;
    store.script().fails_complete = true;
    let error = storage.put(&key("a"), Body::stream(chunks(5)), PutOptions::default()).await.expect_err("a failure");
    assert!(error.is_retryable(), "{error:?}");
    assert_eq!(store.uploads(), (1, 0));
    assert!(!storage.exists(&key("a")).await.expect("an answer"));
}

#[tokio::test]
async fn an_upload_of_unknown_size_is_bounded() {
    let store = Scripted::default();
    let settings = ObjectStoreSettings { unknown_size_max: 2 * PART as u64, ..ObjectStoreSettings::default() };
    let storage = ObjectStoreStorage::open(Arc::new(store.clone()), settings).await.expect("a storage");
    storage.put(&key("a"), Body::stream(chunks(4)), PutOptions::default()).await.expect("as much as there may be");
    let error = storage.put(&key("b"), Body::stream(chunks(5)), PutOptions::default()).await.expect_err("too much");
    assert!(matches!(error, Error::TooLarge { limit, .. } if limit == 2 * PART as u64), "{error:?}");
    assert_eq!(store.uploads(), (2, 0));
    assert_eq!(storage.list_objects("").await.expect("a listing").len(), 1);
}

/// Drives a put as far as it comes while its body waits, and drops it.
async fn drop_in_the_middle(storage: &ObjectStoreStorage) {
    let target = key("a");
    let body = Body::stream(chunks(5).chain(stream::pending()));
    let mut put = storage.put(&target, body, PutOptions::default());
    for _ in 0..10 {
        assert!(future::poll_fn(|context| Poll::Ready(put.poll_unpin(context).is_pending())).await);
        tokio::task::yield_now().await;
    }
}

#[tokio::test(start_paused = true)]
async fn an_upload_that_is_dropped_is_aborted() {
    let store = Scripted::default();
    let storage = store.open().await;
    drop_in_the_middle(&storage).await;
    assert_eq!((store.uploads(), store.script().parts.len()), ((1, 1), 2));
    store.until_all_uploads_ended().await;
    assert!(!storage.exists(&key("a")).await.expect("an answer"));
}

#[tokio::test(start_paused = true)]
async fn an_upload_that_is_dropped_while_it_begins_is_aborted() {
    let may_begin = Arc::new(Notify::new());
    let store = Scripted { may_begin: Some(may_begin.clone()), ..Scripted::default() };
    let storage = store.open().await;
    drop_in_the_middle(&storage).await;
    assert_eq!(store.uploads(), (0, 0));
    may_begin.notify_one();
    store.until_all_uploads_ended().await;
    assert_eq!((store.uploads(), store.script().parts.len()), ((1, 0), 0));
}

#[tokio::test]
async fn an_upload_whose_completion_lost_its_reply_succeeds() {
    let store = Scripted::default();
    let storage = store.open().await;
    store.script().loses_complete = true;
    storage.put(&key("a"), Body::stream(chunks(5)), PutOptions::default()).await.expect("our object");
    assert_eq!(storage.head(&key("a")).await.expect("the object").size, 5 * PART as u64 / 2);
    assert_eq!(store.script().parts, [PART, PART, PART / 2]);
}

#[tokio::test]
async fn a_create_takes_one_part() {
    let storage = Scripted::default().open().await;
    let create = |size| PutOptions { mode: PutMode::Create, size, ..PutOptions::default() };
    for size in [PutSize::Unknown, PutSize::Exact(3 * PART as u64 / 2)] {
        let error = storage.put(&key("a"), Body::stream(chunks(3)), create(size)).await.expect_err("too much");
        assert!(matches!(error, Error::CreateTooLarge { limit, .. } if limit == PART as u64), "{error:?}");
        assert!(!storage.exists(&key("a")).await.expect("an answer"));
    }
    storage.put(&key("a"), Body::stream(chunks(2)), create(PutSize::Unknown)).await.expect("one part");
}

#[tokio::test]
async fn a_store_that_lists_in_no_order_is_listed_in_order() {
    let storage = Scripted::default().open().await;
    let mut keys = ["a/b", "a.b", "a-b", "a b", "a\u{1}b", "a", "b/c/d", "é", "~", "\u{7f}", "\u{80}"];
    for name in keys {
        storage.put_bytes(&key(name), "x".into(), PutMode::Create).await.expect("a put");
    }
    keys.sort_unstable();
    let listed: Vec<_> = storage.list(ListRequest::default()).try_collect().await.expect("a listing");
    assert_eq!(listed.iter().map(ListEntry::name).collect::<Vec<_>>(), keys);
}
