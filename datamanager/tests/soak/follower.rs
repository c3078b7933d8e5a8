//! Which transactions does a process see, and how are they noted?

use std::hash::{DefaultHasher, Hash, Hasher};

use futures::StreamExt;
use runyard_datamanager::{Committed, DataManager};
use tokio::time::sleep;

use crate::{
    record::Line,
    worker::{RETRY_DELAY, Worker},
};

/// A batch, as far as it was seen.
#[derive(Clone, Debug, Default)]
pub(crate) struct Digest {
    pub(crate) lsn: u64,
    pub(crate) transactions: u32,
    hasher: DefaultHasher,
}

impl Digest {
    /// Takes the next transaction in; gives the batch before it, if that is whole now.
    pub(crate) fn add(&mut self, committed: &Committed) -> Option<Self> {
        let position = committed.position;
        let before = (position.lsn != self.lsn).then(|| std::mem::take(self));
        self.lsn = position.lsn;
        self.transactions += 1;
        position.hash(&mut self.hasher);
        for change in &committed.changes {
            (&change.collection, &change.key, &change.value).hash(&mut self.hasher);
        }
        before.filter(|before| before.transactions > 0)
    }

    pub(crate) fn line(&self) -> Line {
        Line::Followed { lsn: self.lsn, transactions: self.transactions, hash: self.hasher.finish() }
    }
}

pub(crate) async fn run(worker: Worker) {
    let stop = worker.stop.clone();
    let follow = async {
        while !stop.is_cancelled() {
            let from = worker.data.snapshot().position();
            worker.recorder.write(&Line::FollowsFrom(from));
            let mut followed = worker.data.follow(from);
            let mut digest = Digest::default();
            while let Some(next) = followed.next().await {
                match next {
                    Ok(committed) => {
                        if let Some(whole) = digest.add(&committed) {
                            worker.recorder.write(&whole.line());
                        }
                    }
                    // It slept for so long that the log was cleaned, or the storage does not answer.
                    Err(error) => eprintln!("the follower begins anew: {error}"),
                }
            }
            sleep(RETRY_DELAY).await;
        }
    };
    stop.run_until_cancelled(follow).await;
}
