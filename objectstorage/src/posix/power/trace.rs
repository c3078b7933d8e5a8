//! What did the calls do, and which syncs only seemed to?

use std::{
    collections::HashMap,
    ffi::OsStr,
    path::Path,
    sync::{Mutex, MutexGuard},
};

use rustix::{
    fd::{AsFd, BorrowedFd},
    fs::{AtFlags, fstat, stat, statat},
    io::Errno,
};

use super::{
    super::calls::{Call, Entry, Syncing},
    image::{Effect, Image, NodeId, Slot},
};

/// What becomes of a sync.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SyncVerdict {
    /// It is made.
    Make,
    /// It reports success and is not made: the mistake of a program that leaves it out.
    Drop,
    /// It fails, and what it should have written may never be.
    Fail,
}

type Plan = Box<dyn FnMut(Syncing) -> SyncVerdict + Send>;

/// Records the calls of one or more storages below one directory.
pub(in crate::posix) struct Trace {
    state: Mutex<State>,
}

struct State {
    effects: Vec<Effect>,
    /// What the effects come to.
    image: Image,
    /// Which file or directory has which number on the real disk.
    nodes: HashMap<(u64, u64), NodeId>,
    syncs: usize,
    plan: Plan,
    has_exclusive_rename: bool,
}

impl Trace {
    /// `base` is taken to be empty and on the disk.
    pub(super) fn new(base: &Path) -> Result<Self, Errno> {
        let found = stat(base)?;
        let state = State {
            effects: Vec::new(),
            image: Image::new(),
            nodes: HashMap::from([((found.st_dev, found.st_ino), 0)]),
            syncs: 0,
            plan: Box::new(|_| SyncVerdict::Make),
            has_exclusive_rename: true,
        };
        Ok(Self { state: Mutex::new(state) })
    }

    /// Makes a call and records what it did. One at a time, so that the order is the real one.
    pub(in crate::posix) fn watch<T, E: From<Errno>>(
        &self,
        call: Call<'_>,
        make: impl FnOnce() -> Result<T, E>,
    ) -> Result<T, E> {
        let mut state = self.state();
        if let Call::Rename { is_exclusive: true, .. } = call
            && !state.has_exclusive_rename
        {
            return Err(Errno::INVAL.into());
        }
        if let Call::Sync { what, syncing } = call {
            state.syncs += 1;
            let node = state.node_of(what);
            match (state.plan)(syncing) {
                SyncVerdict::Make => {}
                // The real disk may as well be safe; what counts is that nothing was recorded.
                SyncVerdict::Drop => return make(),
                SyncVerdict::Fail => {
                    state.record(node.map(Effect::FailedSync));
                    return Err(Errno::IO.into());
                }
            }
        }
        // What a name leads to is only known before it is changed.
        let effect = state.effect_of(call);
        let made = make()?;
        state.record(effect);
        state.learn(call);
        Ok(made)
    }

    /// How many calls had an effect so far.
    pub(super) fn len(&self) -> usize {
        self.state().effects.len()
    }

    pub(super) fn syncs(&self) -> usize {
        self.state().syncs
    }

    pub(super) fn plan(&self, plan: Plan) {
        self.state().plan = plan;
    }

    pub(super) fn without_exclusive_rename(&self) {
        self.state().has_exclusive_rename = false;
    }

    /// What the first `calls` come to.
    pub(super) fn image_after(&self, calls: usize) -> Image {
        let mut image = Image::new();
        self.state().effects[..calls].iter().for_each(|effect| image.apply(effect));
        image
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("the lock is never poisoned: a panic under it fails the test")
    }
}

impl State {
    fn record(&mut self, effect: Option<Effect>) {
        if let Some(effect) = effect {
            self.image.apply(&effect);
            self.effects.push(effect);
        }
    }

    /// `None` for what is outside of the directory that is watched, or was put there by somebody else.
    fn effect_of(&self, call: Call<'_>) -> Option<Effect> {
        match call {
            // It may be there already.
            Call::CreateFile(entry) => {
                let slot = self.slot(entry)?;
                self.image.get(&slot).is_none().then_some(Effect::CreateFile(slot))
            }
            Call::CreateDirectory(entry) => Some(Effect::CreateDirectory(self.slot(entry)?)),
            Call::Write { file, pieces } => Some(Effect::Append(self.node_of(file)?, pieces.concat())),
            Call::Sync { what, .. } => Some(Effect::Sync(self.node_of(what)?)),
            Call::Rename { from, to, .. } => Some(Effect::Rename(self.slot(from)?, self.slot(to)?)),
            Call::Link { from, to } => Some(Effect::Link(self.image.get(&self.slot(from)?)?, self.slot(to)?)),
            Call::Remove(entry) => Some(Effect::Remove(self.slot(entry)?)),
        }
    }

    /// Numbers are used again, so the newest holder of one counts.
    fn learn(&mut self, call: Call<'_>) {
        if let Call::CreateFile(Entry { directory, name }) | Call::CreateDirectory(Entry { directory, name }) = call
            && let Some(Effect::CreateFile(slot) | Effect::CreateDirectory(slot)) = self.effects.last()
            && self.node_of(directory) == Some(slot.0)
            && OsStr::new(&slot.1) == name
            && let Ok(found) = statat(directory, name, AtFlags::SYMLINK_NOFOLLOW)
        {
            self.nodes.insert((found.st_dev, found.st_ino), self.image.len() - 1);
        }
    }

    fn slot(&self, entry: Entry<'_>) -> Option<Slot> {
        Some((self.node_of(entry.directory)?, entry.name.to_str()?.to_owned()))
    }

    fn node_of(&self, fd: BorrowedFd<'_>) -> Option<NodeId> {
        let found = fstat(fd.as_fd()).ok()?;
        self.nodes.get(&(found.st_dev, found.st_ino)).copied()
    }
}
