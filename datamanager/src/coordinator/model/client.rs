//! What does one process know of a modelled etcd, and want of it?

use std::collections::BTreeMap;

use tokio::{
    sync::{oneshot, watch},
    time::Instant,
};

use super::{
    super::{Belief, Candidacy, CoordinatorStatus, LostReason, news::News},
    memory::{Memory, Standing},
};

/// A process, as its connection has it.
#[derive(Debug)]
pub(super) struct Client {
    pub(super) lease: u64,
    /// The newest revision that was seen.
    seen: u64,
    /// Whether it could be connected.
    pub(super) is_reachable: bool,
    /// Whether everything flows: it is not before its lease is known to go on.
    pub(super) is_linked: bool,
    /// Until when it believes in its lease without having heard anything; none while it is connected.
    believes_until: Option<Instant>,
    wants: BTreeMap<String, Want>,
    pub(super) news: News,
    to_pass_on: watch::Receiver<u64>,
    pub(super) status: watch::Sender<CoordinatorStatus>,
}

#[derive(Debug)]
enum Want {
    /// Somebody waits for it, with a candidate that came at this revision, if there is one.
    Waiting { elected: oneshot::Sender<Candidacy>, created: Option<u64> },
    /// Somebody was told that it is the one.
    Leading { created: u64, belief: Belief },
}

impl Want {
    fn created(&self) -> Option<u64> {
        match self {
            Self::Waiting { created, .. } => *created,
            Self::Leading { belief, .. } if belief.is_lost() => None,
            Self::Leading { created, .. } => Some(*created),
        }
    }
}

impl Client {
    /// One that was never connected, and has no lease yet.
    pub(super) fn new() -> Self {
        let news = News::default();
        Self {
            lease: 0,
            seen: 0,
            is_reachable: true,
            is_linked: false,
            believes_until: None,
            wants: BTreeMap::new(),
            to_pass_on: news.to_pass_on(),
            news,
            status: watch::Sender::new(disconnected("it was not connected yet")),
        }
    }

    /// Nothing is heard any more; what is believed is believed until then.
    pub(super) fn cut_off(&mut self, until: Instant, reason: &str) {
        self.is_linked = false;
        self.believes_until = Some(until);
        for want in self.wants.values() {
            if let Want::Leading { belief, .. } = want {
                belief.until(until);
            }
        }
        if self.status.borrow().is_connected() {
            self.status.send_replace(disconnected(reason));
        }
    }

    /// Why nothing that was led goes on after a connection was made, with what is remembered there; none if it does.
    pub(super) fn is_lost_to(&self, memory: &Memory, now: Instant) -> Option<LostReason> {
        if self.believes_until.is_some_and(|until| now >= until) {
            return Some(LostReason::LeaseExpired);
        }
        (memory.revision() < self.seen || !memory.knows(self.lease)).then_some(LostReason::Forgotten)
    }

    /// Goes over to a new lease: nothing is led any more.
    pub(super) fn begin_anew(&mut self, lease: u64, reason: LostReason) {
        self.lease = lease;
        for want in self.wants.values_mut() {
            match want {
                Want::Leading { belief, .. } => belief.lose(reason),
                Want::Waiting { created, .. } => *created = None,
            }
        }
    }

    /// Hears of everything again.
    pub(super) fn connected(&mut self, memory: &Memory) {
        self.is_linked = true;
        self.believes_until = None;
        for want in self.wants.values() {
            if let Want::Leading { belief, .. } = want {
                belief.always();
            }
        }
        self.news.heard(memory.announced());
        self.news.missed();
        self.status.send_replace(CoordinatorStatus::Connected { to: "the modelled etcd".to_owned() });
    }

    /// Does what is to be done about what it wants. Returns whether candidates went away.
    pub(super) fn act(&mut self, memory: &mut Memory) -> bool {
        let Self { lease, wants, .. } = self;
        let mut is_gone = false;
        for (role, want) in &mut *wants {
            let standing = memory.standing(role, *lease);
            match want {
                Want::Leading { created, belief } => {
                    if standing != Some(Standing { created: *created, is_first: true }) {
                        belief.lose(LostReason::Forgotten);
                    }
                }
                Want::Waiting { created, .. } => {
                    if created.is_none() || standing.map(|standing| standing.created) != *created {
                        is_gone |= memory.leave(*lease, |other, _| other != role.as_str());
                        *created = Some(memory.enter(role, *lease));
                    }
                }
            }
        }
        is_gone |=
            memory.leave(*lease, |role, created| wants.get(role).is_some_and(|want| want.created() == Some(created)));
        for (role, want) in &mut *wants {
            let Want::Waiting { created: Some(created), .. } = want else { continue };
            let created = *created;
            if memory.standing(role, *lease) == Some(Standing { created, is_first: true }) {
                let (candidacy, belief) = Candidacy::new(role.clone());
                if let Want::Waiting { elected, .. } = std::mem::replace(want, Want::Leading { created, belief }) {
                    // Whoever waited may have gone away at this moment: then it takes that back next.
                    let _ = elected.send(candidacy);
                }
            }
        }
        self.seen = memory.revision();
        is_gone
    }

    pub(super) fn saw(&mut self, memory: &Memory) {
        self.seen = memory.revision();
    }

    pub(super) fn want(&mut self, role: &str) -> oneshot::Receiver<Candidacy> {
        let (elected, candidacy) = oneshot::channel();
        self.wants.insert(role.to_owned(), Want::Waiting { elected, created: None });
        candidacy
    }

    pub(super) fn take_back(&mut self, role: &str) {
        self.wants.remove(role);
    }

    pub(super) fn leads(&self, role: &str) -> bool {
        matches!(self.wants.get(role), Some(Want::Leading { belief, .. }) if !belief.is_lost())
    }

    /// What others have to hear of, once.
    pub(super) fn pass_on(&mut self) -> Option<u64> {
        let is_news = self.to_pass_on.has_changed().expect("the sender lives beside it");
        is_news.then(|| *self.to_pass_on.borrow_and_update())
    }
}

fn disconnected(reason: &str) -> CoordinatorStatus {
    CoordinatorStatus::Disconnected { since: Instant::now(), attempts: 1, reason: reason.to_owned() }
}
