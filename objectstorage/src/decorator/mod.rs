//! What can be put around any storage?
//!
//! A decorator is a storage that holds a storage. They stack in any order, around a storage of one's own as well.

#[cfg(feature = "test-util")]
pub(crate) mod faulty;
pub(crate) mod metrics;
pub(crate) mod prefix;
pub(crate) mod random;
pub(crate) mod retry;

/// Which call of [`ObjectStorage`](crate::ObjectStorage).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum CallKind {
    /// [`head`](crate::ObjectStorage::head)
    Head,
    /// [`get`](crate::ObjectStorage::get)
    Get,
    /// [`put`](crate::ObjectStorage::put)
    Put,
    /// [`delete`](crate::ObjectStorage::delete)
    Delete,
    /// [`list`](crate::ObjectStorage::list)
    List,
}

impl CallKind {
    /// All of them, in the order of their numbers.
    pub const ALL: [Self; 5] = [Self::Head, Self::Get, Self::Put, Self::Delete, Self::List];
}
