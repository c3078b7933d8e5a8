//! What does a merge key bring (yaml.org/type/merge.html)? Pure.

use std::collections::HashSet;

use crate::node::{Key, Node, NodeKind, Position};

/// The entries of a map while it is read: its own, and those of its merge keys.
#[derive(Debug, Default)]
pub(super) struct Entries {
    own: Vec<(Key, Node)>,
    merged: Vec<(Key, Node)>,
}

impl Entries {
    pub(super) fn push(&mut self, key: Key, value: Node) {
        self.own.push((key, value));
    }

    /// Adds what a merge key brings: the entries of a map, or of a list of maps.
    pub(super) fn merge(&mut self, value: Node) -> Result<(), (Position, String)> {
        match value.kind {
            NodeKind::Map(entries) => self.merged.extend(entries),
            NodeKind::List(items) => {
                for item in items {
                    match item.kind {
                        NodeKind::Map(entries) => self.merged.extend(entries),
                        _ => return Err((item.position, format!("`<<` takes maps, and this is {}", item.describe()))),
                    }
                }
            }
            NodeKind::Null => {}
            _ => return Err((value.position, format!("`<<` takes a map, and this is {}", value.describe()))),
        }
        Ok(())
    }

    /// All of them: its own win, and of the merged ones the first.
    pub(super) fn finish(self) -> Vec<(Key, Node)> {
        let Self { mut own, merged } = self;
        if !merged.is_empty() {
            let mut seen: HashSet<String> = own.iter().map(|(key, _)| key.text.clone()).collect();
            own.extend(merged.into_iter().filter(|(key, _)| seen.insert(key.text.clone())));
        }
        own
    }
}
