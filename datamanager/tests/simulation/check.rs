//! Was everything right that callers were told?
//!
//! Pure: the log as it was stored, and the record of what was asked and answered.

use std::collections::BTreeMap;

use bytes::Bytes;
use runyard_datamanager::{Action, Change, KeyRange, Position};

use crate::{
    batch::Logged,
    client::{id_of, looked_at},
    model::{Model, between, transactions, writes_in},
    world::{Attempt, Followed, KEPT, LEADER, MAINTENANCE, OWNER, Outcome, Read, Record, SYSTEM, Stored},
};

/// What a store holds in the end: its entries by collection.
pub(crate) type Content = BTreeMap<String, Vec<(Bytes, Bytes)>>;

/// Checks a history, and returns how often the store was claimed; the error says what was wrong.
pub(crate) fn check(
    log: &BTreeMap<u64, Bytes>,
    record: &Record,
    history_max: usize,
    content: &Content,
) -> Result<usize, String> {
    let logged = transactions(log)?;
    let places = places(&logged, record)?;
    check_maintenance(&logged)?;
    let claims = check_owners(&logged, record)?;
    for (id, attempt) in (0..).zip(&record.attempts) {
        check_outcome(attempt, places.get(&id).copied(), &logged, record, history_max)
            .map_err(|wrong| format!("t{id} of {}: {wrong}", attempt.life))?;
    }
    for followed in &record.followed {
        check_followed(followed, &logged)?;
    }
    let end = replay(&logged, &places, record)?;
    if end.content() != *content {
        return Err(format!("a store opened in the end holds {content:?}, and the log says {:?}", end.content()));
    }
    Ok(claims)
}

/// Where each attempt is in the log: at most once, and whole.
fn places(logged: &[Logged], record: &Record) -> Result<BTreeMap<u64, Position>, String> {
    let mut places = BTreeMap::new();
    for transaction in
        logged.iter().filter(|transaction| !ends_maintenance(transaction) && claim(transaction).is_none())
    {
        let position = transaction.position;
        let id = id(transaction).ok_or_else(|| format!("nobody made the transaction at {position}"))?;
        let attempt = record.attempts.get(id as usize).ok_or_else(|| format!("nobody made t{id} at {position}"))?;
        let is_same = attempt.actions == transaction.actions || leader(transaction).is_some();
        if !is_same || attempt.groups != transaction.groups {
            return Err(format!("t{id} at {position} is {transaction:?}, and was {attempt:?}"));
        }
        if let Some(other) = places.insert(id, position) {
            return Err(format!("t{id} is in the log twice: at {other} and at {position}"));
        }
    }
    Ok(places)
}

fn id(transaction: &Logged) -> Option<u64> {
    let value = |action: &Action| match action {
        Action::Put { collection, key, value } if collection == SYSTEM && key == LEADER => leader_of(value)?.1,
        Action::Put { value, .. } | Action::Append { value, .. } => id_of(value),
        Action::Delete { .. } => None,
    };
    let of_group = |group: &String| group.strip_prefix('t')?.parse().ok();
    transaction.actions.iter().find_map(value).or_else(|| transaction.groups.iter().find_map(of_group))
}

/// The epoch and the attempt that an entry of a leader is of.
fn leader_of(value: &[u8]) -> Option<(u64, Option<u64>)> {
    let leader: serde_json::Value = serde_json::from_slice(value).ok()?;
    Some((leader["epoch"].as_u64()?, id_of(leader["holder"].as_str()?.as_bytes())))
}

/// The epoch that a transaction begins.
fn leader(transaction: &Logged) -> Option<u64> {
    match &transaction.actions[..] {
        [Action::Put { collection, key, value }] if collection == SYSTEM && key == LEADER => {
            leader_of(value).map(|(epoch, _)| epoch)
        }
        _ => None,
    }
}

/// That of a transaction which says so, whether the store is being maintained from then on.
fn maintenance(transaction: &Logged) -> Option<bool> {
    transaction.actions.iter().find_map(|action| match action {
        Action::Put { collection, key, .. } if collection == SYSTEM && key == MAINTENANCE => Some(true),
        Action::Delete { collection, key } if collection == SYSTEM && key == MAINTENANCE => Some(false),
        _ => None,
    })
}

/// Nobody is asked who ends maintenance: anybody may.
fn ends_maintenance(transaction: &Logged) -> bool {
    maintenance(transaction) == Some(false)
}

/// That of a transaction which claims the store: the epoch, and whether it is for its writer alone.
fn claim(transaction: &Logged) -> Option<(u64, bool)> {
    transaction.actions.iter().find_map(|action| match action {
        Action::Put { collection, key, value } if collection == SYSTEM && key == OWNER => {
            let owner: serde_json::Value = serde_json::from_slice(value).ok()?;
            Some((owner["epoch"].as_u64()?, !owner["holder"].is_null()))
        }
        _ => None,
    })
}

/// Whoever had the store open when it was taken over commits nothing after that. Returns how often it was claimed.
fn check_owners(logged: &[Logged], record: &Record) -> Result<usize, String> {
    // The last claim of each writer, and of all.
    let mut claims = BTreeMap::new();
    let mut last: Option<(&Logged, u64, bool)> = None;
    let mut count = 0;
    for transaction in logged {
        let Logged { position, writer, .. } = transaction;
        let before = last.map_or(0, |(_, epoch, _)| epoch);
        if let Some((epoch, is_sole)) = claim(transaction) {
            if epoch != before + 1 {
                return Err(format!("the store is claimed in epoch {epoch} at {position}, after epoch {before}"));
            }
            claims.insert(writer, (*position, is_sole));
            last = Some((transaction, epoch, is_sole));
            count += 1;
        } else if let Some((owner, epoch, is_sole)) = last.filter(|(owner, ..)| owner.writer != *writer) {
            let own = claims.get(writer);
            let was_open = own.is_some_and(|(own, _)| *own < owner.position)
                || record.opened.get(writer).is_none_or(|lsn| *lsn < owner.position.lsn);
            if was_open && (is_sole || own.is_some_and(|(_, is_sole)| *is_sole)) {
                return Err(format!(
                    "{position} was committed by {writer:?}, after {epoch} began at {}",
                    owner.position
                ));
            }
        }
    }
    Ok(count)
}

/// While a store is being maintained, nothing is committed but the end of it.
fn check_maintenance(logged: &[Logged]) -> Result<(), String> {
    let mut since = None;
    for transaction in logged {
        let position = transaction.position;
        match (maintenance(transaction), since) {
            (Some(true), None) => since = Some(position),
            (Some(false), Some(_)) => since = None,
            (None, None) => {}
            (Some(false), None) => return Err(format!("maintenance ends at {position}, and had not begun")),
            (_, Some(since)) => return Err(format!("in maintenance since {since}, {position} was committed")),
        }
    }
    Ok(())
}

/// Whether a transaction may have been found too old: by the number of others, or because its checkpoint was cleaned.
fn may_expire(attempt: &Attempt, stored: Stored, logged: &[Logged], history_max: usize) -> bool {
    let since = between(logged, attempt.read_at, Position { lsn: stored.lsn + 1, index: 0 }).len();
    since >= history_max || stored.manifest > KEPT
}

fn check_outcome(
    attempt: &Attempt,
    place: Option<Position>,
    logged: &[Logged],
    record: &Record,
    history_max: usize,
) -> Result<(), String> {
    let changes_nothing = attempt.actions.is_empty() && attempt.groups.is_empty();
    match attempt.outcome {
        Outcome::Committed(position) if changes_nothing => {
            if position < attempt.read_at {
                return Err(format!("it read at {} and was checked at {position}", attempt.read_at));
            }
            let beyond = Position { lsn: position.lsn, index: position.index + 1 };
            check_unchanged(attempt, beyond, logged)
        }
        Outcome::Committed(position) if place != Some(position) => {
            Err(format!("it was acknowledged at {position}, and is at {place:?}"))
        }
        Outcome::Committed(position) if position <= attempt.after => {
            Err(format!("it is at {position}, before what was acknowledged before it began: {}", attempt.after))
        }
        Outcome::Committed(_) => Ok(()),
        Outcome::Leads(epoch) => {
            let at = place.and_then(|place| logged.iter().find(|logged| logged.position == place));
            match at.and_then(leader) == Some(epoch) {
                true => Ok(()),
                false => Err(format!("it was told that it leads in epoch {epoch}, and that is at {at:?}")),
            }
        }
        Outcome::Conflict(_) | Outcome::Expired(_) | Outcome::Failed if place.is_some() => {
            Err(format!("it was answered with {:?}, and is at {place:?}", attempt.outcome))
        }
        Outcome::Conflict(stored) => {
            match check_unchanged(attempt, Position { lsn: stored.lsn + 1, index: 0 }, logged) {
                // A closure that is tried again does not say why; a leader conflicts with its successor.
                Ok(()) if !changes_nothing && attempt.epoch.is_none() && !is_of_system(attempt) => {
                    let may = may_expire(attempt, stored, logged, history_max);
                    if may { Ok(()) } else { Err("it conflicts with nothing".to_owned()) }
                }
                _ => Ok(()),
            }
        }
        Outcome::Expired(stored) if may_expire(attempt, stored, logged, history_max) => Ok(()),
        Outcome::Expired(stored) => Err(format!("it expired, though there was only {stored:?}")),
        Outcome::Failed => Ok(()),
        Outcome::Unknown(last) => check_possible(place, last),
        Outcome::Nothing => match record.ends.get(&*attempt.life) {
            Some(last) => check_possible(place, *last),
            None => Err("it was never answered".to_owned()),
        },
    }
}

/// Whether an attempt changes what is the store's own: what it read for that is not known.
fn is_of_system(attempt: &Attempt) -> bool {
    attempt.actions.iter().any(|action| matches!(action, Action::Put { collection, .. } if collection == SYSTEM))
}

/// Where the outcome is not known, only the slot in doubt may have it.
fn check_possible(place: Option<Position>, last: u64) -> Result<(), String> {
    match place {
        Some(position) if position.lsn > last.saturating_add(1) => {
            Err(format!("its outcome was unknown after batch {last}, and it is at {position}"))
        }
        _ => Ok(()),
    }
}

/// Whether nothing that the attempt read or locked was changed after its read and before `before`.
fn check_unchanged(attempt: &Attempt, before: Position, logged: &[Logged]) -> Result<(), String> {
    for other in between(logged, attempt.read_at, before) {
        let position = other.position;
        if let Some(group) = attempt.groups.iter().find(|group| other.groups.contains(group)) {
            return Err(format!("group `{group}` was taken at {position}"));
        }
        let ranges = attempt.reads.iter().map(|read| match read {
            Read::Key(collection, key, _) => (collection, KeyRange::prefix(key).before([key, &[0][..]].concat())),
            Read::Range(scan, page) => (&scan.collection, looked_at(scan, page)),
        });
        let locks = attempt.locks.iter().map(|(collection, range)| (collection, range.clone()));
        for (collection, range) in ranges.chain(locks) {
            if writes_in(other, collection, &range) {
                return Err(format!("{range:?} of `{collection}` was written at {position}"));
            }
        }
    }
    Ok(())
}

/// Followers see the log as it is, from where they began, without gaps or repetitions.
fn check_followed(followed: &Followed, logged: &[Logged]) -> Result<(), String> {
    let Followed { life, after, items } = followed;
    let start = logged.partition_point(|transaction| transaction.position <= *after);
    let mut expected = logged[start..].iter();
    for item in items {
        let right = expected.next();
        let is_right = right.is_some_and(|right| same(right, item.position, &item.changes));
        if !is_right {
            let position = right.map(|right| right.position);
            return Err(format!("{life}, which followed from {after}, got {item:?}, and {position:?} was next"));
        }
    }
    Ok(())
}

fn same(right: &Logged, position: Position, changes: &[Change]) -> bool {
    let shown = right.changes.iter().filter(|change| change.collection != SYSTEM);
    right.position == position && shown.eq(changes)
}

/// Replays the log, and asks at every position whether what was read there is what was there.
fn replay(logged: &[Logged], places: &BTreeMap<u64, Position>, record: &Record) -> Result<Model, String> {
    let mut observations: Vec<_> = record.observations.iter().collect();
    observations.sort_by_key(|observation| observation.position);
    let mut observations = observations.into_iter().peekable();
    let by_place: BTreeMap<_, _> = places.iter().map(|(id, position)| (*position, *id)).collect();
    let mut model = Model::default();
    let (mut position, mut epoch) = (Position::ZERO, 0);
    for next in logged.iter().map(Some).chain([None]) {
        while let Some(observation) = observations.next_if(|observation| observation.position <= position) {
            if observation.position != position {
                return Err(format!("{} read at {}, which does not exist", observation.life, observation.position));
            }
            if let Some(wrong) = model.contradicts(&observation.read) {
                return Err(format!("{} read at {position}: {wrong}", observation.life));
            }
        }
        let Some(transaction) = next else { break };
        position = transaction.position;
        match leader(transaction) {
            Some(next) if next != epoch + 1 => {
                return Err(format!("epoch {next} of the leaders begins at {position}, after epoch {epoch}"));
            }
            next => epoch = next.unwrap_or(epoch),
        }
        let Some(id) = by_place.get(&position) else {
            model.apply(transaction);
            continue;
        };
        let attempt = &record.attempts[*id as usize];
        let serial =
            |wrong| format!("t{id} of {}, which read at {}, is at {position}: {wrong}", attempt.life, attempt.read_at);
        check_unchanged(attempt, position, logged).map_err(serial)?;
        if attempt.epoch.is_some_and(|of| of != epoch) {
            return Err(serial(format!("its leader is of epoch {:?}, and this is epoch {epoch}", attempt.epoch)));
        }
        if let Some(wrong) = attempt.reads.iter().find_map(|read| model.contradicts(read)) {
            return Err(serial(wrong));
        }
        model.apply(transaction);
    }
    match observations.next() {
        None => Ok(model),
        Some(late) => Err(format!("{} read at {}, which does not exist", late.life, late.position)),
    }
}
