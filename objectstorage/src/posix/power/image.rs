//! What may be on a disk after a power loss?
//!
//! Plain data in, plain data out. The rules are those of POSIX, which are harsher than most filesystems:
//!
//! - What was written to a file and not synced may be missing, be zeroes, or end half way.
//! - An entry of a directory is as it was at the directory's last sync, or as any change since then made it, each entry
//!   for itself: a rename may have taken away the old name and not given the new one, or the other way round.
//! - What the entry of a directory says nothing about is gone, however often it was synced itself.
//! - What a failed sync should have written stays in doubt, whatever later syncs say.

use std::collections::BTreeMap;

/// A file or a directory, by the order of their making; the first is the directory that everything is in.
pub(super) type NodeId = usize;

/// A name in a directory.
pub(super) type Slot = (NodeId, String);

/// What one call did.
#[derive(Clone, Debug)]
pub(super) enum Effect {
    CreateFile(Slot),
    CreateDirectory(Slot),
    Append(NodeId, Vec<u8>),
    Sync(NodeId),
    FailedSync(NodeId),
    Rename(Slot, Slot),
    Link(NodeId, Slot),
    Remove(Slot),
}

/// What is in the memory of the machine, and how much of it is certain to be on the disk.
#[derive(Clone, Debug)]
pub(super) struct Image {
    nodes: Vec<Node>,
}

#[derive(Clone, Debug)]
enum Node {
    File { bytes: Vec<u8>, synced: usize, is_in_doubt: bool },
    Directory(BTreeMap<String, Versions>),
}

/// What an entry may lead to after a power loss: the oldest as of the last sync, the newest as it is in memory.
#[derive(Clone, Debug)]
struct Versions {
    all: Vec<Option<NodeId>>,
    /// How many there were when a sync failed: no later sync settles what is among them.
    in_doubt: usize,
}

/// Something that is not certain to be on the disk.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Doubt {
    Content(NodeId),
    Entry(Slot),
}

/// How many ways there are in which the content of a file may have survived; see [`survived`].
const CONTENTS: usize = 4;

impl Image {
    pub(super) fn new() -> Self {
        Self { nodes: vec![Node::Directory(BTreeMap::new())] }
    }

    pub(super) fn apply(&mut self, effect: &Effect) {
        match effect {
            Effect::CreateFile(slot) => {
                self.nodes.push(Node::File { bytes: Vec::new(), synced: 0, is_in_doubt: false });
                self.set(slot, Some(self.nodes.len() - 1));
            }
            Effect::CreateDirectory(slot) => {
                self.nodes.push(Node::Directory(BTreeMap::new()));
                self.set(slot, Some(self.nodes.len() - 1));
            }
            Effect::Append(file, appended) => {
                if let Node::File { bytes, .. } = &mut self.nodes[*file] {
                    bytes.extend(appended);
                }
            }
            Effect::Sync(node) => match &mut self.nodes[*node] {
                Node::File { bytes, synced, is_in_doubt } if !*is_in_doubt => *synced = bytes.len(),
                Node::File { .. } => {}
                Node::Directory(entries) => entries.values_mut().for_each(Versions::settle),
            },
            Effect::FailedSync(node) => match &mut self.nodes[*node] {
                Node::File { bytes, synced, is_in_doubt } => *is_in_doubt = *synced < bytes.len(),
                Node::Directory(entries) => entries.values_mut().for_each(Versions::doubt),
            },
            Effect::Rename(from, to) => {
                let node = self.get(from);
                self.set(from, None);
                self.set(to, node);
            }
            Effect::Link(node, slot) => self.set(slot, Some(*node)),
            Effect::Remove(slot) => self.set(slot, None),
        }
    }

    /// What an entry leads to now.
    pub(super) fn get(&self, (directory, name): &Slot) -> Option<NodeId> {
        match &self.nodes[*directory] {
            Node::Directory(entries) => entries.get(name).and_then(Versions::newest),
            Node::File { .. } => None,
        }
    }

    /// How many files and directories there ever were.
    pub(super) fn len(&self) -> usize {
        self.nodes.len()
    }

    fn set(&mut self, (directory, name): &Slot, node: Option<NodeId>) {
        if let Node::Directory(entries) = &mut self.nodes[*directory] {
            let versions = entries.entry(name.clone());
            versions.or_insert_with(|| Versions { all: vec![None], in_doubt: 0 }).all.push(node);
        }
    }

    /// What is in doubt, and how many ways there are for each; the last way is that it has survived.
    pub(super) fn doubts(&self) -> Vec<(Doubt, usize)> {
        let mut doubts = Vec::new();
        for (id, node) in self.nodes.iter().enumerate() {
            match node {
                Node::File { bytes, synced, .. } if *synced < bytes.len() => {
                    doubts.push((Doubt::Content(id), CONTENTS));
                }
                Node::File { .. } => {}
                Node::Directory(entries) => doubts.extend(
                    entries
                        .iter()
                        .filter(|(_, versions)| versions.all.len() > 1)
                        .map(|(name, versions)| (Doubt::Entry((id, name.clone())), versions.all.len())),
                ),
            }
        }
        doubts
    }

    /// What is found on the disk, if `ways` say how each doubt came out; of others the last way.
    pub(super) fn tree(&self, ways: &BTreeMap<Doubt, usize>) -> BTreeMap<String, Option<Vec<u8>>> {
        let mut tree = BTreeMap::new();
        self.collect(0, "", ways, &mut tree);
        tree
    }

    fn collect(
        &self,
        directory: NodeId,
        path: &str,
        ways: &BTreeMap<Doubt, usize>,
        tree: &mut BTreeMap<String, Option<Vec<u8>>>,
    ) {
        let Node::Directory(entries) = &self.nodes[directory] else { return };
        for (name, versions) in entries {
            let way = ways.get(&Doubt::Entry((directory, name.clone()))).copied();
            let Some(node) = way.map_or_else(|| versions.newest(), |way| versions.all[way]) else { continue };
            let path = format!("{path}{name}");
            match &self.nodes[node] {
                Node::File { bytes, synced, .. } => {
                    let way = ways.get(&Doubt::Content(node)).copied().unwrap_or(CONTENTS - 1);
                    tree.insert(path, Some(survived(bytes, *synced, way)));
                }
                Node::Directory(_) => {
                    tree.insert(path.clone(), None);
                    self.collect(node, &format!("{path}/"), ways, tree);
                }
            }
        }
    }
}

fn survived(bytes: &[u8], synced: usize, way: usize) -> Vec<u8> {
    let mut bytes = bytes.to_vec();
    match way {
        0 => bytes.truncate(synced),
        1 => bytes[synced..].fill(0),
        2 => bytes.truncate(synced + (bytes.len() - synced) / 2),
        _ => {}
    }
    bytes
}

impl Versions {
    fn newest(&self) -> Option<NodeId> {
        self.all.last().copied().flatten()
    }

    fn settle(&mut self) {
        if self.all.len() > self.in_doubt {
            *self = Self { all: vec![self.newest()], in_doubt: 0 };
        }
    }

    fn doubt(&mut self) {
        if self.all.len() > 1 {
            self.in_doubt = self.all.len();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn slot(directory: NodeId, name: &str) -> Slot {
        (directory, name.to_owned())
    }

    /// Every tree that there may be, as `path` or `path=content`.
    fn trees(effects: &[Effect]) -> Vec<String> {
        let mut image = Image::new();
        effects.iter().for_each(|effect| image.apply(effect));
        let mut all = vec![BTreeMap::new()];
        for (doubt, ways) in image.doubts() {
            all = all
                .iter()
                .flat_map(|chosen| {
                    let doubt = &doubt;
                    (0..ways).map(move |way| {
                        let mut chosen = chosen.clone();
                        chosen.insert(doubt.clone(), way);
                        chosen
                    })
                })
                .collect();
        }
        let show = |(path, bytes): (&String, &Option<Vec<u8>>)| match bytes {
            Some(bytes) => format!("{path}={}", String::from_utf8_lossy(bytes).replace('\0', "0")),
            None => format!("{path}/"),
        };
        let mut trees: Vec<_> =
            all.iter().map(|ways| image.tree(ways).iter().map(show).collect::<Vec<_>>().join(" ")).collect();
        trees.sort();
        trees.dedup();
        trees
    }

    #[test]
    fn what_was_not_synced_is_in_doubt() {
        use Effect::{Append, CreateDirectory, CreateFile, FailedSync, Remove, Rename, Sync};
        let create = [CreateFile(slot(0, "a")), Append(1, b"12".to_vec())];
        let with = |more: &[Effect]| trees(&[&create[..], more].concat());
        assert_eq!(with(&[]), ["", "a=", "a=00", "a=1", "a=12"]);
        assert_eq!(with(&[Sync(1)]), ["", "a=12"], "the content and not the name");
        assert_eq!(with(&[Sync(0)]), ["a=", "a=00", "a=1", "a=12"], "the name and not the content");
        assert_eq!(with(&[Sync(1), Sync(0)]), ["a=12"]);
        assert_eq!(with(&[FailedSync(1), Sync(1), Sync(0)]), ["a=", "a=00", "a=1", "a=12"]);
        assert_eq!(with(&[Sync(1), FailedSync(0), Sync(0)]), ["", "a=12"]);
        assert_eq!(with(&[Sync(1), Sync(0), Remove(slot(0, "a"))]), ["", "a=12"]);
        let moved = [Sync(1), Sync(0), Rename(slot(0, "a"), slot(0, "b"))];
        assert_eq!(with(&moved), ["", "a=12", "a=12 b=12", "b=12"]);
        let below = [CreateDirectory(slot(0, "d")), CreateFile(slot(1, "a")), Sync(2), Sync(1)];
        assert_eq!(trees(&below), ["", "d/ d/a="], "a synced directory without a name");
    }
}
