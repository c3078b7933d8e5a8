//! Whose object is it that a create met?
//!
//! A store says "already exists" in three cases: somebody else was first; our own request came through, its reply was
//! lost, and the repeated one met what the first one wrote; or two requests were in conflict (409) and neither is
//! there. Therefore every object that is created carries an id of the call, and where a create is refused, the object
//! is asked for it.

use std::{
    hash::{BuildHasher, RandomState},
    sync::atomic::{AtomicU64, Ordering},
    time::Duration,
};

use object_store::{
    Attribute, Attributes, Error as StoreError, GetOptions, ObjectStore, PutMode, PutOptions, PutPayload, path::Path,
};

use super::error::{READING, Target, WRITING, from_store};
use crate::{Error, ObjectKey, Result, decorator::random::Random};

/// How often a create in conflict is made.
const ATTEMPTS_MAX: u32 = 10;
const DELAY_FIRST: Duration = Duration::from_millis(20);
const DELAY_MAX: Duration = Duration::from_secs(2);

/// The metadata that holds the id. Letters only: Azure allows no more.
const ID_ATTRIBUTE: &str = "runyardputid";

/// Where the ids of calls come from, and jitter.
#[derive(Debug)]
pub(super) struct PutIds {
    process: String,
    next: AtomicU64,
    random: Random,
}

impl PutIds {
    /// Ids that no other process makes, from 128 bits of the operating system's randomness.
    pub(super) fn new() -> Self {
        let random = || RandomState::new().hash_one(0);
        Self {
            process: format!("{:016x}{:016x}", random(), random()),
            next: AtomicU64::new(0),
            random: Random::seeded(random()),
        }
    }

    pub(super) fn next(&self) -> String {
        format!("{}-{}", self.process, self.next.fetch_add(1, Ordering::Relaxed))
    }
}

/// What marks an object as written by the call with this id.
pub(super) fn attributes(id: &str) -> Attributes {
    Attributes::from_iter([(Attribute::Metadata(ID_ATTRIBUTE.into()), id.to_owned())])
}

/// The id of the call that wrote an object, where the store keeps it; `None` if there is no object.
pub(super) async fn id_of(store: &dyn ObjectStore, path: &Path) -> object_store::Result<Option<Option<String>>> {
    match store.get_opts(path, GetOptions::new().with_head(true)).await {
        Ok(found) => {
            let id = found.attributes.get(&Attribute::Metadata(ID_ATTRIBUTE.into()));
            Ok(Some(id.map(|id| id.to_string())))
        }
        Err(StoreError::NotFound { .. }) => Ok(None),
        Err(error) => Err(error),
    }
}

/// What a refused create met.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Met {
    /// What this very call has written.
    Own,
    /// Somebody else's object.
    Foreign,
    /// No object: the request was in conflict with another one.
    Nothing,
}

fn met(found: Option<Option<&str>>, own: &str) -> Met {
    match found {
        None => Met::Nothing,
        Some(Some(id)) if id == own => Met::Own,
        Some(_) => Met::Foreign,
    }
}

/// What is waited after so many attempts; `random` is drawn from all numbers.
fn delay(attempts: u32, random: u64) -> Duration {
    let doubled = 1_u32.checked_shl(attempts - 1).unwrap_or(u32::MAX);
    let half = DELAY_FIRST.saturating_mul(doubled).min(DELAY_MAX) / 2;
    half + half.mul_f64(random as f64 / u64::MAX as f64)
}

/// Writes an object unless there is one.
///
/// Where the store keeps no attributes, `has_attributes` is false, and every object that a create meets is taken for
/// somebody else's: comparing contents would let two creators of the same content win.
pub(super) async fn create(
    store: &dyn ObjectStore,
    ids: &PutIds,
    has_attributes: bool,
    (key, path): (&ObjectKey, &Path),
    body: PutPayload,
) -> Result<()> {
    let id = ids.next();
    let attributes = if has_attributes { attributes(&id) } else { Attributes::default() };
    let mut attempts = 1;
    loop {
        let options = PutOptions { mode: PutMode::Create, attributes: attributes.clone(), ..PutOptions::default() };
        let conflict = match store.put_opts(path, body.clone(), options).await {
            Ok(_) => return Ok(()),
            Err(error @ StoreError::AlreadyExists { .. }) => error,
            Err(error) => return Err(from_store(error, WRITING, Target::Key(key))),
        };
        let found = id_of(store, path).await.map_err(|error| match from_store(error, READING, Target::Key(key)) {
            // It is not known whether the object is ours.
            error @ Error::Unavailable { .. } => error,
            error => Error::Unavailable { doing: WRITING, name: key.to_string(), source: error.into() },
        })?;
        match met(found.as_ref().map(Option::as_deref), &id) {
            Met::Own => return Ok(()),
            Met::Foreign => return Err(Error::AlreadyExists { key: key.clone() }),
            Met::Nothing if attempts == ATTEMPTS_MAX => return Err(from_store(conflict, WRITING, Target::Key(key))),
            Met::Nothing => tokio::time::sleep(delay(attempts, ids.random.next())).await,
        }
        attempts += 1;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_object_belongs_to_the_call_whose_id_it_carries() {
        for (found, expected) in [
            (None, Met::Nothing),
            (Some(None), Met::Foreign),
            (Some(Some("other")), Met::Foreign),
            (Some(Some("own")), Met::Own),
        ] {
            assert_eq!(met(found, "own"), expected, "{found:?}");
        }
    }

    #[test]
    fn ids_are_of_one_call_of_one_process() {
        let (one, other) = (PutIds::new(), PutIds::new());
        let ids = [one.next(), one.next(), other.next(), other.next()];
        assert!(ids.iter().enumerate().all(|(at, id)| !ids[..at].contains(id)), "{ids:?}");
    }

    #[test]
    fn delays_double_up_to_a_bound() {
        let delays: Vec<_> = (1..=9).map(|attempts| delay(attempts, u64::MAX).as_millis()).collect();
        assert_eq!(delays, [20, 40, 80, 160, 320, 640, 1_280, 2_000, 2_000]);
        assert_eq!(delay(1, 0).as_millis(), 10);
    }
}
