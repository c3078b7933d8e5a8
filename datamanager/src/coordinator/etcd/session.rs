//! What is done while there is a connection?
//!
//! After every event the same is asked again ([`decide`](super::decide)): what is wished, and what etcd has told. One
//! write is under way at a time; what comes meanwhile goes into the next one.

use std::{future::pending, sync::Arc, time::Duration};

use futures::future::BoxFuture;
use tokio::{
    sync::watch,
    time::{Instant, sleep_until},
};

use super::{
    Shared,
    connection::{BATCH_KEYS_MAX, Batch, Connection, Keeper, Reading, Watch, Written},
    decide::{self, Deed, LeaseDeed, Wish},
    failure::{Failure, Kind},
    keys::{Announcement, Key},
    lease::Lease,
    mirror::{KeyChange, Mirror},
    settings::time_to_live,
};
use crate::coordinator::LostReason;

/// What outlives a connection.
#[derive(Debug)]
pub(super) struct Memory {
    pub(super) lease: Option<Lease>,
    /// The newest revision that was seen.
    pub(super) revision: i64,
    /// The newest number that was passed on.
    pub(super) passed_on: u64,
    /// A lease that may still be held in etcd, and is not wanted.
    pub(super) unwanted: Option<i64>,
}

/// A connection over which everything flows.
pub(super) struct Session {
    connection: Connection,
    keeper: Keeper,
    lease: Lease,
    watch: Watch,
    mirror: Mirror,
    write: Write,
}

enum Write {
    Idle,
    UnderWay(BoxFuture<'static, Result<Written, Failure>>, Batch),
    /// It is done, and the watch has to tell of it until then.
    Echoing {
        revision: i64,
        due: Instant,
    },
}

enum Event {
    Told(Vec<KeyChange>),
    Prolonged(Duration),
    KeepAliveDue,
    Written(Written),
    EchoMissing,
    /// Somebody wants something else, or has something to announce.
    Wanted,
}

impl Session {
    /// Makes everything flow over a connection: the lease is kept or replaced, and what was missed is read.
    pub(super) async fn begin(
        mut connection: Connection,
        shared: &Shared,
        memory: &mut Memory,
    ) -> Result<Self, Failure> {
        let Reading { mirror, announced } = connection.read().await?;
        let deed = decide::about_lease(memory.lease.as_ref(), Instant::now(), memory.revision, mirror.revision());
        if decide::is_other_data(memory.revision, mirror.revision()) {
            tracing::warn!(
                revision = mirror.revision(),
                seen = memory.revision,
                "etcd has older data than before: it was wiped, or restored from a snapshot; everything is campaigned \
                 for anew"
            );
        }
        if let LeaseDeed::Replace(reason) = deed {
            memory.give_up_lease(shared, reason);
        }
        memory.revision = mirror.revision();
        if let Some(lease) = memory.unwanted.take() {
            // What was written with it goes at once, and not only when it runs out; if this fails, it does so later.
            let _ = connection.revoke(lease).await;
        }
        let (keeper, lease) = keep_or_grant(&mut connection, shared, memory).await?;
        let watch = connection.watch(mirror.revision() + 1).await?;
        shared.news.heard(announced.map_or(0, |announced| announced.lsn));
        // Whatever was announced meanwhile, it may not have arrived anywhere.
        shared.news.missed();
        Ok(Self { connection, keeper, lease, watch, mirror, write: Write::Idle })
    }

    /// Does what is to be done, until something fails.
    pub(super) async fn follow(&mut self, shared: &Arc<Shared>, memory: &mut Memory) -> Failure {
        let mut own = shared.news.to_pass_on();
        loop {
            let newest = *own.borrow_and_update();
            self.act(shared, memory, newest);
            let event = match self.next(shared, &mut own).await {
                Ok(event) => event,
                Err(failure) => return failure,
            };
            if let Err(failure) = self.take_in(event, shared, memory).await {
                return failure;
            }
        }
    }

    /// Ends the lease, and with it everything that was written with it.
    pub(super) async fn end(mut self) -> Result<(), Failure> {
        self.connection.revoke(self.lease.id).await
    }

    /// Waits for the next event.
    async fn next(&mut self, shared: &Shared, own: &mut watch::Receiver<u64>) -> Result<Event, Failure> {
        let due = self.keeper.due(&self.lease);
        let write = async {
            match &mut self.write {
                Write::Idle => pending().await,
                Write::UnderWay(write, _) => write.await.map(Event::Written),
                Write::Echoing { due, .. } => {
                    sleep_until(*due).await;
                    Ok(Event::EchoMissing)
                }
            }
        };
        tokio::select! {
            // In this order, so that an answer that is there counts before it is missed, and no stream of news keeps the
            // lease from being prolonged.
            biased;
            ttl = self.keeper.answer() => ttl.map(Event::Prolonged),
            // An interval, because only time can tell that nothing was heard: a lease is nothing else.
            () = sleep_until(due) => Ok(Event::KeepAliveDue),
            written = write => written,
            changes = self.watch.changes() => changes.map(Event::Told),
            () = shared.wants.changed() => Ok(Event::Wanted),
            // The sender is part of what is shared, so it is there.
            _ = own.changed() => Ok(Event::Wanted),
        }
    }

    async fn take_in(&mut self, event: Event, shared: &Shared, memory: &mut Memory) -> Result<(), Failure> {
        match event {
            Event::Told(changes) => {
                for change in changes {
                    self.told(&change, shared);
                }
                memory.revision = self.mirror.revision();
                if matches!(self.write, Write::Echoing { revision, .. } if self.mirror.revision() >= revision) {
                    self.write = Write::Idle;
                }
            }
            Event::Prolonged(ttl) => {
                self.keeper.answered(&mut self.lease, ttl)?;
                memory.lease = Some(self.lease);
                shared.wants.prolong(self.lease.until);
            }
            Event::KeepAliveDue => self.keeper.send(&self.lease).await?,
            Event::Written(written) => self.written(written, shared, memory),
            Event::EchoMissing => {
                let timeout = shared.settings.request_timeout;
                return Err(Failure::silent("waiting for the watch to tell of a write", timeout));
            }
            Event::Wanted => {}
        }
        Ok(())
    }

    fn told(&mut self, change: &KeyChange, shared: &Shared) {
        self.mirror.apply(change);
        match (&change.key, change.created) {
            (Key::Announced, Some(_)) => match Announcement::parse(&change.value) {
                Some(Announcement { lease, .. }) if lease == self.lease.id => {}
                Some(Announcement { lsn, .. }) => shared.news.heard(lsn),
                None => shared.news.missed(),
            },
            // Whoever is gone may have committed something, and ended before saying so.
            (Key::Leader { lease, .. }, None) if *lease != self.lease.id => shared.news.missed(),
            (Key::Leader { .. }, _) | (Key::Announced, None) => {}
        }
    }

    fn written(&mut self, written: Written, shared: &Shared, memory: &mut Memory) {
        let before = std::mem::replace(&mut self.write, Write::Idle);
        if let Write::UnderWay(_, Batch { announce: Some(lsn), .. }) = before {
            memory.passed_on = memory.passed_on.max(lsn);
        }
        for role in written.were_gone {
            self.mirror.remove(&role, self.lease.id);
        }
        if let Some(revision) = written.revision.filter(|revision| self.mirror.revision() < *revision) {
            let due = Instant::now() + shared.settings.request_timeout;
            self.write = Write::Echoing { revision, due };
        }
    }

    /// Tells the callers what they should believe, and begins to write what is to be written.
    fn act(&mut self, shared: &Shared, memory: &Memory, newest: u64) {
        let wishes = shared.wants.wishes();
        let unwished: Vec<_> = {
            let is_unwished = |role: &&str| wishes.binary_search_by(|(wished, _)| wished.as_str().cmp(role)).is_err();
            self.mirror.roles_of(self.lease.id).filter(is_unwished).map(str::to_owned).collect()
        };
        // When nothing is under way, the mirror knows of everything that was written here.
        let is_idle = matches!(self.write, Write::Idle);
        let mut batch = Batch::default();
        for (role, wish) in wishes.into_iter().chain(unwished.into_iter().map(|role| (role, Wish::None))) {
            match decide::about_role(wish, self.mirror.standing(&role, self.lease.id)) {
                Deed::Forget if is_idle => {
                    shared.wants.forget(&role);
                    if wish == Wish::LeadAnew {
                        batch.enter.push(role);
                    }
                }
                Deed::Nothing | Deed::Forget => {}
                Deed::Enter => batch.enter.push(role),
                Deed::Leave => batch.leave.push(role),
                Deed::Elect { created } => {
                    tracing::info!(role, "etcd says that this process should lead");
                    shared.wants.elect(&role, created, self.lease.until);
                }
                Deed::Lose => {
                    tracing::warn!(role, "etcd no longer knows that this process should lead");
                    shared.wants.lose(&role, LostReason::Forgotten);
                    // What it left behind, if anything, goes at once.
                    if self.mirror.standing(&role, self.lease.id).is_some() {
                        batch.leave.push(role);
                    }
                }
            }
        }
        if !is_idle {
            return;
        }
        batch.announce = (newest > memory.passed_on).then_some(newest);
        batch.leave.truncate(BATCH_KEYS_MAX);
        batch.enter.truncate(BATCH_KEYS_MAX - batch.leave.len());
        if batch != Batch::default() {
            let write = self.connection.write(batch.clone(), self.lease.id);
            self.write = Write::UnderWay(Box::pin(write), batch);
        }
    }
}

/// Keeps the lease that there is alive, or has another one granted.
async fn keep_or_grant(
    connection: &mut Connection,
    shared: &Shared,
    memory: &mut Memory,
) -> Result<(Keeper, Lease), Failure> {
    if let Some(mut lease) = memory.lease {
        match connection.keep(&mut lease).await {
            Ok(keeper) => {
                memory.lease = Some(lease);
                shared.wants.prolong(lease.until);
                return Ok((keeper, lease));
            }
            Err(failure) if failure.kind == Kind::LeaseGone => {
                tracing::warn!(%failure, "the lease is gone: everything is campaigned for anew");
                memory.give_up_lease(shared, LostReason::Forgotten);
            }
            Err(failure) => return Err(failure),
        }
    }
    let mut lease = connection.grant(time_to_live(shared.settings.lease)).await?;
    memory.lease = Some(lease);
    let keeper = connection.keep(&mut lease).await?;
    memory.lease = Some(lease);
    Ok((keeper, lease))
}

impl Memory {
    pub(super) fn new() -> Self {
        Self { lease: None, revision: 0, passed_on: 0, unwanted: None }
    }

    /// Nobody should believe any more what was told with the lease.
    pub(super) fn give_up_lease(&mut self, shared: &Shared, reason: LostReason) {
        shared.wants.lose_all(reason);
        self.unwanted = self.lease.take().map(|lease| lease.id).or(self.unwanted);
    }
}
