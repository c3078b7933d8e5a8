//! A storage of one's own: a single file that only grows, and the proof that it keeps every promise.
//!
//! `cargo run --example custom_storage --features conformance`
//!
//! No object is ever overwritten, so a reader keeps the version that it opened, and a crash leaves at most a torn record
//! at the end, which the next start cuts off. One process may have the file open; space is never given back.

use std::{
    collections::BTreeMap,
    fs::File,
    io,
    os::unix::fs::FileExt,
    path::Path,
    sync::{Arc, Mutex},
};

use async_trait::async_trait;
use futures::{StreamExt, TryStreamExt, stream, stream::BoxStream};
use runyard::objectstorage::{
    Body, Error, GetObject, GetRange, ListEntry, ListRequest, ObjectKey, ObjectMeta, ObjectStorage, ObjectStorageExt,
    PutMode, PutOptions, Result, conformance,
};

/// A record is its CRC, the length of its key, that of the object or [`GONE`], each in 8 bytes; the key; the object.
const HEAD_BYTES: usize = 3 * 8;
const GONE: u64 = u64::MAX;

#[derive(Clone, Debug)]
struct OneFile(Arc<Mutex<Records>>);

#[derive(Debug)]
struct Records {
    file: File,
    /// Where the next record goes.
    end: u64,
    /// Where in the file each object begins, and its size.
    places: BTreeMap<ObjectKey, (u64, u64)>,
}

impl OneFile {
    fn open(path: &Path) -> io::Result<Self> {
        let file = File::options().read(true).write(true).create(true).truncate(false).open(path)?;
        let bytes = std::fs::read(path)?;
        let mut records = Records { file, end: 0, places: BTreeMap::new() };
        while records.replay(&bytes[records.end as usize..]).is_some() {}
        records.file.set_len(records.end)?;
        Ok(Self(Arc::new(Mutex::new(records))))
    }

    /// Works on the file where blocking is allowed. What has begun is finished, even if nobody waits for it.
    async fn work<T: Send + 'static>(&self, f: impl FnOnce(&mut Records) -> Result<T> + Send + 'static) -> Result<T> {
        let records = self.0.clone();
        let work = move || f(&mut records.lock().expect("the lock is never poisoned: no panic while it is held"));
        tokio::task::spawn_blocking(work).await.expect("the work does not panic, and is not cancelled")
    }
}

impl Records {
    /// Takes note of the first record in `bytes`; `None` if there is no whole one.
    fn replay(&mut self, bytes: &[u8]) -> Option<()> {
        let number = |at: usize| Some(u64::from_le_bytes(*bytes.get(at..)?.first_chunk()?));
        let (sum, key_length, length) = (number(0)?, number(8)?, number(16)?);
        let key_end = HEAD_BYTES.checked_add(key_length as usize)?;
        let record = bytes.get(..key_end.checked_add(if length == GONE { 0 } else { length as usize })?)?;
        let key = ObjectKey::parse(std::str::from_utf8(&record[HEAD_BYTES..key_end]).ok()?).ok()?;
        (sum == u64::from(crc32fast::hash(&record[8..]))).then_some(())?;
        match length {
            GONE => self.places.remove(&key),
            _ => self.places.insert(key, (self.end + key_end as u64, length)),
        };
        self.end += record.len() as u64;
        Some(())
    }

    /// Appends a record, always synced: then a failed sync can have lost nothing else.
    fn append(&mut self, key: &ObjectKey, object: Option<&[u8]>) -> Result<()> {
        let length = object.map_or(GONE, |object| object.len() as u64);
        let lengths = [key.as_str().len() as u64, length].map(u64::to_le_bytes).concat();
        let record = [&lengths, key.as_str().as_bytes(), object.unwrap_or_default()].concat();
        let record = [&u64::from(crc32fast::hash(&record)).to_le_bytes()[..], &record].concat();
        // After an error, the end stays where it is, and the next record is written over this one.
        let written = self.file.write_all_at(&record, self.end).and_then(|()| self.file.sync_data());
        written.map_err(|error| Error::from_io(error, "writing", key.as_str()))?;
        self.replay(&record);
        Ok(())
    }
}

#[async_trait]
impl ObjectStorage for OneFile {
    async fn head(&self, key: &ObjectKey) -> Result<ObjectMeta> {
        Ok(self.get(key, GetRange::Suffix(0)).await?.meta)
    }

    async fn get(&self, key: &ObjectKey, range: GetRange) -> Result<GetObject> {
        let key = key.clone();
        self.work(move |records| {
            let (begin, size) = *records.places.get(&key).ok_or_else(|| Error::NotFound { key: key.clone() })?;
            let meta = ObjectMeta::new(key, size);
            let range = range.within(&meta)?;
            let mut bytes = vec![0; (range.end - range.start) as usize];
            let read = records.file.read_exact_at(&mut bytes, begin + range.start);
            read.map_err(|error| Error::from_io(error, "reading", meta.key.as_str()))?;
            Ok(GetObject::from_piece(meta, range, bytes.into()))
        })
        .await
    }

    async fn put(&self, key: &ObjectKey, body: Body, options: PutOptions) -> Result<()> {
        let object = body.collect(key, options.size).await?;
        let key = key.clone();
        self.work(move |records| match options.mode {
            PutMode::Create if records.places.contains_key(&key) => Err(Error::AlreadyExists { key }),
            _ => records.append(&key, Some(&object)),
        })
        .await
    }

    async fn delete(&self, key: &ObjectKey) -> Result<()> {
        let key = key.clone();
        self.work(move |records| records.append(&key, None)).await
    }

    fn list(&self, request: ListRequest) -> BoxStream<'static, Result<ListEntry>> {
        let this = self.clone();
        let listed = move |records: &mut Records| {
            let objects = records.places.range::<str, _>(request.key_range());
            let entries = request.select(objects.map(|(key, (_, size))| ObjectMeta::new(key.clone(), *size)));
            Ok(stream::iter(entries.map(Ok).collect::<Vec<_>>()))
        };
        // The listing is of the moment in which its first entry is asked for.
        stream::once(async move { this.work(listed).await }).try_flatten().boxed()
    }
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    // A temporary file loses its name at once: each case gets an empty one, and nothing is left of it.
    let new_file = || OneFile::open(tempfile::NamedTempFile::new().expect("a temporary file").path());
    let make = async || Arc::new(new_file().expect("an empty file is opened")) as Arc<dyn ObjectStorage>;
    println!("{}", conformance::run(make).await);

    // What the suite cannot know of: a torn record is cut off, and what was there before it stays.
    let (file, key) = (tempfile::NamedTempFile::new()?, ObjectKey::parse("log/1")?);
    OneFile::open(file.path())?.put_bytes(&key, "kept".into(), PutMode::Create).await?;
    file.as_file().write_all_at(b"torn", file.as_file().metadata()?.len())?;
    println!("after a crash: {:?}", OneFile::open(file.path())?.get_bytes(&key).await?);
    Ok(())
}
