//! What are the objects of a store called?
//!
//! The only place that spells their names. All of them are under `<base path>/`, and none is a directory prefix of
//! another, so that storages with real directories hold every store:
//!
//! ```text
//! format                      which format, which store; written once
//! log/<lsn>                   one batch of transactions
//! manifest/<n>                one checkpoint
//! floor/<n>                   where the log begins
//! data/<collection>/<id>      one sorted file of entries
//! ```

use runyard_objectstorage::{ListRequest, ObjectKey};

use crate::{Error, Result};

/// The longest base path, in bytes: what is left for our own names is enough.
const BASE_PATH_BYTES_MAX: usize = 512;

/// The names of the objects of one store.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Layout {
    /// Empty, or ending with a slash.
    prefix: String,
}

impl Layout {
    /// The layout of the store at a base path, which may be empty.
    pub(crate) fn new(base_path: &str) -> Result<Self> {
        if base_path.is_empty() {
            return Ok(Self { prefix: String::new() });
        }
        let refused = |reason: String| Error::Refused { reason };
        ObjectKey::parse(base_path).map_err(|error| refused(format!("the base path cannot be used: {error}")))?;
        if base_path.len() > BASE_PATH_BYTES_MAX {
            return Err(refused(format!("the base path is longer than {BASE_PATH_BYTES_MAX} bytes")));
        }
        Ok(Self { prefix: format!("{base_path}/") })
    }

    /// The base path.
    pub(crate) fn base_path(&self) -> &str {
        self.prefix.strip_suffix('/').unwrap_or_default()
    }

    pub(crate) fn format(&self) -> ObjectKey {
        self.key("format")
    }

    pub(crate) fn log(&self, lsn: u64) -> ObjectKey {
        self.key(&format!("log/{lsn:020}"))
    }

    /// Lists the log objects after a log number.
    pub(crate) fn log_after(&self, lsn: u64) -> ListRequest {
        let start_after = (lsn > 0).then(|| self.log(lsn).as_str().to_owned());
        ListRequest { start_after, ..ListRequest::prefix(format!("{}log/", self.prefix)) }
    }

    /// The log number in the name of a log object; none if it is not one.
    pub(crate) fn lsn_of(&self, key: &ObjectKey) -> Option<u64> {
        let digits = key.as_str().strip_prefix(&self.prefix)?.strip_prefix("log/")?;
        let lsn = digits.parse().ok().filter(|lsn| *lsn > 0)?;
        (self.log(lsn) == *key).then_some(lsn)
    }

    fn key(&self, name: &str) -> ObjectKey {
        ObjectKey::parse(&format!("{}{name}", self.prefix)).expect("a checked base path and our own names make a key")
    }
}

/// The names that checkpoints will use: part of the format from its first version, so that they only get added.
#[cfg(test)]
impl Layout {
    fn manifest(&self, number: u64) -> ObjectKey {
        self.key(&format!("manifest/{number:020}"))
    }

    fn floor(&self, number: u64) -> ObjectKey {
        self.key(&format!("floor/{number:020}"))
    }

    fn data(&self, collection: &str, manifest: u64, file: u32) -> ObjectKey {
        self.key(&format!("data/{}/{manifest:020}-{file:010}", escape(collection)))
    }
}

/// Makes one component of a path of any name: letters, digits, `-` and `_` stay, and dots that are not the first.
#[cfg(test)]
fn escape(name: &str) -> String {
    let mut escaped = String::with_capacity(name.len());
    for (index, byte) in name.bytes().enumerate() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' => escaped.push(char::from(byte)),
            b'.' if index > 0 => escaped.push('.'),
            _ => escaped.push_str(&format!("%{byte:02X}")),
        }
    }
    escaped
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::COLLECTION_NAME_BYTES_MAX;

    fn every_kind_of_key(layout: &Layout) -> Vec<ObjectKey> {
        let mut keys = vec![layout.format()];
        for number in [1, 2, 10, u64::MAX] {
            keys.extend([layout.log(number), layout.manifest(number), layout.floor(number)]);
            for collection in ["a", "a.b", "a/b", "log", "..", ".", "\0", "data", "é", "a%2Fb"] {
                keys.push(layout.data(collection, number, 7));
            }
        }
        keys
    }

    #[test]
    fn no_key_is_a_directory_prefix_of_another_nor_outside_the_base_path() {
        for base_path in ["", "rundata", "ci/data"] {
            let layout = Layout::new(base_path).unwrap();
            assert_eq!(layout.base_path(), base_path);
            let keys = every_kind_of_key(&layout);
            for key in &keys {
                assert!(base_path.is_empty() || key.as_str().starts_with(&format!("{base_path}/")), "{key}");
                let below = format!("{key}/");
                assert!(keys.iter().all(|other| !other.as_str().starts_with(&below)), "{key}");
                assert_eq!(keys.iter().filter(|other| *other == key).count(), 1, "{key}");
            }
        }
    }

    #[test]
    fn the_longest_names_fit_in_a_key_and_in_a_path_component() {
        let layout = Layout::new(&"b".repeat(BASE_PATH_BYTES_MAX)).unwrap();
        let key = layout.data(&"/".repeat(COLLECTION_NAME_BYTES_MAX), u64::MAX, u32::MAX);
        assert!(key.components().skip(1).all(|component| component.len() <= 255));
    }

    #[test]
    fn log_numbers_are_read_back_from_names_of_exactly_our_form() {
        for base_path in ["", "base"] {
            let layout = Layout::new(base_path).unwrap();
            for lsn in [1, 9, 10, u64::MAX] {
                assert_eq!(layout.lsn_of(&layout.log(lsn)), Some(lsn));
            }
            for name in ["log/1", "log/00000000000000000000", "log/+0000000000000000001", "logs/00000000000000000001"] {
                assert_eq!(layout.lsn_of(&layout.key(name)), None, "{name}");
            }
            assert_eq!(layout.lsn_of(&ObjectKey::parse("x/log/00000000000000000001").unwrap()), None);
        }
    }

    #[test]
    fn a_listing_of_the_log_never_sees_a_neighbour() {
        let layout = Layout::new("run").unwrap();
        let request = layout.log_after(0);
        assert_eq!((request.prefix.as_str(), request.start_after), ("run/log/", None));
        assert_eq!(layout.log_after(7).start_after.as_deref(), Some("run/log/00000000000000000007"));
    }

    #[test]
    fn a_bad_base_path_is_refused() {
        let long = "b".repeat(BASE_PATH_BYTES_MAX + 1);
        for base_path in ["/", "/a", "a/", "a//b", "..", "a/../b", long.as_str()] {
            let error = Layout::new(base_path).expect_err(base_path);
            assert!(error.to_string().contains("base path"), "{error}");
        }
    }
}
