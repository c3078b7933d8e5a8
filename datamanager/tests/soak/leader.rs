//! What does the process do that leads?
//!
//! It counts on: each of its transactions is the next number, with the epoch in which it was made. Half of the leaders
//! are stubborn: told that they are lost, they go on until the log says that somebody else has taken over.

use std::time::Duration;

use runyard_datamanager::{DataManager, Error, Leadership, coordinator::Coordinator};
use tokio::time::{Instant, sleep};

use crate::{
    random::Random,
    record::{Line, what},
    worker::{RETRY_DELAY, Worker},
};

pub(crate) const SEQUENCE: &str = "sequence";
pub(crate) const EVENTS: &str = "events";

/// How long a stubborn leader goes on at most: nobody need take over.
const STUBBORN_FOR: Duration = Duration::from_secs(3);

pub(crate) async fn run(worker: Worker) {
    let mut random = Random::new(worker.spec.seed, worker.spec.process * 100 + 50);
    let stop = worker.stop.clone();
    let lead = async {
        while let Ok(candidacy) = worker.coordinator.campaign("scheduler").await {
            let is_stubborn = random.chance(500);
            let lost = async {
                candidacy.lost().await;
                if is_stubborn {
                    sleep(STUBBORN_FOR).await;
                }
            };
            tokio::select! {
                () = lost => {}
                () = reign(&worker) => {}
            }
        }
    };
    stop.run_until_cancelled(lead).await;
}

async fn reign(worker: &Worker) {
    let holder = format!("process {}", worker.recorder.process);
    let leadership = loop {
        match Leadership::acquire(&worker.data, "scheduler", &holder).await {
            Ok(leadership) => break leadership,
            Err(_) => sleep(RETRY_DELAY).await,
        }
    };
    let position = worker.data.snapshot().position();
    worker.recorder.write(&Line::Acquired { epoch: leadership.epoch(), position });
    let mut next = Instant::now();
    loop {
        // One that conflicts with nothing but the next leader, and one that does with its number too.
        let appended = match append_blindly(worker, &leadership).await {
            Ok(()) => append(worker, &leadership).await,
            error => error,
        };
        match appended {
            Ok(()) => {}
            Err(Error::TakenOver { .. }) => return,
            Err(error) if error.is_conflict() => {}
            Err(_) => sleep(RETRY_DELAY).await,
        }
        next = next.max(Instant::now()) + worker.spec.place.leads_every();
        tokio::time::sleep_until(next).await;
    }
}

/// Commits the next number.
pub(crate) async fn append(worker: &Worker, leadership: &Leadership) -> Result<(), Error> {
    let mut asked = worker.begin();
    let last = worker.read(&mut asked, SEQUENCE, "last").await?;
    let last: u64 = last.as_deref().map_or(0, |last| number(last).1);
    let value = worker.recorder.value(asked.id, format_args!("{}:{}", leadership.epoch(), last + 1));
    asked.append = value.clone().map(|value| (EVENTS.to_owned(), value));
    asked.writes.push((SEQUENCE.to_owned(), "last".to_owned(), value));
    worker.commit(asked, Some(leadership)).await.map(drop)
}

async fn append_blindly(worker: &Worker, leadership: &Leadership) -> Result<(), Error> {
    let mut asked = worker.begin();
    let value = worker.recorder.value(asked.id, format_args!("{}:0", leadership.epoch()));
    asked.append = value.map(|value| (EVENTS.to_owned(), value));
    worker.commit(asked, Some(leadership)).await.map(drop)
}

/// The epoch and the number that a value of the sequence holds.
pub(crate) fn number(value: &str) -> (u64, u64) {
    let (epoch, number) = what(value).split_once(':').unwrap();
    (epoch.parse().unwrap(), number.parse().unwrap())
}
