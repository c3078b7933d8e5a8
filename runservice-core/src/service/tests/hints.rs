//! A coordinator that several processes of a test share, and whose candidacies can be taken away.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard},
};

use async_trait::async_trait;
use futures::FutureExt;
use runyard_datamanager::coordinator::{Announced, Belief, Candidacy, Coordinator, CoordinatorStatus, LostReason};
use tokio::sync::{OwnedMutexGuard, watch};

#[derive(Debug)]
pub(super) struct Hints {
    roles: Arc<Mutex<Roles>>,
    announced: watch::Sender<Announced>,
    status: watch::Sender<CoordinatorStatus>,
    /// How often each role was campaigned for.
    campaigns: watch::Sender<HashMap<String, usize>>,
}

#[derive(Debug, Default)]
struct Roles {
    queues: HashMap<String, Arc<tokio::sync::Mutex<()>>>,
    held: HashMap<String, Held>,
    given: u64,
}

#[derive(Debug)]
struct Held {
    number: u64,
    belief: Arc<Belief>,
    _turn: OwnedMutexGuard<()>,
}

/// What a candidacy holds.
struct Resigns {
    roles: Arc<Mutex<Roles>>,
    role: String,
    number: u64,
    _belief: Arc<Belief>,
}

impl Default for Hints {
    fn default() -> Self {
        let status = watch::Sender::new(CoordinatorStatus::Connected { to: "a test".to_owned() });
        Self { roles: Arc::default(), announced: watch::Sender::default(), status, campaigns: watch::Sender::default() }
    }
}

impl Hints {
    /// Takes a role away and gives it to the next one; who had it is told.
    pub(super) fn revoke(&self, role: &str) {
        let held = locked(&self.roles).held.remove(role);
        held.expect("somebody has the role").belief.lose(LostReason::Forgotten);
    }

    /// Waits until a role was campaigned for so often.
    pub(super) async fn campaigned(&self, role: &str, times: usize) {
        let mut campaigns = self.campaigns.subscribe();
        let reached = campaigns.wait_for(|campaigns| campaigns.get(role).is_some_and(|count| *count >= times));
        reached.await.expect("the sender is here");
    }

    /// Gives a role to the next one, if somebody has it; that one believes in itself on.
    pub(super) fn give_away(&self, role: &str) -> bool {
        locked(&self.roles).held.remove(role).is_some()
    }
}

fn locked(roles: &Mutex<Roles>) -> MutexGuard<'_, Roles> {
    roles.lock().expect("not poisoned")
}

impl Drop for Resigns {
    fn drop(&mut self) {
        let mut roles = locked(&self.roles);
        if roles.held.get(&self.role).is_some_and(|held| held.number == self.number) {
            roles.held.remove(&self.role);
        }
    }
}

#[async_trait]
impl Coordinator for Hints {
    async fn campaign(&self, role: &str) -> runyard_datamanager::Result<Candidacy> {
        let queue = Arc::clone(locked(&self.roles).queues.entry(role.to_owned()).or_default());
        let mut turn = std::pin::pin!(queue.lock_owned());
        // In the queue first, and then counted.
        let taken = turn.as_mut().now_or_never();
        self.campaigns.send_modify(|campaigns| *campaigns.entry(role.to_owned()).or_default() += 1);
        let turn = match taken {
            Some(turn) => turn,
            None => turn.await,
        };
        let (candidacy, belief) = Candidacy::new(role);
        let belief = Arc::new(belief);
        let mut roles = locked(&self.roles);
        roles.given += 1;
        let number = roles.given;
        roles.held.insert(role.to_owned(), Held { number, belief: Arc::clone(&belief), _turn: turn });
        let (roles, role) = (Arc::clone(&self.roles), role.to_owned());
        Ok(candidacy.with_guard(Resigns { roles, role, number, _belief: belief }))
    }

    fn announce(&self, lsn: u64) {
        self.announced.send_modify(|announced| announced.lsn = announced.lsn.max(lsn));
    }

    fn announced(&self) -> watch::Receiver<Announced> {
        self.announced.subscribe()
    }

    fn status(&self) -> watch::Receiver<CoordinatorStatus> {
        self.status.subscribe()
    }
}
