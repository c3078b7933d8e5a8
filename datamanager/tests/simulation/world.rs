//! What happened?
//!
//! The one place that all actors of a simulation share: the storage, the weather, and a record of everything that a
//! caller asked for and was told. Whether it was right is judged afterwards, in `check`.

use std::{
    collections::BTreeMap,
    sync::{
        Arc, Mutex, MutexGuard,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use bytes::Bytes;
use runyard_datamanager::{Action, Committed, Error, KeyRange, Page, Position, Scan, Status, coordinator::ModelEtcd};
use tokio::{sync::watch, task::JoinSet, time::Instant};
use tokio_util::sync::CancellationToken;

use crate::{batch::Writer, disk::Disk, machine::Machine, profile::Profile};

/// A simulated world.
pub(crate) struct World {
    pub(crate) profile: Profile,
    pub(crate) disk: Arc<Disk>,
    pub(crate) etcd: ModelEtcd,
    began: Instant,
    is_traced: bool,
    /// Cancelled when nothing goes wrong any more.
    calm: CancellationToken,
    landings: Mutex<Option<JoinSet<()>>>,
    is_failed: AtomicBool,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    counts: Counts,
    trace: Vec<String>,
    failure: Option<String>,
    record: Record,
    operations_left: u64,
    full_until: Option<Instant>,
    cut_off_until: Option<Instant>,
    acknowledged: Position,
    /// What is open and shares the store through the etcd, by its life.
    sharing: BTreeMap<Arc<str>, Sharing>,
    /// The last position of which everybody who shares the store was to hear.
    told: Position,
}

/// An open store that is shared.
#[derive(Clone)]
struct Sharing {
    machine: Machine,
    status: watch::Receiver<Status>,
    /// The last position that was acknowledged by it.
    acknowledged: Position,
}

/// The collection in which a store keeps what is its own, and its keys.
pub(crate) const SYSTEM: &str = "\0system";
pub(crate) const MAINTENANCE: &str = "maintenance";
pub(crate) const LEADER: &str = "leader/all";
pub(crate) const OWNER: &str = "owner";

/// How long it takes at most until everybody who shares a store and whose storage answers sees what was committed:
/// longer than an announcement is held, and some calls one after the other that are slow.
const SEEN_WITHIN: Duration = Duration::from_secs(60);

/// How many of the newest checkpoints stay whole.
pub(crate) const KEPT: u64 = 3;

/// How often something happened that a simulation is made for.
pub(crate) type Counts = BTreeMap<&'static str, u64>;

/// What callers asked for and were told.
#[derive(Clone, Debug, Default)]
pub(crate) struct Record {
    /// By number, from 0.
    pub(crate) attempts: Vec<Attempt>,
    pub(crate) observations: Vec<Observation>,
    pub(crate) followed: Vec<Followed>,
    /// By life whose callers went away with it: the batch before the last one that they may have got into.
    pub(crate) ends: BTreeMap<String, u64>,
    /// By writer: the last batch that was visible when its store had been opened.
    pub(crate) opened: BTreeMap<Writer, u64>,
}

/// A transaction that somebody tried to commit.
#[derive(Clone, Debug)]
pub(crate) struct Attempt {
    /// The life of the process that tried.
    pub(crate) life: Arc<str>,
    pub(crate) read_at: Position,
    pub(crate) reads: Vec<Read>,
    /// What it locked without a look at it: entries and ranges.
    pub(crate) locks: Vec<(String, KeyRange)>,
    pub(crate) groups: Vec<String>,
    pub(crate) actions: Vec<Action>,
    /// The epoch of the leader that it is one of.
    pub(crate) epoch: Option<u64>,
    /// Everything that was acknowledged to anybody before it was committed is before it.
    pub(crate) after: Position,
    pub(crate) outcome: Outcome,
}

/// What a caller of a commit was told.
#[derive(Clone, Debug)]
pub(crate) enum Outcome {
    /// Nothing, yet or ever.
    Nothing,
    Committed(Position),
    /// Its caller leads in this epoch.
    Leads(u64),
    /// It conflicts with something of what there was.
    Conflict(Stored),
    /// It is too old to be checked against what there was.
    Expired(Stored),
    /// It is not there, and never will be.
    Failed,
    /// It may be there, in a batch up to the one after this number.
    Unknown(u64),
}

/// The numbers of the last batch and of the last checkpoint that were stored at some time.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Stored {
    pub(crate) lsn: u64,
    pub(crate) manifest: u64,
}

/// A question about entries and its answer.
#[derive(Clone, Debug)]
pub(crate) enum Read {
    Key(String, Bytes, Option<Bytes>),
    Range(Scan, Page),
}

/// What a snapshot answered.
#[derive(Clone, Debug)]
pub(crate) struct Observation {
    pub(crate) life: Arc<str>,
    pub(crate) position: Position,
    pub(crate) read: Read,
}

/// What a follower was given.
#[derive(Clone, Debug)]
pub(crate) struct Followed {
    pub(crate) life: Arc<str>,
    pub(crate) after: Position,
    pub(crate) items: Vec<Committed>,
}

impl World {
    pub(crate) async fn new(profile: Profile, is_traced: bool) -> Arc<Self> {
        let operations_left = profile.operations;
        Arc::new(Self {
            disk: Arc::new(Disk::new(profile.base_path).await),
            etcd: ModelEtcd::new(),
            profile,
            began: Instant::now(),
            is_traced,
            calm: CancellationToken::new(),
            landings: Mutex::new(Some(JoinSet::new())),
            is_failed: AtomicBool::new(false),
            state: Mutex::new(State { operations_left, ..State::default() }),
        })
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("not poisoned")
    }

    /// Notes something for whoever reads why a seed failed.
    pub(crate) fn trace(&self, what: impl FnOnce() -> String) {
        if self.is_traced {
            let line = format!("{:>12.3?} {}", self.began.elapsed(), what());
            self.state().trace.push(line);
        }
    }

    pub(crate) fn count(&self, what: &'static str) {
        *self.state().counts.entry(what).or_default() += 1;
    }

    pub(crate) fn counts(&self) -> Counts {
        let mut counts = self.disk.counts();
        counts.extend(self.state().counts.clone());
        counts
    }

    pub(crate) fn take_trace(&self) -> Vec<String> {
        std::mem::take(&mut self.state().trace)
    }

    /// Something happened that never may. The first such thing is what a seed fails with.
    pub(crate) fn fail(&self, what: impl Into<String>) {
        let what = what.into();
        self.trace(|| format!("WRONG: {what}"));
        self.state().failure.get_or_insert(what);
        self.is_failed.store(true, Ordering::Relaxed);
    }

    pub(crate) fn failure(&self) -> Option<String> {
        self.state().failure.clone().or_else(|| self.disk.wrong())
    }

    pub(crate) fn record(&self) -> Record {
        self.state().record.clone()
    }

    /// Whether there is one more transaction to be tried.
    pub(crate) fn take_operation(&self) -> bool {
        let mut state = self.state();
        let is_left = state.operations_left > 0 && !self.is_failed.load(Ordering::Relaxed);
        state.operations_left = state.operations_left.saturating_sub(1);
        is_left
    }

    pub(crate) fn has_operations(&self) -> bool {
        self.state().operations_left > 0 && !self.is_failed.load(Ordering::Relaxed)
    }

    // Weather.

    pub(crate) fn is_calm(&self) -> bool {
        self.calm.is_cancelled()
    }

    /// Ends all faults, and waits until everything that was to land late has landed.
    pub(crate) async fn calm_down(&self) {
        self.trace(|| "nothing goes wrong any more".to_owned());
        self.calm.cancel();
        let landings = self.landings.lock().expect("not poisoned").take();
        if let Some(landings) = landings {
            landings.join_all().await;
        }
    }

    pub(crate) async fn calm_or(&self, until: Instant) {
        tokio::select! {
            biased;
            () = self.calm.cancelled() => {}
            () = tokio::time::sleep_until(until) => {}
        }
    }

    pub(crate) fn spawn_landing(&self, landing: impl Future<Output = ()> + Send + 'static) {
        if let Some(landings) = &mut *self.landings.lock().expect("not poisoned") {
            landings.spawn(landing);
        }
    }

    pub(crate) fn fill_disk(&self, took: std::time::Duration) {
        self.count("full disks");
        self.trace(|| format!("the storage is full for {took:?}"));
        self.state().full_until = Some(Instant::now() + took);
    }

    pub(crate) fn cut_off(&self, took: std::time::Duration) {
        self.count("outages");
        self.trace(|| format!("the storage cannot be reached for {took:?}"));
        self.state().cut_off_until = Some(Instant::now() + took);
    }

    pub(crate) fn is_full(&self) -> bool {
        !self.is_calm() && self.state().full_until.is_some_and(|until| until > Instant::now())
    }

    pub(crate) fn is_cut_off(&self) -> bool {
        !self.is_calm() && self.state().cut_off_until.is_some_and(|until| until > Instant::now())
    }

    // What callers do.

    /// The last position that was acknowledged to anybody.
    pub(crate) fn acknowledged(&self) -> Position {
        self.state().acknowledged
    }

    /// The number of the next attempt; no other ever gets it.
    pub(crate) fn begin(&self, life: &Arc<str>) -> u64 {
        let mut state = self.state();
        let after = state.acknowledged;
        state.record.attempts.push(Attempt {
            life: Arc::clone(life),
            read_at: Position::ZERO,
            reads: Vec::new(),
            locks: Vec::new(),
            groups: Vec::new(),
            actions: Vec::new(),
            epoch: None,
            after,
            outcome: Outcome::Nothing,
        });
        state.record.attempts.len() as u64 - 1
    }

    pub(crate) fn describe(&self, id: u64, describe: impl FnOnce(&mut Attempt)) {
        let mut state = self.state();
        let attempt = &mut state.record.attempts[id as usize];
        describe(attempt);
        if self.is_traced {
            let attempt = attempt.clone();
            drop(state);
            self.trace(|| {
                let Attempt { life, read_at, reads, locks, groups, actions, .. } = attempt;
                format!("{life} tries t{id}, read at {read_at}: {reads:?} {locks:?} {groups:?} {actions:?}")
            });
        }
    }

    /// The caller of a commit went away.
    pub(crate) fn gave_up(&self, id: u64) {
        self.trace(|| format!("the caller of t{id} goes away"));
        self.state().record.attempts[id as usize].outcome = Outcome::Unknown(u64::MAX);
    }

    /// Notes what the caller of a commit was told.
    pub(crate) fn answer(self: &Arc<Self>, id: u64, answer: &Result<Position, Error>) {
        self.answer_with(id, answer.as_ref().map(|position| Outcome::Committed(*position)));
        if let Ok(position) = answer {
            let mut state = self.state();
            state.acknowledged = state.acknowledged.max(*position);
            let attempt = &state.record.attempts[id as usize];
            let life = Arc::clone(&attempt.life);
            // What changes nothing is acknowledged where it was checked, and that nobody announces.
            if attempt.actions.is_empty() && attempt.groups.is_empty() {
                return;
            }
            if let Some(sharing) = state.sharing.get_mut(&life) {
                sharing.acknowledged = sharing.acknowledged.max(*position);
            }
            drop(state);
            self.was_announced(&life);
        }
    }

    // What is shared.

    /// A store was opened by a writer, and shows so much; it shares it if there is a machine.
    pub(crate) fn opened(
        self: &Arc<Self>,
        writer: Writer,
        status: watch::Receiver<Status>,
        machine: &Machine,
        shares: bool,
    ) {
        let lsn = status.borrow().position.lsn;
        let acknowledged = self.acknowledged();
        self.state().record.opened.insert(writer, lsn);
        if shares {
            let sharing = Sharing { machine: machine.clone(), status, acknowledged: Position::ZERO };
            self.state().sharing.insert(Arc::clone(&machine.name), sharing);
            // It looks by itself for what was committed while it was being opened.
            self.expect_seen(acknowledged, |life| life == &machine.name);
        }
    }

    /// The lives that are open and share the store.
    pub(crate) fn sharing(&self) -> Vec<Arc<str>> {
        self.state().sharing.keys().cloned().collect()
    }

    pub(crate) fn is_sharing_no_more(&self, life: &str) {
        self.state().sharing.remove(life);
    }

    /// Everybody is to hear of what a life was acknowledged, if it could say so.
    pub(crate) fn was_announced(self: &Arc<Self>, life: &Arc<str>) {
        let position = {
            let mut state = self.state();
            let Some(sharing) = state.sharing.get(life).filter(|_| self.etcd.is_connected(life)) else { return };
            let position = sharing.acknowledged;
            state.told = state.told.max(position);
            position
        };
        self.expect_seen(position, |other| other != life);
    }

    /// Those who share the store will see a position without asking for it, if nothing goes wrong with their storage.
    fn expect_seen(self: &Arc<Self>, position: Position, who: impl Fn(&Arc<str>) -> bool) {
        let is_behind = |sharing: &Sharing| sharing.status.borrow().position < position;
        let others: Vec<_> = {
            let sharing = self.state().sharing.clone();
            let others = sharing.into_iter().filter(|(life, sharing)| who(life) && is_behind(sharing));
            others.filter_map(|(life, sharing)| Some((life, sharing.machine.troubles()?))).collect()
        };
        if others.is_empty() {
            return;
        }
        let this = Arc::clone(self);
        tokio::spawn(async move {
            tokio::time::sleep(SEEN_WITHIN).await;
            for (life, troubles) in others {
                let Some(sharing) = this.state().sharing.get(&life).cloned() else { continue };
                if sharing.machine.troubles() != Some(troubles) {
                    continue;
                }
                this.count("commits of others that became visible");
                let visible = sharing.status.borrow().position;
                if visible < position {
                    this.fail(format!("{life} does not see {position} after {SEEN_WITHIN:?}, but {visible}"));
                }
            }
        });
    }

    /// What each of those who share the store shows now, and what they all should.
    pub(crate) fn shown(&self) -> (Vec<(Arc<str>, Status)>, Position) {
        let state = self.state();
        let shown = state.sharing.iter();
        (shown.map(|(life, sharing)| (Arc::clone(life), sharing.status.borrow().clone())).collect(), state.told)
    }

    /// Notes whether the caller leads now.
    pub(crate) fn answer_leader(&self, id: u64, answer: Result<u64, &Error>) {
        self.answer_with(id, answer.map(Outcome::Leads));
    }

    fn answer_with(&self, id: u64, answer: Result<Outcome, &Error>) {
        self.trace(|| format!("t{id} is answered: {answer:?}"));
        let stored = self.disk.stored();
        let outcome = match answer {
            Ok(outcome) => outcome,
            Err(Error::Conflict { .. }) => Outcome::Conflict(stored),
            Err(Error::PositionExpired { .. }) => Outcome::Expired(stored),
            Err(error @ Error::OutcomeUnknown { .. }) => {
                if format!("{error:?}").contains("the log was cleaned") {
                    self.count("writers that slept through a cleaning");
                }
                Outcome::Unknown(stored.lsn)
            }
            Err(Error::Maintenance { .. }) => {
                self.count("commits that were refused by maintenance");
                Outcome::Failed
            }
            Err(Error::TakenOver { message }) => {
                self.count(match message.starts_with("role") {
                    true => "leaders that were deposed",
                    false => "commits that were refused after a take-over",
                });
                Outcome::Failed
            }
            Err(Error::Storage { .. } | Error::Closed) => Outcome::Failed,
            Err(error) => {
                self.fail(format!("t{id} was answered with `{error}`"));
                Outcome::Nothing
            }
        };
        self.count(match &outcome {
            Outcome::Committed(_) => "commits",
            Outcome::Leads(_) => "leaders",
            Outcome::Conflict(_) => "conflicts",
            Outcome::Expired(_) => "expired reads",
            Outcome::Unknown(_) => "unknown outcomes",
            Outcome::Failed | Outcome::Nothing => "commits that were never tried",
        });
        self.state().record.attempts[id as usize].outcome = outcome;
    }

    /// Something is no longer held: then so many checkpoints came after it that it may have been cleaned.
    pub(crate) fn expect_expiry(&self, life: &str) {
        self.count("reads of what was cleaned");
        let manifest = self.disk.stored().manifest;
        if manifest <= KEPT {
            self.fail(format!("{life} was told that something expired, after {manifest} checkpoints"));
        }
    }

    pub(crate) fn observe(&self, life: &Arc<str>, position: Position, read: Read) {
        self.trace(|| format!("{life} sees at {position}: {read:?}"));
        self.state().record.observations.push(Observation { life: Arc::clone(life), position, read });
    }

    pub(crate) fn follow_ended(&self, followed: Followed) {
        self.trace(|| {
            let last = followed.items.last().map_or(followed.after, |item| item.position);
            format!(
                "{} followed {} transactions from {} to {last}",
                followed.life,
                followed.items.len(),
                followed.after
            )
        });
        if !followed.items.is_empty() && followed.after > Position::ZERO {
            self.count("followers that went on");
        }
        self.state().record.followed.push(followed);
    }

    /// The callers of a life are gone; what they asked for is in a batch up to the one after `last`, or never was.
    pub(crate) fn callers_are_gone(&self, life: &str, last: u64) {
        self.state().record.ends.insert(life.to_owned(), last);
    }
}
