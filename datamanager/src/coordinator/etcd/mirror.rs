//! Who wants to lead what, as far as etcd has told?

use std::collections::{BTreeMap, BTreeSet};

use super::keys::Key;

/// What is below the prefix at one revision: a whole reading, and every change after it, in order.
///
/// Because changes come in order, what is seen is what once was: whoever is the first of a role here was it, and stays
/// it until its key is gone.
#[derive(Debug, Default)]
pub(super) struct Mirror {
    revision: i64,
    /// By role: the revision at which each came, and its lease.
    candidates: BTreeMap<String, BTreeSet<(i64, i64)>>,
}

/// A change of one key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct KeyChange {
    pub(super) key: Key,
    pub(super) revision: i64,
    /// When the key was created; none if it was deleted.
    pub(super) created: Option<i64>,
    pub(super) value: Vec<u8>,
}

/// How this process stands in a role.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Standing {
    /// At which revision its key was created.
    pub(super) created: i64,
    /// Whether it is the first.
    pub(super) is_first: bool,
}

impl Mirror {
    pub(super) fn at(revision: i64) -> Self {
        Self { revision, candidates: BTreeMap::new() }
    }

    pub(super) fn revision(&self) -> i64 {
        self.revision
    }

    pub(super) fn apply(&mut self, change: &KeyChange) {
        self.revision = self.revision.max(change.revision);
        let Key::Leader { role, lease } = &change.key else { return };
        self.remove(role, *lease);
        if let Some(created) = change.created {
            self.candidates.entry(role.clone()).or_default().insert((created, *lease));
        }
    }

    /// Takes a candidate out that is known to be gone.
    pub(super) fn remove(&mut self, role: &str, lease: i64) {
        if let Some(candidates) = self.candidates.get_mut(role) {
            candidates.retain(|(_, other)| *other != lease);
            if candidates.is_empty() {
                self.candidates.remove(role);
            }
        }
    }

    /// How the holder of a lease stands in a role; none if it is no candidate.
    pub(super) fn standing(&self, role: &str, lease: i64) -> Option<Standing> {
        let candidates = self.candidates.get(role)?;
        let position = candidates.iter().position(|(_, other)| *other == lease)?;
        let (created, _) = candidates.iter().nth(position)?;
        Some(Standing { created: *created, is_first: position == 0 })
    }

    /// The roles that the holder of a lease is a candidate for.
    pub(super) fn roles_of(&self, lease: i64) -> impl Iterator<Item = &str> {
        let is_of = move |candidates: &BTreeSet<(i64, i64)>| candidates.iter().any(|(_, other)| *other == lease);
        self.candidates.iter().filter(move |(_, candidates)| is_of(candidates)).map(|(role, _)| role.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn change(role: &str, lease: i64, revision: i64, created: Option<i64>) -> KeyChange {
        KeyChange { key: Key::Leader { role: role.into(), lease }, revision, created, value: Vec::new() }
    }

    #[test]
    fn the_candidate_that_came_first_is_the_first_until_it_is_gone() {
        let mut mirror = Mirror::at(4);
        for (lease, created) in [(9, 5), (1, 6), (5, 7)] {
            mirror.apply(&change("r", lease, created, Some(created)));
        }
        let stands =
            |mirror: &Mirror, lease| mirror.standing("r", lease).map(|stands| (stands.created, stands.is_first));
        assert_eq!(
            [9, 1, 5, 2].map(|lease| stands(&mirror, lease)),
            [Some((5, true)), Some((6, false)), Some((7, false)), None]
        );
        mirror.apply(&change("r", 9, 8, None));
        mirror.apply(&change("other", 1, 9, Some(9)));
        assert_eq!([9, 1, 5].map(|lease| stands(&mirror, lease)), [None, Some((6, true)), Some((7, false))]);
        assert_eq!(mirror.roles_of(1).collect::<Vec<_>>(), ["other", "r"]);
        assert_eq!(mirror.revision(), 9);
        mirror.remove("r", 1);
        assert_eq!(stands(&mirror, 5), Some((7, true)));
    }

    #[test]
    fn a_key_that_is_written_again_keeps_its_place() {
        let mut mirror = Mirror::default();
        mirror.apply(&change("r", 1, 5, Some(5)));
        mirror.apply(&change("r", 2, 6, Some(6)));
        mirror.apply(&change("r", 1, 7, Some(5)));
        assert_eq!(mirror.standing("r", 1), Some(Standing { created: 5, is_first: true }));
    }
}
