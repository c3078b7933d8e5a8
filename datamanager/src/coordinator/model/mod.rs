//! What would etcd say, if everything went wrong with it that can? Feature `test-util`.
//!
//! A model of an etcd, and of a coordinator for each process that is connected with it, in the time of tokio: with a
//! paused clock, everything happens in the same way each time. It has the roles with their queues, the leases, and the
//! number that was announced last; a test says what becomes of it. What is told to the processes is what
//! `EtcdCoordinator` would make of it; its requests, delays and reconnections are not modelled.

mod client;
mod memory;
#[cfg(test)]
mod tests;

use std::{
    collections::BTreeMap,
    fmt,
    sync::{Arc, Mutex, MutexGuard, Weak},
    time::Duration,
};

use async_trait::async_trait;
use tokio::{
    sync::{oneshot, watch},
    task::JoinSet,
    time::Instant,
};

use self::{client::Client, memory::Memory};
use super::{Announced, Candidacy, Coordinator, CoordinatorStatus, check_role, news::News, turns::Turns};
use crate::{Error, Result};

/// How long one lasts if nothing else is said.
const LEASE: Duration = Duration::from_secs(5);

/// A model of an etcd that processes share. Clones are the same one.
///
/// Must be used in a Tokio runtime: leases run out in it.
///
/// ```
/// use runyard_datamanager::coordinator::{Coordinator, LostReason, ModelEtcd};
///
/// # #[tokio::main(flavor = "current_thread", start_paused = true)]
/// # async fn main() -> Result<(), runyard_datamanager::Error> {
/// let etcd = ModelEtcd::new();
/// let (a, b) = (etcd.connect("a"), etcd.connect("b"));
/// let first = a.campaign("cleaner").await?;
/// etcd.cut_off("a");
/// // It stops believing before anybody else begins to.
/// assert_eq!(first.lost().await, LostReason::LeaseExpired);
/// let _second = b.campaign("cleaner").await?;
/// assert_eq!(etcd.leaders("cleaner"), ["b"]);
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug)]
pub struct ModelEtcd {
    shared: Arc<Shared>,
}

/// What a [`ModelEtcd`] remembered at some time.
#[derive(Clone, Debug)]
pub struct ModelSnapshot(Memory);

/// The coordinator of one process, from [`ModelEtcd::connect`]. Dropping it ends its lease in good order.
#[derive(Debug)]
pub struct ModelCoordinator {
    shared: Arc<Shared>,
    turns: Turns,
    name: String,
    news: News,
    status: watch::Sender<CoordinatorStatus>,
}

struct Shared {
    lease: Duration,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    memory: Memory,
    clients: BTreeMap<String, Client>,
    /// How many were granted; never rolled back.
    leases: u64,
    is_down: bool,
    /// Announcements that are on their way, with the lease of who made them, while none arrive.
    held: Option<Vec<(u64, u64)>>,
    announcements: u64,
    timers: JoinSet<()>,
}

/// That somebody wants to lead a role. Dropping it takes that back.
struct WantGuard {
    shared: Arc<Shared>,
    name: String,
    role: String,
}

impl Drop for WantGuard {
    fn drop(&mut self) {
        let mut state = self.shared.state();
        if let Some(client) = state.clients.get_mut(&self.name) {
            client.take_back(&self.role);
        }
        state.settle();
    }
}

impl fmt::Debug for Shared {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Shared").field("lease", &self.lease).finish_non_exhaustive()
    }
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("no panic happens while the state is locked")
    }

    /// Looks which leases have run out, when they may have.
    fn watch_leases(self: &Arc<Self>, state: &mut State, at: Instant) {
        let shared = Arc::downgrade(self);
        while state.timers.try_join_next().is_some() {}
        state.timers.spawn(async move {
            tokio::time::sleep_until(at).await;
            if let Some(shared) = Weak::upgrade(&shared) {
                shared.state().end_leases();
            }
        });
    }
}

impl State {
    fn is_connected(&self, client: &Client) -> bool {
        !self.is_down && client.is_linked
    }

    fn connected(&self) -> Vec<String> {
        let connected = self.clients.iter().filter(|(_, client)| self.is_connected(client));
        connected.map(|(name, _)| name.clone()).collect()
    }

    /// What a process does first over a connection.
    fn begin(&mut self, name: &str) {
        let Some(client) = self.clients.get_mut(name) else { return };
        let mut is_gone = false;
        if let Some(reason) = client.is_lost_to(&self.memory, Instant::now()) {
            is_gone = self.memory.revoke(client.lease);
            self.leases += 1;
            client.begin_anew(self.leases, reason);
        }
        self.memory.keep(client.lease);
        client.connected(&self.memory);
        client.saw(&self.memory);
        let lease = client.lease;
        if is_gone {
            self.candidates_are_gone(lease);
        }
        self.settle();
    }

    /// Connects everybody who can be: nobody does anything before it knows what became of its lease.
    fn begin_all(&mut self) {
        if self.is_down {
            return;
        }
        self.clients.values_mut().for_each(|client| client.is_linked = false);
        let reachable = self.clients.iter().filter(|(_, client)| client.is_reachable);
        for name in reachable.map(|(name, _)| name.clone()).collect::<Vec<_>>() {
            self.begin(&name);
        }
    }

    /// Whoever is gone may have committed something, and ended before saying so.
    fn candidates_are_gone(&self, lease: u64) {
        let others = self.clients.values().filter(|client| client.lease != lease);
        others.filter(|client| self.is_connected(client)).for_each(|client| client.news.missed());
    }

    /// Lets all who are connected do what is to be done, until there is nothing left.
    fn settle(&mut self) {
        loop {
            let before = self.memory.revision();
            for name in self.connected() {
                let Some(client) = self.clients.get_mut(&name) else { continue };
                let (lease, is_gone) = (client.lease, client.act(&mut self.memory));
                let passed_on = client.pass_on();
                if is_gone {
                    self.candidates_are_gone(lease);
                }
                if let Some(lsn) = passed_on {
                    self.memory.announce(lsn);
                    self.deliver(lease, lsn);
                }
            }
            if self.memory.revision() == before {
                return;
            }
        }
    }

    fn deliver(&mut self, lease: u64, lsn: u64) {
        match &mut self.held {
            Some(held) => held.push((lease, lsn)),
            None => {
                let others = self.clients.values().filter(|client| client.lease != lease);
                others.filter(|client| self.is_connected(client)).for_each(|client| client.news.heard(lsn));
            }
        }
    }

    fn end_leases(&mut self) {
        if self.is_down {
            return;
        }
        for lease in self.memory.run_out(Instant::now()) {
            if self.memory.revoke(lease) {
                self.candidates_are_gone(lease);
            }
        }
        self.settle();
    }
}

impl ModelEtcd {
    /// An empty one, with leases of 5 s.
    #[expect(clippy::new_without_default, reason = "an etcd of no particular lease is not a value to fall back to")]
    pub fn new() -> Self {
        Self::with_lease(LEASE)
    }

    /// An empty one. A process that is cut off believes in its lease for two thirds of this: the last time that it was
    /// kept alive may be a third ago.
    pub fn with_lease(lease: Duration) -> Self {
        Self { shared: Arc::new(Shared { lease, state: Mutex::default() }) }
    }

    /// Connects a process; while the etcd is down, it is connected as soon as that is up.
    ///
    /// # Panics
    /// If a process of that name is connected, or has not dropped its coordinator.
    pub fn connect(&self, process: impl Into<String>) -> ModelCoordinator {
        let name = process.into();
        let client = Client::new();
        let (news, status) = (client.news.clone(), client.status.clone());
        let mut state = self.shared.state();
        let before = state.clients.insert(name.clone(), client);
        let is_down = state.is_down;
        if before.is_none() && !is_down {
            state.begin(&name);
        }
        drop(state);
        assert!(before.is_none(), "there is a process `{name}` already");
        ModelCoordinator { shared: Arc::clone(&self.shared), turns: Turns::default(), name, news, status }
    }

    /// Cuts a process off: it hears of nothing, and nobody hears of it, until [`reconnect`](Self::reconnect).
    pub fn cut_off(&self, process: &str) {
        let state = &mut *self.shared.state();
        let (now, lease) = (Instant::now(), self.shared.lease);
        let Some(client) = state.clients.get_mut(process).filter(|client| client.is_reachable) else { return };
        client.is_reachable = false;
        if state.is_down {
            return;
        }
        client.cut_off(now + lease * 2 / 3, "it was cut off");
        state.memory.let_run_out(client.lease, now + lease);
        self.shared.watch_leases(state, now + lease);
    }

    /// Connects a process again that was cut off. It goes on with what it led, if that is still its own.
    pub fn reconnect(&self, process: &str) {
        let state = &mut *self.shared.state();
        let Some(client) = state.clients.get_mut(process).filter(|client| !client.is_reachable) else { return };
        client.is_reachable = true;
        if !state.is_down {
            state.begin(process);
        }
    }

    /// Ends the etcd; it remembers everything until [`start`](Self::start).
    pub fn stop(&self) {
        let state = &mut *self.shared.state();
        let until = Instant::now() + self.shared.lease * 2 / 3;
        for name in state.connected() {
            if let Some(client) = state.clients.get_mut(&name) {
                client.cut_off(until, "etcd is down");
            }
        }
        state.is_down = true;
        state.memory.stop_leases();
    }

    /// Starts the etcd again. Leases begin anew, as etcd lets them when it has a new leader.
    pub fn start(&self) {
        let state = &mut *self.shared.state();
        if std::mem::take(&mut state.is_down) {
            self.began(state);
        }
    }

    /// Makes the etcd forget everything, as if its data directory were lost.
    pub fn wipe(&self) {
        self.restore(&ModelSnapshot(Memory::default()));
    }

    /// What the etcd remembers now.
    pub fn snapshot(&self) -> ModelSnapshot {
        ModelSnapshot(self.shared.state().memory.clone())
    }

    /// Makes the etcd remember what it did at an earlier time, and nothing since. Whoever led then and is gone stands in
    /// the way until its lease has run out once more.
    pub fn restore(&self, snapshot: &ModelSnapshot) {
        let state = &mut *self.shared.state();
        state.memory = snapshot.0.clone();
        state.held.iter_mut().for_each(Vec::clear);
        if !state.is_down {
            self.began(state);
        }
    }

    /// Everybody who can be is connected anew, and all leases run.
    fn began(&self, state: &mut State) {
        let until = Instant::now() + self.shared.lease;
        state.memory.let_all_run_out(until);
        self.shared.watch_leases(state, until);
        state.begin_all();
    }

    /// Lets no announcement arrive until [`release_announcements`](Self::release_announcements).
    pub fn hold_announcements(&self) {
        self.shared.state().held.get_or_insert_default();
    }

    /// Lets all that was held arrive, and everything from now on.
    pub fn release_announcements(&self) {
        let mut state = self.shared.state();
        for (lease, lsn) in state.held.take().into_iter().flatten() {
            state.deliver(lease, lsn);
        }
    }

    /// Compacts the etcd beyond what its watchers have been told: what is on its way to them is lost, and they begin
    /// anew, knowing that there may have been something.
    pub fn compact(&self) {
        let state = &mut *self.shared.state();
        state.held.iter_mut().for_each(Vec::clear);
        state.begin_all();
    }

    /// Ends the lease of a process, as an operator may.
    pub fn revoke_lease(&self, process: &str) {
        let state = &mut *self.shared.state();
        let Some(lease) = state.clients.get(process).map(|client| client.lease) else { return };
        if state.memory.revoke(lease) {
            state.candidates_are_gone(lease);
        }
        if state.clients.get(process).is_some_and(|client| state.is_connected(client)) {
            state.begin(process);
        }
        if !state.is_down {
            state.settle();
        }
    }

    /// The processes that believe that they should lead a role.
    pub fn leaders(&self, role: &str) -> Vec<String> {
        let state = self.shared.state();
        let leaders = state.clients.iter().filter(|(_, client)| client.leads(role));
        leaders.map(|(name, _)| name.clone()).collect()
    }

    /// The processes that have a coordinator, connected or not.
    pub fn processes(&self) -> Vec<String> {
        self.shared.state().clients.keys().cloned().collect()
    }

    /// Whether a process and the etcd hear of each other.
    pub fn is_connected(&self, process: &str) -> bool {
        let state = self.shared.state();
        state.clients.get(process).is_some_and(|client| state.is_connected(client))
    }

    /// How often anything was announced.
    pub fn announcements(&self) -> u64 {
        self.shared.state().announcements
    }
}

impl ModelCoordinator {
    fn enter(&self, role: &str) -> (WantGuard, Option<oneshot::Receiver<Candidacy>>) {
        let guard = WantGuard { shared: Arc::clone(&self.shared), name: self.name.clone(), role: role.to_owned() };
        let mut state = self.shared.state();
        let elected = state.clients.get_mut(&self.name).map(|client| client.want(role));
        state.settle();
        (guard, elected)
    }
}

impl Drop for ModelCoordinator {
    fn drop(&mut self) {
        let mut state = self.shared.state();
        let Some(client) = state.clients.remove(&self.name) else { return };
        client.status.send_replace(CoordinatorStatus::Closed);
        if state.is_connected(&client) && state.memory.revoke(client.lease) {
            state.candidates_are_gone(client.lease);
            state.settle();
        }
    }
}

#[async_trait]
impl Coordinator for ModelCoordinator {
    async fn campaign(&self, role: &str) -> Result<Candidacy> {
        check_role(role)?;
        let turn = self.turns.take(role).await;
        let closed = || Error::Coordinator { message: "the coordinator was closed".to_owned(), source: None };
        let (guard, elected) = self.enter(role);
        let candidacy = elected.ok_or_else(closed)?.await.map_err(|_| closed())?;
        // In this order: the next one in this process begins when the role was taken back.
        Ok(candidacy.with_guard((guard, turn)))
    }

    fn announce(&self, lsn: u64) {
        let mut state = self.shared.state();
        state.announcements += 1;
        if let Some(client) = state.clients.get_mut(&self.name) {
            client.news.announce(lsn);
        }
        state.settle();
    }

    fn announced(&self) -> watch::Receiver<Announced> {
        self.news.listen()
    }

    fn status(&self) -> watch::Receiver<CoordinatorStatus> {
        self.status.subscribe()
    }
}

impl fmt::Debug for WantGuard {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "WantGuard({} of {})", self.role, self.name)
    }
}
