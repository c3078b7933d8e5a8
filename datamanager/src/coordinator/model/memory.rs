//! What does a modelled etcd remember?
//!
//! Plain data: a copy of it is a snapshot.

use std::collections::BTreeMap;

use tokio::time::Instant;

/// Everything that an etcd knows.
#[derive(Clone, Debug, Default)]
pub(super) struct Memory {
    /// Grows with every change.
    revision: u64,
    /// The candidates of each role, in the order in which they came.
    roles: BTreeMap<String, Vec<Candidate>>,
    /// When each lease ends; none while its process keeps it alive.
    leases: BTreeMap<u64, Option<Instant>>,
    /// The number that was announced last.
    announced: u64,
}

#[derive(Clone, Copy, Debug)]
struct Candidate {
    lease: u64,
    created: u64,
}

/// How a candidate stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Standing {
    /// The revision at which it came.
    pub(super) created: u64,
    pub(super) is_first: bool,
}

impl Memory {
    pub(super) fn revision(&self) -> u64 {
        self.revision
    }

    pub(super) fn announced(&self) -> u64 {
        self.announced
    }

    pub(super) fn announce(&mut self, lsn: u64) {
        self.revision += 1;
        self.announced = lsn;
    }

    pub(super) fn knows(&self, lease: u64) -> bool {
        self.leases.contains_key(&lease)
    }

    /// Grants a lease, or goes on with one, which its process keeps alive.
    pub(super) fn keep(&mut self, lease: u64) {
        self.leases.insert(lease, None);
    }

    /// Lets a lease run out, unless it is kept before that.
    pub(super) fn let_run_out(&mut self, lease: u64, at: Instant) {
        if let Some(until) = self.leases.get_mut(&lease) {
            *until = Some(at);
        }
    }

    /// The same with all of them.
    pub(super) fn let_all_run_out(&mut self, at: Instant) {
        self.leases.values_mut().for_each(|until| *until = Some(at));
    }

    /// Nobody says any more when a lease ends: time stands still for an etcd that is down.
    pub(super) fn stop_leases(&mut self) {
        self.leases.values_mut().for_each(|until| *until = None);
    }

    /// The leases that have run out.
    pub(super) fn run_out(&self, now: Instant) -> Vec<u64> {
        let is_over = |until: &Option<Instant>| until.is_some_and(|until| until <= now);
        self.leases.iter().filter(|(_, until)| is_over(until)).map(|(lease, _)| *lease).collect()
    }

    /// Ends a lease, and everything that was written with it. Returns whether that was anything.
    pub(super) fn revoke(&mut self, lease: u64) -> bool {
        self.leases.remove(&lease);
        self.retain(|_, candidate| candidate.lease != lease)
    }

    /// Puts a candidate at the end of a role.
    pub(super) fn enter(&mut self, role: &str, lease: u64) -> u64 {
        self.revision += 1;
        let created = self.revision;
        self.roles.entry(role.to_owned()).or_default().push(Candidate { lease, created });
        created
    }

    /// Removes the candidates of a lease that are none of `wanted`. Returns whether there were any.
    pub(super) fn leave(&mut self, lease: u64, is_wanted: impl Fn(&str, u64) -> bool) -> bool {
        self.retain(|role, candidate| candidate.lease != lease || is_wanted(role, candidate.created))
    }

    fn retain(&mut self, keep: impl Fn(&str, &Candidate) -> bool) -> bool {
        let count = |roles: &BTreeMap<String, Vec<Candidate>>| roles.values().map(Vec::len).sum::<usize>();
        let before = count(&self.roles);
        for (role, candidates) in &mut self.roles {
            candidates.retain(|candidate| keep(role, candidate));
        }
        self.roles.retain(|_, candidates| !candidates.is_empty());
        let is_less = count(&self.roles) < before;
        self.revision += u64::from(is_less);
        is_less
    }

    /// How a lease stands in a role; none if it has no candidate there.
    pub(super) fn standing(&self, role: &str, lease: u64) -> Option<Standing> {
        let candidates = self.roles.get(role)?;
        let place = candidates.iter().position(|candidate| candidate.lease == lease)?;
        Some(Standing { created: candidates[place].created, is_first: place == 0 })
    }
}
