//! What do callers ask of a data manager?
//!
//! Every value says which attempt wrote it, so that it is found again in the log; an attempt that writes no value takes
//! a change group of its own.

use std::{collections::BTreeMap, ops::Bound, sync::Arc, time::Duration};

use bytes::Bytes;
use runyard_datamanager::{
    Action, Collection, DataManager, DataManagerExt, Direction, Error, KeyRange, Leadership, Page, Position, ReadSet,
    Result, Scan, Snapshot, Transaction, Tx, WalDataManager,
    coordinator::{Candidacy, Coordinator},
};

use crate::{
    random::Random,
    world::{LEADER, Read, SYSTEM, World},
};

const COLLECTIONS: [&str; 2] = ["a", "b"];
const EVENTS: &str = "events";
const NAMES: &str = "names";
const GROUPS: [&str; 2] = ["g", "h"];

/// One caller in one life of a process.
pub(crate) struct Client {
    pub(crate) world: Arc<World>,
    pub(crate) life: Arc<str>,
    pub(crate) data: WalDataManager,
    pub(crate) random: Random,
    /// Kept over operations.
    pub(crate) held: Option<Snapshot>,
    /// As what it leads, as far as it knows.
    pub(crate) leads: Option<Leadership>,
    /// Who says whether it should, if anybody does.
    pub(crate) coordinator: Option<Arc<dyn Coordinator>>,
    pub(crate) candidacy: Option<Candidacy>,
}

impl Client {
    /// Tries transactions until there are enough, or the data manager is closed.
    pub(crate) async fn run(mut self) {
        while self.world.take_operation() {
            let pause = match self.random.below(20) {
                0..8 => Duration::ZERO,
                8..19 => self.random.millis(0..500),
                _ => self.random.millis(500..60_000),
            };
            tokio::time::sleep(pause * self.world.profile.pace).await;
            let done = match self.random.below(13) {
                0..5 => self.explicit().await,
                5..8 => self.closure().await,
                8 => self.skew().await,
                9 => self.claim_name().await,
                10 => self.read_ahead().await,
                11 => self.lead().await,
                _ => self.hold().await,
            };
            match done {
                Ok(()) => {}
                Err(Error::Closed) => return,
                Err(Error::Storage { .. }) => self.world.count("reads that failed"),
                Err(Error::PositionExpired { .. }) => self.world.expect_expiry(&self.life),
                Err(error) => return self.world.fail(format!("{}: a read failed: {error:?}", self.life)),
            }
        }
    }

    /// A transaction of any shape, from a snapshot that may be old.
    async fn explicit(&mut self) -> Result<()> {
        let held = self.held.take().filter(|_| self.random.chance(500));
        let snapshot = held.unwrap_or_else(|| self.data.snapshot());
        let mut reads = Vec::new();
        for _ in 0..self.random.below(3) {
            let (collection, key) = self.entry();
            reads.push(self.read_key(&snapshot, collection, key).await?);
        }
        if self.random.chance(250) {
            let scan = self.scan();
            reads.push(self.read_range(&snapshot, scan).await?);
        }
        let groups = if self.random.chance(300) { vec![self.random.pick(&GROUPS).to_string()] } else { vec![] };
        if self.random.chance(300) {
            // Time to think: others are quicker.
            let pause = self.random.millis(0..2_000) * self.world.profile.pace;
            tokio::time::sleep(pause).await;
        }
        let id = self.world.begin(&self.life);
        let mut actions = Vec::new();
        for n in 0..self.random.below(4) {
            actions.push(self.action(id, n, &reads));
        }
        self.commit(id, snapshot.position(), reads, groups, actions).await;
        Ok(())
    }

    /// The same in a closure that is run again when it conflicts.
    async fn closure(&mut self) -> Result<()> {
        let mut last = None;
        let (world, life) = (Arc::clone(&self.world), Arc::clone(&self.life));
        let mut random = Random::new(self.random.next(), 1);
        let keys = self.world.profile.keys;
        let data = self.data.clone();
        let done = data
            .transact(|tx| {
                if let Some(id) = last {
                    world.answer(id, &Err(Error::Conflict { what: "it is tried again".to_owned() }));
                }
                let id = world.begin(&life);
                last = Some(id);
                body(Arc::clone(&world), id, tx, random.clone(), keys, random.next())
            })
            .await;
        let Some(id) = last else { return Ok(()) };
        match done {
            Ok(((), position)) => self.told(id, Ok(position)),
            // A read inside may fail as well.
            Err(error) => self.told(id, Err(error)),
        }
        Ok(())
    }

    /// Two callers may each take one of two, as long as the other one is left.
    async fn skew(&mut self) -> Result<()> {
        let snapshot = self.data.snapshot();
        let reads = if self.random.chance(500) {
            let mut reads = Vec::new();
            for key in ["skew/0", "skew/1"] {
                reads.push(self.read_key(&snapshot, NAMES, key.into()).await?);
            }
            reads
        } else {
            let range = KeyRange::prefix("skew/");
            let scan =
                Scan { collection: NAMES.to_owned(), range, direction: Direction::Descending, limit: usize::MAX };
            vec![self.read_range(&snapshot, scan).await?]
        };
        let present = reads
            .iter()
            .map(|read| match read {
                Read::Key(_, _, value) => usize::from(value.is_some()),
                Read::Range(_, page) => page.entries.len(),
            })
            .sum::<usize>();
        let id = self.world.begin(&self.life);
        let key = Bytes::from(format!("skew/{}", self.random.below(2)));
        let collection = NAMES.to_owned();
        let actions = if present == 2 {
            vec![Action::Delete { collection, key }, self.append(id)]
        } else {
            let other = |key: &'static str| Action::Put {
                collection: NAMES.to_owned(),
                key: key.into(),
                value: value(id, 0, 0),
            };
            vec![other("skew/0"), other("skew/1")]
        };
        self.commit(id, snapshot.position(), reads, Vec::new(), actions).await;
        Ok(())
    }

    /// Takes a name that nobody has, or gives one back.
    async fn claim_name(&mut self) -> Result<()> {
        let snapshot = self.data.snapshot();
        let key = Bytes::from(format!("name/{}", self.random.below(3)));
        let read = self.read_key(&snapshot, NAMES, key.clone()).await?;
        let collection = NAMES.to_owned();
        let id = self.world.begin(&self.life);
        let actions = match &read {
            Read::Key(_, _, Some(_)) => vec![Action::Delete { collection, key }],
            _ => vec![Action::Put { collection, key, value: value(id, 0, 0) }],
        };
        self.commit(id, snapshot.position(), vec![read], Vec::new(), actions).await;
        Ok(())
    }

    /// Decides from what another process was told, which this one may not have seen.
    async fn read_ahead(&mut self) -> Result<()> {
        let position = self.acknowledged();
        let (collection, key) = self.entry();
        let id = self.world.begin(&self.life);
        let actions = if self.random.chance(800) { vec![self.action(id, 0, &[])] } else { Vec::new() };
        let reads = ReadSet { position, keys: vec![(collection.to_owned(), key.clone())], ..ReadSet::default() };
        let lock = KeyRange { start: Bound::Included(key.clone()), end: Bound::Included(key) };
        self.describe_and_commit(id, Transaction { reads, actions }, Vec::new(), vec![(collection.to_owned(), lock)])
            .await;
        Ok(())
    }

    /// Takes a role over, or commits as the leader that it was made.
    async fn lead(&mut self) -> Result<()> {
        if self.candidacy.as_ref().is_some_and(Candidacy::is_lost) {
            self.world.count("leaders whose candidacy was lost");
            (self.leads, self.candidacy) = (None, None);
        }
        let Some(leadership) = self.leads.clone().filter(|_| self.random.chance(800)) else {
            if !self.should_lead().await {
                return Ok(());
            }
            let id = self.world.begin(&self.life);
            // Which epoch it will be is not known yet.
            let action = Action::Put { collection: SYSTEM.to_owned(), key: LEADER.into(), value: Bytes::new() };
            self.world.describe(id, |attempt| attempt.actions = vec![action]);
            let acquired = Leadership::acquire(&self.data, "all", &format!("\"t{id}/leads\"")).await;
            self.world.answer_leader(id, acquired.as_ref().map(Leadership::epoch));
            self.leads = acquired.ok();
            return Ok(());
        };
        let snapshot = self.data.snapshot();
        let (collection, key) = self.entry();
        let read = self.read_key(&snapshot, collection, key.clone()).await?;
        if self.random.chance(500) {
            // Time for others to take over.
            let pause = self.random.millis(0..5_000) * self.world.profile.pace;
            tokio::time::sleep(pause).await;
        }
        let id = self.world.begin(&self.life);
        let actions = vec![self.action(id, 0, std::slice::from_ref(&read)), self.append(id)];
        let position = snapshot.position();
        let reads = ReadSet { position, keys: vec![(collection.to_owned(), key)], ..ReadSet::default() };
        self.world.describe(id, |attempt| {
            attempt.read_at = position;
            attempt.reads = vec![read];
            attempt.actions = actions.clone();
            attempt.epoch = Some(leadership.epoch());
        });
        let answer = leadership.commit(&self.data, &snapshot, Transaction { reads, actions }).await;
        if let Err(Error::TakenOver { .. }) = answer {
            (self.leads, self.candidacy) = (None, None);
        }
        self.told(id, answer);
        Ok(())
    }

    /// Campaigns for a while, if there is somebody to say so. Whoever led before resigns.
    async fn should_lead(&mut self) -> bool {
        let Some(coordinator) = self.coordinator.clone() else { return true };
        (self.leads, self.candidacy) = (None, None);
        let patience = self.random.millis(0..30_000);
        let campaign = tokio::time::timeout(patience, coordinator.campaign("all")).await;
        self.candidacy = campaign.ok().and_then(Result::ok);
        self.candidacy.is_some()
    }

    /// Takes a snapshot and comes back to it.
    async fn hold(&mut self) -> Result<()> {
        let snapshot = match self.held.take() {
            Some(held) => held,
            None if self.random.chance(300) => {
                let position = self.acknowledged();
                match self.data.snapshot_at(position).await {
                    Ok(snapshot) => snapshot,
                    // Pruned from memory and not in a checkpoint, perhaps.
                    Err(Error::PositionExpired { .. }) => return Ok(()),
                    Err(error) => return Err(error),
                }
            }
            None => self.data.snapshot(),
        };
        for _ in 0..self.random.between(1..4) {
            let pause = self.random.millis(0..10_000) * self.world.profile.pace;
            tokio::time::sleep(pause).await;
            let read = if self.random.chance(500) {
                let (collection, key) = self.entry();
                self.read_key(&snapshot, collection, key).await?
            } else {
                let scan = self.scan();
                self.read_range(&snapshot, scan).await?
            };
            self.world.observe(&self.life, snapshot.position(), read);
        }
        self.held = Some(snapshot).filter(|_| self.random.chance(500));
        Ok(())
    }

    async fn read_key(&self, at: &Snapshot, collection: &str, key: Bytes) -> Result<Read> {
        let value = self.data.get(at, collection, &key).await?;
        Ok(Read::Key(collection.to_owned(), key, value))
    }

    async fn read_range(&self, at: &Snapshot, scan: Scan) -> Result<Read> {
        let page = self.data.scan(at, &scan).await?;
        Ok(Read::Range(scan, page))
    }

    async fn commit(
        &mut self,
        id: u64,
        position: Position,
        reads: Vec<Read>,
        groups: Vec<String>,
        actions: Vec<Action>,
    ) {
        let mut set = ReadSet { position, groups, ..ReadSet::default() };
        for read in &reads {
            match read {
                Read::Key(collection, key, _) => set.keys.push((collection.clone(), key.clone())),
                Read::Range(scan, page) => set.ranges.push((scan.collection.clone(), looked_at(scan, page))),
            }
        }
        self.describe_and_commit(id, Transaction { reads: set, actions }, reads, Vec::new()).await;
    }

    async fn describe_and_commit(
        &mut self,
        id: u64,
        mut transaction: Transaction,
        reads: Vec<Read>,
        locks: Vec<(String, KeyRange)>,
    ) {
        let writes_a_value = transaction.actions.iter().any(|action| !matches!(action, Action::Delete { .. }));
        if !writes_a_value && !transaction.changes_nothing() {
            transaction.reads.groups.push(format!("t{id}"));
        }
        self.world.describe(id, |attempt| {
            attempt.read_at = transaction.reads.position;
            attempt.reads = reads;
            attempt.locks = locks;
            attempt.groups = transaction.reads.groups.clone();
            attempt.actions = transaction.actions.clone();
        });
        let patience = if self.random.chance(50) { self.random.millis(0..1_000) } else { Duration::MAX };
        match tokio::time::timeout(patience, self.data.commit(transaction)).await {
            Ok(answer) => self.told(id, answer),
            Err(_) => self.world.gave_up(id),
        }
    }

    /// What is acknowledged is visible.
    fn told(&self, id: u64, answer: Result<Position>) {
        self.world.answer(id, &answer);
        if let Ok(position) = answer
            && self.data.snapshot().position() < position
        {
            self.world.fail(format!("{} does not see its own t{id} at {position}", self.life));
        }
    }

    /// A position of which somebody was told.
    fn acknowledged(&mut self) -> Position {
        let last = self.world.acknowledged();
        match self.random.chance(500) {
            true => last,
            false => Position { lsn: self.random.below(last.lsn + 1), index: 0 },
        }
    }

    fn entry(&mut self) -> (&'static str, Bytes) {
        (self.random.pick(&COLLECTIONS), key(self.random.below(self.world.profile.keys)))
    }

    fn scan(&mut self) -> Scan {
        scan(&mut self.random, self.world.profile.keys)
    }

    fn action(&mut self, id: u64, n: u64, reads: &[Read]) -> Action {
        let mut place = self.entry();
        if let Some(Read::Key(collection, key, _)) = reads.first()
            && self.random.chance(500)
        {
            place = (COLLECTIONS.iter().find(|name| *name == collection).unwrap_or(&"a"), key.clone());
        }
        let (collection, key) = (place.0.to_owned(), place.1);
        match self.random.below(6) {
            0 | 1 => Action::Delete { collection, key },
            2 => self.append(id),
            _ => Action::Put { collection, key, value: value(id, n, self.padding()) },
        }
    }

    fn padding(&mut self) -> usize {
        self.random.below(self.world.profile.padding_max) as usize
    }

    fn append(&self, id: u64) -> Action {
        Action::Append { collection: EVENTS.to_owned(), value: value(id, 9, 0) }
    }
}

/// What a closure does with its transaction.
async fn body(world: Arc<World>, id: u64, tx: Tx, random: Random, keys: u64, salt: u64) -> Result<()> {
    let random = &mut Random::new(salt ^ random.clone().next(), 2);
    let collection: Collection<String> = Collection::new(random.pick(&COLLECTIONS));
    let mut reads = Vec::new();
    let decoded = |value: String| Bytes::from(format!("\"{value}\""));
    if random.chance(700) {
        let key = key(random.below(keys));
        let value = tx.get(&collection, &key).await?.map(decoded);
        reads.push(Read::Key(collection.name().to_owned(), key, value));
    }
    let mut seen = Vec::new();
    if random.chance(400) {
        let Scan { range, direction, limit, .. } = scan(random, keys);
        let entries = tx.scan(&collection, range.clone(), direction, limit).await?;
        let entries: Vec<_> = entries.into_iter().map(|(key, value)| (key, decoded(value))).collect();
        seen = entries.clone();
        // Whether there are more is not said; what was looked at ends with the last one if the page is full.
        let more = entries.len() >= limit;
        let scan = Scan { collection: collection.name().to_owned(), range, direction, limit };
        reads.push(Read::Range(scan, Page { entries, more }));
    }
    let mut writes = BTreeMap::new();
    if let Some((key, _)) = seen.first() {
        tx.delete(&collection, key).await?;
        writes.insert(key.clone(), None);
    }
    for n in 0..random.between(1..3) {
        let key = key(random.below(keys));
        let text = format!("t{id}/{n}");
        tx.put(&collection, &key, &text).await?;
        writes.insert(key, Some(decoded(text)));
    }
    let mut groups = Vec::new();
    if random.chance(200) {
        let group = random.pick(&GROUPS).to_string();
        tx.take_group(group.clone());
        groups.push(group);
    }
    let appends = random.below(2);
    for n in 0..appends {
        tx.append(&Collection::<String>::new(EVENTS), &format!("t{id}/a{n}"))?;
    }
    let name = collection.name().to_owned();
    let writes = writes.into_iter().map(|(key, value)| match value {
        Some(value) => Action::Put { collection: name.clone(), key, value },
        None => Action::Delete { collection: name.clone(), key },
    });
    let appended =
        (0..appends).map(|n| Action::Append { collection: EVENTS.to_owned(), value: decoded(format!("t{id}/a{n}")) });
    world.describe(id, |attempt| {
        attempt.read_at = tx.position();
        attempt.reads = reads;
        attempt.groups = groups;
        attempt.actions = writes.chain(appended).collect();
    });
    Ok(())
}

fn key(n: u64) -> Bytes {
    format!("k{n:02}").into()
}

fn scan(random: &mut Random, keys: u64) -> Scan {
    let (start, end) = (key(random.below(keys)), key(random.below(keys + 1)));
    let range = match random.below(3) {
        0 => KeyRange::all(),
        1 => KeyRange { start: Bound::Included(start), end: Bound::Excluded(end) },
        _ => KeyRange::all().after(start),
    };
    Scan {
        collection: random.pick(&COLLECTIONS).to_string(),
        range,
        direction: random.pick(&[Direction::Ascending, Direction::Descending]),
        limit: random.pick(&[1, 2, usize::MAX, usize::MAX]),
    }
}

/// The part of a range that a page says something about: all of it, or up to its last key.
pub(crate) fn looked_at(scan: &Scan, page: &Page) -> KeyRange {
    let range = scan.range.clone();
    let Some((last, _)) = page.entries.last().filter(|_| page.more) else { return range };
    let last = Bound::Included(last.clone());
    match scan.direction {
        Direction::Ascending => KeyRange { end: last, ..range },
        Direction::Descending => KeyRange { start: last, ..range },
    }
}

/// A value that says who wrote it: JSON, as typed collections read it.
fn value(id: u64, n: u64, padding: usize) -> Bytes {
    // Nothing that can be compressed, so that sizes are what they seem.
    let mut random = Random::new(id, n);
    let padding: String = (0..padding.div_ceil(16)).map(|_| format!("{:016x}", random.next())).collect();
    format!("\"t{id}/{n}/{padding}\"").into()
}

/// The attempt that wrote a value.
pub(crate) fn id_of(value: &[u8]) -> Option<u64> {
    let text = std::str::from_utf8(value).ok()?.strip_prefix("\"t")?;
    text.split_once('/')?.0.parse().ok()
}
