//! When is connected, and what is done when a connection fails?

use std::{sync::Arc, time::Duration};

use rand::{RngExt, rngs::StdRng};
use tokio::time::{Instant, sleep, timeout};
use tokio_util::sync::CancellationToken;

use super::{
    Shared, backoff,
    connection::Connection,
    failure::{Failure, Kind},
    session::{Memory, Session},
};
use crate::coordinator::{CoordinatorStatus, LostReason};

/// How long the lease may take to be given back at the end: it is a courtesy to the next one, who otherwise waits until
/// it has run out.
const FAREWELL: Duration = Duration::from_secs(1);

/// The task that talks to etcd, from the first connection on.
pub(super) struct Task {
    pub(super) shared: Arc<Shared>,
    pub(super) stop: CancellationToken,
    pub(super) random: StdRng,
    pub(super) memory: Memory,
    /// Which member is connected with, or is tried.
    pub(super) member: usize,
}

impl Task {
    /// Connects with the member that is to be tried.
    pub(super) async fn connect(&mut self) -> Result<Session, Failure> {
        let connection = Connection::open(self.endpoint(), &self.shared.settings).await?;
        Box::pin(self.begin(connection)).await
    }

    /// The same for the first time, when it is worth knowing at once whether the keys may be written.
    pub(super) async fn connect_first(&mut self) -> Result<Session, Failure> {
        let mut connection = Connection::open(self.endpoint(), &self.shared.settings).await?;
        connection.probe_writing().await?;
        Box::pin(self.begin(connection)).await
    }

    async fn begin(&mut self, connection: Connection) -> Result<Session, Failure> {
        let session = Session::begin(connection, &self.shared, &mut self.memory).await?;
        self.shared.status.send_replace(CoordinatorStatus::Connected { to: self.endpoint().to_owned() });
        Ok(session)
    }

    /// Keeps everything flowing until it is stopped; begins with the connection that there is.
    pub(super) async fn run(mut self, first: Session) {
        let mut session = Some(first);
        let mut failures = 0;
        let stop = self.stop.clone();
        loop {
            let began = Instant::now();
            let failure = match session.take() {
                Some(mut current) => {
                    let failed =
                        stop.run_until_cancelled(Box::pin(current.follow(&self.shared, &mut self.memory))).await;
                    let Some(failure) = failed else {
                        // Whoever led leads no more before others may.
                        self.shared.wants.close();
                        let _ = timeout(FAREWELL, current.end()).await;
                        return;
                    };
                    // A connection that held counts as a success; one that did not must not be made again at once.
                    failures = if began.elapsed() >= self.shared.settings.lease { 0 } else { failures };
                    failure
                }
                None => match stop.run_until_cancelled(Box::pin(self.connect())).await {
                    None => return,
                    Some(Ok(connected)) => {
                        tracing::info!(endpoint = self.endpoint(), "connected with etcd again");
                        session = Some(connected);
                        continue;
                    }
                    Some(Err(failure)) => failure,
                },
            };
            failures += 1;
            let delay = self.failed(&failure, failures);
            if stop.run_until_cancelled(sleep(delay)).await.is_none() {
                return;
            }
        }
    }

    /// Says that a connection failed, and chooses the next member; how long to wait before it is tried.
    fn failed(&mut self, failure: &Failure, failures: u32) -> Duration {
        if failure.kind == Kind::LeaseGone {
            self.memory.give_up_lease(&self.shared, LostReason::Forgotten);
        }
        let members = self.shared.settings.endpoints.len();
        let delay = backoff::delay(failures, members, self.random.random());
        let endpoint = self.endpoint().to_owned();
        self.member = (self.member + 1) % members;
        tracing::warn!(
            endpoint,
            failures,
            "no hints from etcd: {failure}; connecting with {} after {delay:?}",
            self.endpoint()
        );
        self.shared.status.send_modify(|status| {
            let since = match status {
                CoordinatorStatus::Disconnected { since, .. } => *since,
                CoordinatorStatus::Connected { .. } | CoordinatorStatus::Closed => Instant::now(),
            };
            let reason = format!("{endpoint}: {failure}");
            *status = CoordinatorStatus::Disconnected { since, attempts: failures, reason };
        });
        delay
    }

    pub(super) fn endpoint(&self) -> &str {
        &self.shared.settings.endpoints[self.member]
    }
}
