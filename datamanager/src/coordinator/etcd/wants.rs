//! What do the callers in this process want to lead?

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard},
};

use tokio::{
    sync::{Notify, oneshot},
    time::Instant,
};

use super::{
    super::{Belief, Candidacy, LostReason},
    decide::Wish,
};

/// What is wanted, by role. Callers put it in and take it out; the task that talks to etcd reads it when it changes.
#[derive(Debug, Default)]
pub(super) struct Wants {
    roles: Mutex<Roles>,
    changed: Notify,
}

#[derive(Debug, Default)]
struct Roles {
    wanted: BTreeMap<String, Want>,
    is_closed: bool,
}

#[derive(Debug)]
enum Want {
    /// Somebody waits for it; `anew`, if something of somebody before may be left in etcd.
    Waiting { elected: oneshot::Sender<Candidacy>, anew: bool },
    /// Somebody was told that it is the one, as the one whose key was created at this revision.
    Leading { created: i64, belief: Belief },
    /// Somebody wanted it, and no longer does; something of that may be left in etcd.
    Left,
}

/// That somebody wants to lead a role. Dropping it takes that back.
#[derive(Debug)]
pub(super) struct WantGuard {
    wants: Arc<Wants>,
    role: String,
}

impl Drop for WantGuard {
    fn drop(&mut self) {
        if let Some(want) = self.wants.roles().wanted.get_mut(&self.role) {
            *want = Want::Left;
        }
        self.wants.changed.notify_one();
    }
}

impl Wants {
    /// Wants a role, which nobody else in this process does at the moment; none if nobody fulfils it any more.
    pub(super) fn enter(self: &Arc<Self>, role: &str) -> Option<(WantGuard, oneshot::Receiver<Candidacy>)> {
        let (elected, candidacy) = oneshot::channel();
        let mut roles = self.roles();
        if roles.is_closed {
            return None;
        }
        let anew = roles.wanted.contains_key(role);
        roles.wanted.insert(role.to_owned(), Want::Waiting { elected, anew });
        drop(roles);
        self.changed.notify_one();
        Some((WantGuard { wants: Arc::clone(self), role: role.to_owned() }, candidacy))
    }

    /// Waits until something else is wanted than at the last call. One task calls it.
    pub(super) async fn changed(&self) {
        self.changed.notified().await;
    }

    /// What is wished of each role that is not indifferent.
    pub(super) fn wishes(&self) -> Vec<(String, Wish)> {
        let wish = |want: &Want| match want {
            Want::Waiting { anew: false, .. } => Wish::Lead,
            Want::Waiting { anew: true, .. } => Wish::LeadAnew,
            Want::Left => Wish::None,
            Want::Leading { belief, .. } if belief.is_lost() => Wish::None,
            Want::Leading { created, .. } => Wish::GoOn { created: *created },
        };
        self.roles().wanted.iter().map(|(role, want)| (role.clone(), wish(want))).collect()
    }

    /// Tells the one who waits for a role that it should try to lead, and believe so until then.
    pub(super) fn elect(&self, role: &str, created: i64, until: Instant) {
        let mut roles = self.roles();
        // Whoever came anew meanwhile is not the one whose key it is.
        let Some(want @ Want::Waiting { anew: false, .. }) = roles.wanted.get_mut(role) else { return };
        let (candidacy, belief) = Candidacy::new(role);
        belief.until(until);
        if let Want::Waiting { elected, .. } = std::mem::replace(want, Want::Leading { created, belief }) {
            drop(roles);
            // Whoever waited may have gone away at this moment: then its guard takes the role out.
            let _ = elected.send(candidacy);
        }
    }

    /// Takes in that nothing is left in etcd of those who wanted a role before.
    pub(super) fn forget(&self, role: &str) {
        let mut roles = self.roles();
        match roles.wanted.get_mut(role) {
            Some(Want::Waiting { anew, .. }) => *anew = false,
            Some(Want::Left) => drop(roles.wanted.remove(role)),
            Some(Want::Leading { .. }) | None => {}
        }
    }

    /// Tells the one who leads a role that it should no longer believe that.
    pub(super) fn lose(&self, role: &str, reason: LostReason) {
        if let Some(Want::Leading { belief, .. }) = self.roles().wanted.get(role) {
            belief.lose(reason);
        }
    }

    /// Tells all who lead something that they should no longer believe that.
    pub(super) fn lose_all(&self, reason: LostReason) {
        for want in self.roles().wanted.values() {
            if let Want::Leading { belief, .. } = want {
                belief.lose(reason);
            }
        }
    }

    /// Tells all who lead something until when to believe that.
    pub(super) fn prolong(&self, until: Instant) {
        for want in self.roles().wanted.values() {
            if let Want::Leading { belief, .. } = want {
                belief.until(until);
            }
        }
    }

    /// Fulfils nothing any more: who waits is told so, and nobody should go on leading.
    pub(super) fn close(&self) {
        let mut roles = self.roles();
        roles.is_closed = true;
        let wanted = std::mem::take(&mut roles.wanted);
        drop(roles);
        drop(wanted);
    }

    fn roles(&self) -> MutexGuard<'_, Roles> {
        self.roles.lock().expect("no panic happens while the roles are locked")
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_want_is_fulfilled_prolonged_lost_and_taken_back() {
        let wants = Arc::new(Wants::default());
        let soon = Instant::now() + Duration::from_secs(5);
        let (guard, mut elected) = wants.enter("r").unwrap();
        wants.changed().await;
        assert_eq!(wants.wishes(), [("r".to_owned(), Wish::Lead)]);
        wants.elect("other", 5, soon);
        assert!(elected.try_recv().is_err());
        wants.elect("r", 5, soon);
        assert_eq!(wants.wishes(), [("r".to_owned(), Wish::GoOn { created: 5 })]);
        let candidacy = elected.await.unwrap();
        wants.prolong(soon + Duration::from_secs(5));
        tokio::time::advance(Duration::from_secs(6)).await;
        assert!(!candidacy.is_lost());
        wants.lose("r", LostReason::Forgotten);
        assert_eq!(candidacy.lost().await, LostReason::Forgotten);
        assert_eq!(wants.wishes(), [("r".to_owned(), Wish::None)]);
        drop(guard);
        wants.changed().await;
        assert_eq!(wants.wishes(), [("r".to_owned(), Wish::None)]);
        wants.forget("r");
        assert_eq!(wants.wishes(), []);
    }

    #[tokio::test(start_paused = true)]
    async fn who_wants_it_next_does_not_lead_with_the_key_of_the_one_before() {
        let wants = Arc::new(Wants::default());
        let soon = Instant::now() + Duration::from_secs(5);
        let (first, _elected) = wants.enter("r").unwrap();
        wants.elect("r", 5, soon);
        drop(first);
        let (_second, mut elected) = wants.enter("r").unwrap();
        assert_eq!(wants.wishes(), [("r".to_owned(), Wish::LeadAnew)]);
        wants.elect("r", 5, soon);
        assert!(elected.try_recv().is_err());
        wants.forget("r");
        assert_eq!(wants.wishes(), [("r".to_owned(), Wish::Lead)]);
        wants.elect("r", 6, soon);
        elected.await.unwrap();
    }

    #[tokio::test(start_paused = true)]
    async fn a_want_that_was_given_up_unheard_is_taken_back() {
        let wants = Arc::new(Wants::default());
        let (guard, elected) = wants.enter("r").unwrap();
        drop((elected, guard));
        wants.elect("r", 5, Instant::now());
        assert_eq!(wants.wishes(), [("r".to_owned(), Wish::None)]);
    }

    #[tokio::test(start_paused = true)]
    async fn when_it_is_closed_everybody_is_told() {
        let wants = Arc::new(Wants::default());
        let (_leads, elected) = wants.enter("a").unwrap();
        wants.elect("a", 5, Instant::now() + Duration::from_secs(5));
        let candidacy = elected.await.unwrap();
        let (_waits, waiting) = wants.enter("b").unwrap();
        wants.close();
        assert_eq!(candidacy.lost().await, LostReason::Closed);
        waiting.await.expect_err("nobody fulfils it");
        assert!(wants.enter("c").is_none());
    }
}
