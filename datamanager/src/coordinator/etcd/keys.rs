//! What are the keys in etcd called, and what do they hold?
//!
//! ```text
//! <prefix>/leader/<role>/<lease>   that the holder of the lease wants to lead; gone with the lease
//! <prefix>/announced               "<lsn> <lease>": how far the log had grown, and who said so
//! ```
//!
//! A lease is 16 hexadecimal digits, so it is clear where a role ends, whatever its name.

/// The keys below one prefix.
#[derive(Clone, Debug)]
pub(super) struct Keys {
    prefix: String,
}

/// What a key is about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Key {
    Leader { role: String, lease: i64 },
    Announced,
}

/// What [`Key::Announced`] holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Announcement {
    pub(super) lsn: u64,
    /// Whose it is.
    pub(super) lease: i64,
}

impl Keys {
    pub(super) fn new(prefix: &str) -> Self {
        Self { prefix: format!("{prefix}/") }
    }

    /// What all keys begin with.
    pub(super) fn prefix(&self) -> &str {
        &self.prefix
    }

    pub(super) fn leader(&self, role: &str, lease: i64) -> String {
        format!("{}leader/{role}/{lease:016x}", self.prefix)
    }

    pub(super) fn announced(&self) -> String {
        format!("{}announced", self.prefix)
    }

    /// What the key is about; nothing if it is not ours.
    pub(super) fn parse(&self, key: &[u8]) -> Option<Key> {
        let key = std::str::from_utf8(key).ok()?.strip_prefix(&self.prefix)?;
        if key == "announced" {
            return Some(Key::Announced);
        }
        let (role, lease) = key.strip_prefix("leader/")?.rsplit_once('/')?;
        Some(Key::Leader { role: role.to_owned(), lease: parse_lease(lease)? })
    }
}

impl Announcement {
    pub(super) fn value(self) -> String {
        format!("{} {:016x}", self.lsn, self.lease)
    }

    /// Reads a value; nothing if it is not ours.
    pub(super) fn parse(value: &[u8]) -> Option<Self> {
        let (lsn, lease) = std::str::from_utf8(value).ok()?.split_once(' ')?;
        Some(Self { lsn: lsn.parse().ok()?, lease: parse_lease(lease)? })
    }
}

fn parse_lease(lease: &str) -> Option<i64> {
    let is_ours = lease.len() == 16 && lease.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
    is_ours.then(|| u64::from_str_radix(lease, 16).ok().map(u64::cast_signed)).flatten()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn keys_are_what_they_were() {
        let keys = Keys::new("ci/rundata");
        assert_eq!(keys.leader("cleaner", 0x1f), "ci/rundata/leader/cleaner/000000000000001f");
        assert_eq!(keys.announced(), "ci/rundata/announced");
        assert_eq!(Announcement { lsn: 7, lease: 0x1f }.value(), "7 000000000000001f");
    }

    #[test]
    fn what_is_not_ours_is_nothing() {
        let keys = Keys::new("p");
        for key in ["", "p/", "p/x", "q/announced", "p/announced/x", "p/leader/r", "p/leader/r/1f", "p/leader//"] {
            assert_eq!(keys.parse(key.as_bytes()), None, "{key}");
        }
        assert_eq!(keys.parse(b"p/leader/r/000000000000001F"), None, "a key is written in one way");
        assert_eq!(keys.parse(b"p/leader/\xff/000000000000001f"), None);
        for value in ["", "7", "x 000000000000001f", "7 1f", "-7 000000000000001f", "7 +00000000000001f"] {
            assert_eq!(Announcement::parse(value.as_bytes()), None, "{value}");
        }
    }

    proptest! {
        #[test]
        fn every_role_and_every_lease_is_read_back(role: String, lease: i64, lsn: u64) {
            let keys = Keys::new("p");
            prop_assert_eq!(keys.parse(keys.leader(&role, lease).as_bytes()), Some(Key::Leader { role, lease }));
            let announcement = Announcement { lsn, lease };
            prop_assert_eq!(Announcement::parse(announcement.value().as_bytes()), Some(announcement));
        }

        #[test]
        fn no_bytes_make_it_panic(bytes: Vec<u8>) {
            Keys::new("p").parse(&bytes);
            Announcement::parse(&bytes);
        }
    }
}
