//! How does a push become durable? As one transaction: refs, pack row and triggers, all or none.
//!
//! What is accepted is decided by plain functions on the refs as they are; the transaction then writes it.

use std::collections::BTreeMap;

use runyard_datamanager::{DataManagerExt, Direction, KeyRange, Tx};

use super::{
    ConfigData, ObjectId, Pack, Project, ProjectId, RefName, Result, Trigger, project,
    refs::{PACKS, REFS, key, ref_of_key},
    trigger::TRIGGERS,
};

/// What a push asks for.
#[derive(Clone, Debug)]
pub(crate) struct Push {
    /// Each ref at most once.
    pub(crate) changes: Vec<RefChange>,
    /// Whether one refused ref refuses all others.
    pub(crate) atomic: bool,
    /// Where the new objects are, if there are any.
    pub(crate) pack: Option<Pack>,
}

/// The change of one ref, which holds only if the ref is as its `old` says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct RefChange {
    pub(crate) name: RefName,
    /// None: the ref is created.
    pub(crate) old: Option<ObjectId>,
    /// None: the ref is deleted.
    pub(crate) new: Option<ObjectId>,
}

/// Why a ref was not changed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum RefusedRef {
    /// Somebody was faster.
    #[error("the ref changed meanwhile: fetch and push again")]
    Changed,
    /// Git cannot have a ref and another one below it.
    #[error("`{0}` exists, and no ref can be below another: delete or rename one of them")]
    NameConflict(RefName),
    /// The push is all or nothing.
    #[error("the push is atomic, and another of its refs was refused")]
    Atomic,
}

/// One for each change of a push, in its order.
pub(crate) type Outcomes = Vec<Result<(), RefusedRef>>;

type Refs = BTreeMap<RefName, ObjectId>;

impl ConfigData {
    /// Applies a push, and says of each of its changes whether it was made.
    ///
    /// # Errors
    /// Nothing of the push was made; or, if the outcome is unknown, all of it or nothing.
    pub(crate) async fn push(&self, project: &ProjectId, push: &Push) -> Result<Outcomes> {
        let (outcomes, _) = self.data.transact(|tx| apply(tx, project.clone(), push.clone())).await?;
        Ok(outcomes)
    }
}

async fn apply(tx: Tx, id: ProjectId, push: Push) -> Result<Outcomes> {
    let project = project::get_in(&tx, &id).await?;
    let mut refs = Refs::new();
    for (row, object) in tx.scan(&REFS, KeyRange::prefix(key(&id, "")), Direction::Ascending, usize::MAX).await? {
        refs.insert(ref_of_key(&id, &row)?, object);
    }
    let outcomes = decide(&mut refs, &push);
    let done = || push.changes.iter().zip(&outcomes).filter(|(_, outcome)| outcome.is_ok()).map(|(change, _)| change);
    if done().next().is_none() {
        return Ok(outcomes);
    }
    for change in done() {
        let row = key(&id, change.name.as_str());
        match &change.new {
            Some(new) => tx.put(&REFS, row, new).await?,
            None => tx.delete(&REFS, row).await?,
        }
    }
    if let Some(pack) = &push.pack {
        let row = key(&id, pack.checksum.as_str());
        // Where the same objects were pushed before, that row and its object stay.
        if tx.get(&PACKS, &row).await?.is_none() {
            tx.put(&PACKS, row, pack).await?;
        }
    }
    let default_branch = default_branch(&project, &refs);
    if default_branch != project.default_branch {
        project::put_in(&tx, &Project { default_branch, ..project }).await?;
    }
    for change in done() {
        append_trigger(&tx, &id, change)?;
    }
    Ok(outcomes)
}

/// A branch or tag that is new or points elsewhere is to become runs.
fn append_trigger(tx: &Tx, id: &ProjectId, change: &RefChange) -> Result<()> {
    let is_watched = change.name.branch().is_some() || change.name.tag().is_some();
    if let (Some(new), true) = (&change.new, is_watched && change.old != change.new) {
        let (name, old, new) = (change.name.clone(), change.old.clone(), new.clone());
        tx.append(&TRIGGERS, &Trigger { project: id.clone(), name, old, new })?;
    }
    Ok(())
}

/// Says which changes are made, and makes them in `refs`.
fn decide(refs: &mut Refs, push: &Push) -> Outcomes {
    let mut outcomes: Outcomes = vec![Ok(()); push.changes.len()];
    let mut after = refs.clone();
    // Deletions first: they make room for names that they were in the way of.
    for deletes in [true, false] {
        for (change, outcome) in push.changes.iter().zip(&mut outcomes) {
            if change.new.is_none() == deletes {
                *outcome = make(&mut after, change);
            }
        }
    }
    if push.atomic && outcomes.iter().any(Result::is_err) {
        outcomes.iter_mut().filter(|outcome| outcome.is_ok()).for_each(|outcome| *outcome = Err(RefusedRef::Atomic));
    } else {
        *refs = after;
    }
    outcomes
}

fn make(refs: &mut Refs, change: &RefChange) -> Result<(), RefusedRef> {
    if refs.get(&change.name) != change.old.as_ref() {
        return Err(RefusedRef::Changed);
    }
    let Some(new) = &change.new else {
        refs.remove(&change.name);
        return Ok(());
    };
    if let Some(other) = refs.keys().find(|other| is_below(other, &change.name) || is_below(&change.name, other)) {
        return Err(RefusedRef::NameConflict(other.clone()));
    }
    refs.insert(change.name.clone(), new.clone());
    Ok(())
}

fn is_below(name: &RefName, parent: &RefName) -> bool {
    name.as_str().strip_prefix(parent.as_str()).is_some_and(|rest| rest.starts_with('/'))
}

/// What `HEAD` points at: what it did as long as that exists, else `main`, `master` or the first branch by name.
fn default_branch(project: &Project, refs: &Refs) -> Option<RefName> {
    let current = project.default_branch.clone();
    if current.as_ref().is_some_and(|branch| refs.contains_key(branch)) {
        return current;
    }
    let branch = |wanted| refs.keys().find(move |name| name.branch() == Some(wanted));
    let first = || refs.keys().find(|name| name.branch().is_some());
    branch("main").or_else(|| branch("master")).or_else(first).cloned().or(current)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{configdata::ProjectName, ids::Ids};

    fn object(digit: char) -> ObjectId {
        digit.to_string().repeat(40).parse().expect("an object id")
    }

    fn name(short: &str) -> RefName {
        RefName::parse(&format!("refs/heads/{short}")).expect("a ref name")
    }

    fn refs(all: &[(&str, char)]) -> Refs {
        all.iter().map(|(short, digit)| (name(short), object(*digit))).collect()
    }

    /// Changes as (name, old, new), a space for "does not exist".
    fn push(atomic: bool, changes: &[(&str, char, char)]) -> Push {
        let side = |digit: char| (digit != ' ').then(|| object(digit));
        let change =
            |(short, old, new): &(&str, char, char)| RefChange { name: name(short), old: side(*old), new: side(*new) };
        Push { changes: changes.iter().map(change).collect(), atomic, pack: None }
    }

    #[test]
    fn a_ref_changes_only_from_the_value_that_the_client_saw() {
        let before = [("a", '1'), ("b", '2')];
        for (change, expected) in [
            (("a", '1', '3'), Ok(())),
            (("a", '1', ' '), Ok(())),
            (("c", ' ', '3'), Ok(())),
            (("a", '2', '3'), Err(RefusedRef::Changed)),
            (("a", ' ', '3'), Err(RefusedRef::Changed)),
            (("c", '1', '3'), Err(RefusedRef::Changed)),
            (("c", '1', ' '), Err(RefusedRef::Changed)),
        ] {
            let mut refs = refs(&before);
            assert_eq!(decide(&mut refs, &push(false, &[change])), [expected], "{change:?}");
        }
    }

    #[test]
    fn an_atomic_push_is_all_or_nothing_and_another_takes_what_it_can() {
        let changes = [("a", '1', '3'), ("b", '1', '3')];
        let mut atomic = refs(&[("a", '1'), ("b", '2')]);
        let outcomes = decide(&mut atomic, &push(true, &changes));
        assert_eq!(outcomes, [Err(RefusedRef::Atomic), Err(RefusedRef::Changed)]);
        assert_eq!(atomic, refs(&[("a", '1'), ("b", '2')]));

        let mut each = refs(&[("a", '1'), ("b", '2')]);
        assert_eq!(decide(&mut each, &push(false, &changes)), [Ok(()), Err(RefusedRef::Changed)]);
        assert_eq!(each, refs(&[("a", '3'), ("b", '2')]));
    }

    #[test]
    fn a_ref_cannot_be_below_another_unless_that_is_deleted_in_the_same_push() {
        let mut refs = refs(&[("a", '1')]);
        let outcomes = decide(&mut refs, &push(false, &[("a/b", ' ', '2')]));
        assert_eq!(outcomes, [Err(RefusedRef::NameConflict(name("a")))]);
        assert_eq!(decide(&mut refs, &push(true, &[("a/b", ' ', '2'), ("a", '1', ' ')])), [Ok(()), Ok(())]);
        assert_eq!(decide(&mut refs, &push(false, &[("a", ' ', '2')])), [Err(RefusedRef::NameConflict(name("a/b")))]);
    }

    #[test]
    fn head_stays_where_it_is_and_prefers_main() {
        let project = |short: Option<&str>| Project {
            id: ProjectId::generate(&Ids::seeded(1)),
            name: ProjectName::parse("p").expect("a name"),
            default_branch: short.map(name),
        };
        for (current, branches, expected) in [
            (None, &["a", "main", "master"][..], Some("main")),
            (None, &["a", "master"], Some("master")),
            (None, &["b", "a"], Some("a")),
            (None, &[], None),
            (Some("b"), &["b", "main"], Some("b")),
            (Some("b"), &["a", "main"], Some("main")),
            (Some("b"), &[], Some("b")),
        ] {
            let refs = branches.iter().map(|short| (name(short), object('1'))).collect();
            assert_eq!(default_branch(&project(current), &refs), expected.map(name), "{current:?} {branches:?}");
        }
    }
}
