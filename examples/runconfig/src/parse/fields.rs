//! Reading maps and lists: which keys are known, which occur twice, which are typing errors?

use std::collections::{HashMap, hash_map::Entry};

use super::{At, Reader};
use crate::{
    node::{Key, Node, NodeKind},
    suggest,
};

/// The entries of a map whose keys are known beforehand.
#[derive(Debug)]
pub(super) struct Fields<'n> {
    at: At<'n>,
    entries: Vec<(&'static str, &'n Node)>,
}

impl<'n> Fields<'n> {
    /// The value of a key; what is absent or null is `None`.
    pub(super) fn get(&self, key: &'static str) -> Option<At<'n>> {
        self.get_any(key).filter(|at| at.node.kind != NodeKind::Null)
    }

    /// The value of a key, even if it is null.
    pub(super) fn get_any(&self, key: &'static str) -> Option<At<'n>> {
        let (_, node) = self.entries.iter().find(|(name, _)| *name == key)?;
        Some(self.at.key(key, node))
    }

    /// Whether no key at all was written.
    pub(super) fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }
}

/// The keys that a map may have.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Known {
    /// In every version.
    pub(crate) always: &'static [&'static str],
    /// Only from `v1`.
    pub(crate) v1: &'static [&'static str],
}

impl Known {
    pub(super) const fn always(keys: &'static [&'static str]) -> Self {
        Self { always: keys, v1: &[] }
    }
}

impl<'f> Reader<'f> {
    /// Reads a map with known keys, and reports every key that is not known or occurs twice.
    pub(super) fn fields<'n>(&mut self, at: &At<'n>, known: Known) -> Option<Fields<'n>> {
        let entries = self.entries(at)?;
        let mut fields = Fields { at: at.clone(), entries: Vec::new() };
        for (key, value) in entries {
            let Some(name) = self.known_key(at, key, known) else { continue };
            match fields.entries.iter_mut().find(|(other, _)| *other == name) {
                Some(entry) => {
                    self.duplicate(at, key);
                    entry.1 = value;
                }
                None => fields.entries.push((name, value)),
            }
        }
        Some(fields)
    }

    fn known_key(&mut self, at: &At<'_>, key: &Key, known: Known) -> Option<&'static str> {
        let v1 = self.v1();
        let mut allowed = known.always.iter().chain(if v1 { known.v1 } else { &[] }).copied();
        if let Some(name) = allowed.clone().find(|name| *name == key.text) {
            return Some(name);
        }
        if let Some(name) = allowed.clone().find(|name| !v1 && name.eq_ignore_ascii_case(&key.text)) {
            let message = format!("the key `{}` is written with other capitals", key.text);
            self.lapse(key.position, &at.path, message, &format!("write `{name}`"));
            return Some(name);
        }
        let hint = if known.v1.contains(&key.text.as_str()) {
            "this key needs `version: v1` at the top of the file".to_owned()
        } else if let Some(name) = suggest::nearest(&key.text, allowed.clone()) {
            format!("did you mean `{name}`?")
        } else {
            let names: Vec<_> = allowed.by_ref().collect();
            format!("known here: {}", names.join(", "))
        };
        self.lapse(key.position, &at.path, format!("unknown key `{}`", key.text), &hint);
        None
    }

    fn duplicate(&mut self, at: &At<'_>, key: &Key) {
        let message = format!("the key `{}` occurs twice", key.text);
        self.lapse(key.position, &at.path, message, "the last one counts: remove the other");
    }

    /// Reads a map whose keys are free, such as the names of variables. Of two equal keys, the last counts.
    pub(super) fn free_map<'n>(&mut self, at: &At<'n>) -> Vec<(&'n Key, At<'n>)> {
        let mut result: Vec<(&'n Key, At<'n>)> = Vec::new();
        let mut indexes = HashMap::new();
        for (key, value) in self.entries(at).unwrap_or_default() {
            let value = at.key(&key.text, value);
            match indexes.entry(key.text.as_str()) {
                Entry::Occupied(index) => {
                    self.duplicate(at, key);
                    result[*index.get()] = (key, value);
                }
                Entry::Vacant(index) => {
                    index.insert(result.len());
                    result.push((key, value));
                }
            }
        }
        result
    }

    fn entries<'n>(&mut self, at: &At<'n>) -> Option<&'n [(Key, Node)]> {
        match &at.node.kind {
            NodeKind::Map(entries) => Some(entries),
            _ => {
                let message = format_args!("expected a map, found {}", at.node.describe());
                self.error(at, message, "write `key: value` lines, indented below the key that they belong to");
                None
            }
        }
    }

    /// Reads a list; anything else is reported and read as an empty one.
    pub(super) fn list<'n>(&mut self, at: &At<'n>) -> Vec<At<'n>> {
        match &at.node.kind {
            NodeKind::List(items) => items.iter().enumerate().map(|(index, item)| at.index(index, item)).collect(),
            _ => {
                self.error(
                    at,
                    format_args!("expected a list, found {}", at.node.describe()),
                    "begin every item with `- `",
                );
                Vec::new()
            }
        }
    }
}
