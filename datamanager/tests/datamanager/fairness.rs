//! Does the slowest of several busy processes get its share?

use std::{cell::Cell, rc::Rc, sync::Arc, time::Duration};

use async_trait::async_trait;
use bytes::Bytes;
use futures::{future::join_all, stream::BoxStream};
use rand::{RngExt, SeedableRng, rngs::StdRng};
use runyard_datamanager::{Action, DataManager, Transaction, WalDataManager};
use runyard_objectstorage::{
    Body, GetObject, GetRange, ListEntry, ListRequest, MemoryStorage, ObjectKey, ObjectMeta, ObjectStorage, PutOptions,
    Result,
};
use tokio::time::{Instant, sleep};

/// How many writers each process has, each with one transaction at a time.
const WRITERS: usize = 16;

/// How long they are counted for.
const MEASURED: Duration = Duration::from_secs(60);

/// A storage at the end of a path on which each call takes its time.
#[derive(Debug)]
struct Distant {
    storage: Arc<MemoryStorage>,
    /// What half a call takes.
    latency: Duration,
    /// How much more or less that may be, of a thousand.
    jitter: u32,
    random: std::sync::Mutex<StdRng>,
}

impl Distant {
    async fn travel(&self) {
        let factor = {
            let mut random = self.random.lock().unwrap();
            1_000 - self.jitter + random.random_range(0..=2 * self.jitter)
        };
        sleep(self.latency * factor / 1_000).await;
    }

    async fn call<T>(&self, effect: impl Future<Output = Result<T>>) -> Result<T> {
        self.travel().await;
        let answer = effect.await;
        self.travel().await;
        answer
    }
}

#[async_trait]
impl ObjectStorage for Distant {
    async fn head(&self, key: &ObjectKey) -> Result<ObjectMeta> {
        self.call(self.storage.head(key)).await
    }

    async fn get(&self, key: &ObjectKey, range: GetRange) -> Result<GetObject> {
        self.call(self.storage.get(key, range)).await
    }

    async fn put(&self, key: &ObjectKey, body: Body, options: PutOptions) -> Result<()> {
        self.call(self.storage.put(key, body, options)).await
    }

    async fn delete(&self, key: &ObjectKey) -> Result<()> {
        self.call(self.storage.delete(key)).await
    }

    fn list(&self, request: ListRequest) -> BoxStream<'static, Result<ListEntry>> {
        self.storage.list(request)
    }
}

/// The shares of the commits, of a thousand, of processes with these latencies, and how many commits there were.
async fn shares(latencies: &[u64], jitter: u32, seed: u64) -> (Vec<u64>, u64) {
    let storage = Arc::new(MemoryStorage::new());
    let mut counts = Vec::new();
    for (n, latency) in (0..).zip(latencies) {
        let latency = Duration::from_micros(latency * 500);
        let random = StdRng::seed_from_u64(seed + 1_000 * n).into();
        let distant = Distant { storage: Arc::clone(&storage), latency, jitter, random };
        // The room that a writer leaves is drawn from its id.
        let builder = WalDataManager::builder(Arc::new(distant)).writer_id([(seed + n) as u8 + 1; 16]);
        let data = builder.checkpoint_age(Duration::MAX).open().await.unwrap();
        counts.push((data, Rc::new(Cell::new(0_u64))));
    }
    let until = Instant::now() + MEASURED;
    let writers = counts.iter().flat_map(|(data, count)| (0..WRITERS).map(move |_| (data.clone(), Rc::clone(count))));
    join_all(writers.map(async |(data, count)| {
        while Instant::now() < until {
            let actions = vec![Action::Append { collection: "c".into(), value: Bytes::from_static(b"x") }];
            let committed = data.commit(Transaction { actions, ..Transaction::default() }).await;
            count.set(count.get() + u64::from(committed.is_ok()));
        }
    }))
    .await;
    let counts: Vec<_> = counts.iter().map(|(_, count)| count.get()).collect();
    let total = counts.iter().sum::<u64>();
    (counts.iter().map(|count| count * 1_000 / total).collect(), total)
}

/// How far apart processes may be, in what a call takes them, is not for the log to mend: whoever is twice as far away
/// hears of each slot later than the others have filled the next one.
#[tokio::test(start_paused = true)]
async fn the_slowest_of_three_busy_processes_gets_a_fifth_of_the_commits() {
    for latencies in [[10, 10, 10], [10, 11, 12], [100, 100, 105]] {
        for jitter in [0, 100, 300] {
            for seed in 0..3 {
                let (shares, total) = shares(&latencies, jitter, seed).await;
                println!("{latencies:?} ms, jitter {jitter}, seed {seed}: {shares:?} of {total}");
                assert!(shares.iter().all(|share| *share >= 200), "{latencies:?} {jitter} {seed}: {shares:?}");
            }
        }
    }
}
