//! Is each key by itself linearizable? A search that looks at no position.
//!
//! That of Wing and Gong, with the memory of Lowe: an order of the operations on a key is built from the front. Next may
//! come whatever began before the first of the others was answered; if that cannot have read what it did, it is another
//! one's turn. Where an order was led to before by another way, it is not followed again. What is unknown may come at any
//! time after it began, or never.
//!
//! Where a store is right this takes about one step per operation, as long as values differ.

use std::{
    collections::{BTreeMap, HashMap, HashSet},
    time::Duration,
};

use bytes::Bytes;

use super::{Operation, Outcome, Violation, violation::Entry};
use crate::Action;

/// After how many steps it is given up for a key: some seconds.
const STEPS_MAX: usize = 2_000_000;

/// What an operation did to one key. Values are numbered.
#[derive(Clone, Copy, Debug)]
struct Access {
    operation: usize,
    invoked: Duration,
    /// When it was answered; none: it may be committed at any time, or not at all.
    returned: Option<Duration>,
    read: Option<u32>,
    written: Option<u32>,
}

/// How far an order is. The front of what was answered, as far as it is whole, is only counted: so this is small.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
struct Order {
    /// Everything before is in the order.
    front: u32,
    /// What is in it beyond.
    ahead: Vec<u32>,
    /// What is in it of the unknown.
    unknown: Vec<u32>,
    /// The value that is there now.
    value: u32,
}

/// Checks every key that was read or put or deleted, and says how many there are.
pub(super) fn check(operations: &[Operation], violations: &mut Vec<Violation>) -> usize {
    let keys = accesses(operations);
    let number = keys.len();
    for ((collection, key), accesses) in keys {
        let entry = Entry::new(collection, key);
        match search(&accesses) {
            Found::Order => {}
            Found::None { operation } => violations.push(Violation::NotLinearizable { entry, operation }),
            Found::TooMany => violations.push(Violation::Undecided { entry, steps: STEPS_MAX }),
        }
    }
    number
}

type Name<'a> = (&'a str, &'a Bytes);

/// What was done to one key, and the numbers of its values.
#[derive(Debug, Default)]
struct OfKey<'a> {
    numbers: HashMap<&'a Bytes, u32>,
    accesses: Vec<Access>,
}

/// What one operation did to a key: the value that it read, and the one that it wrote last.
#[derive(Debug, Default)]
struct Touched<'a> {
    read: Option<Option<&'a Bytes>>,
    written: Option<Option<&'a Bytes>>,
}

fn accesses(operations: &[Operation]) -> BTreeMap<Name<'_>, Vec<Access>> {
    let mut keys: BTreeMap<Name<'_>, OfKey<'_>> = BTreeMap::new();
    for (operation, asked) in operations.iter().enumerate() {
        let returned = match asked.outcome {
            Outcome::Acknowledged { returned, .. } => Some(returned),
            Outcome::Unknown => None,
            Outcome::Conflict | Outcome::Failed => continue,
        };
        // Of others, who only reads without having looked hears late.
        if asked.writes.is_empty() && (!asked.caught_up || returned.is_none()) {
            continue;
        }
        let mut touched: BTreeMap<Name<'_>, Touched<'_>> = BTreeMap::new();
        for read in &asked.reads {
            touched.entry((&read.collection, &read.key)).or_default().read = Some(read.value.as_ref());
        }
        for action in &asked.writes {
            let (entry, value) = match action {
                Action::Put { collection, key, value } => ((collection.as_str(), key), Some(value)),
                Action::Delete { collection, key } => ((collection.as_str(), key), None),
                // Nobody else knows its key.
                Action::Append { .. } => continue,
            };
            touched.entry(entry).or_default().written = Some(value);
        }
        for (name, Touched { read, written }) in touched {
            let OfKey { numbers, accesses } = keys.entry(name).or_default();
            let read = read.map(|value| number(numbers, value));
            let written = written.map(|value| number(numbers, value));
            accesses.push(Access { operation, invoked: asked.invoked, returned, read, written });
        }
    }
    keys.into_iter().map(|(name, of_key)| (name, of_key.accesses)).collect()
}

/// The number of a value; 0 is that of none.
fn number<'a>(numbers: &mut HashMap<&'a Bytes, u32>, value: Option<&'a Bytes>) -> u32 {
    let next = numbers.len() as u32 + 1;
    value.map_or(0, |value| *numbers.entry(value).or_insert(next))
}

enum Found {
    Order,
    /// There is none; the furthest one comes up to this operation.
    None {
        operation: usize,
    },
    TooMany,
}

fn search(accesses: &[Access]) -> Found {
    let (mut known, mut unknown): (Vec<_>, Vec<_>) = accesses.iter().partition(|access| access.returned.is_some());
    known.sort_by_key(|access: &Access| access.invoked);
    unknown.sort_by_key(|access: &Access| access.invoked);
    let mut open = vec![Order::default()];
    let mut seen = HashSet::new();
    let mut furthest = 0;
    for _ in 0..STEPS_MAX {
        let Some(mut order) = open.pop() else {
            let access = known.get(furthest).or(known.last());
            return Found::None { operation: access.map_or(0, |access| access.operation) };
        };
        while let Some(reader) = sure_next(&order, &known) {
            order.take(reader);
        }
        furthest = furthest.max(order.front as usize);
        if order.front as usize == known.len() {
            return Found::Order;
        }
        if seen.insert(order.clone()) {
            push_next(&order, &known, &unknown, &mut open);
        }
    }
    Found::TooMany
}

/// One that only read, and read what is there: to take it now rules nothing out.
fn sure_next(order: &Order, known: &[Access]) -> Option<u32> {
    candidates(order, known).find(|next| {
        let access = known[*next as usize];
        access.written.is_none() && access.read == Some(order.value)
    })
}

/// Puts on top what is most likely to be next: those that are answered first, and before the unknown.
fn push_next(order: &Order, known: &[Access], unknown: &[Access], open: &mut Vec<Order>) {
    let latest = candidates(order, known).map(|next| known[next as usize].returned).min().flatten();
    for (next, access) in (0..).zip(unknown) {
        let began = latest.is_none_or(|latest| access.invoked <= latest);
        if began && !order.unknown.contains(&next) && order.explains(access) {
            let mut longer = order.clone();
            longer.unknown.push(next);
            longer.unknown.sort_unstable();
            longer.value = access.written.unwrap_or(order.value);
            open.push(longer);
        }
    }
    let mut next: Vec<_> = candidates(order, known).filter(|next| order.explains(&known[*next as usize])).collect();
    next.sort_by_key(|next| std::cmp::Reverse(known[*next as usize].returned));
    for next in next {
        let mut longer = order.clone();
        longer.value = known[next as usize].written.unwrap_or(order.value);
        longer.take(next);
        open.push(longer);
    }
}

/// What may come next: whatever began before the first of what is left was answered.
fn candidates<'a>(order: &'a Order, known: &'a [Access]) -> impl Iterator<Item = u32> + 'a {
    let mut first_answer = Duration::MAX;
    (order.front..known.len() as u32).filter(|next| order.ahead.binary_search(next).is_err()).take_while(move |next| {
        let access = &known[*next as usize];
        let began = access.invoked <= first_answer;
        first_answer = first_answer.min(access.returned.unwrap_or(Duration::MAX));
        began
    })
}

impl Order {
    fn explains(&self, access: &Access) -> bool {
        access.read.is_none_or(|read| read == self.value)
    }

    fn take(&mut self, next: u32) {
        let place = self.ahead.partition_point(|taken| *taken < next);
        self.ahead.insert(place, next);
        let whole = (self.front..).zip(&self.ahead).take_while(|(expected, taken)| expected == *taken).count();
        self.ahead.drain(..whole);
        self.front += whole as u32;
    }
}
