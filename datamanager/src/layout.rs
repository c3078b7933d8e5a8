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
//! data/<collection>/<id>      one sorted file of entries; `<id>` begins with the number of the manifest it is for
//! ```

use runyard_objectstorage::{ListRequest, ObjectKey};

use crate::{Error, Result, manifest::FileId};

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
        self.numbered_after("log/", lsn)
    }

    /// The log number in the name of a log object; none if it is not one.
    pub(crate) fn lsn_of(&self, key: &ObjectKey) -> Option<u64> {
        self.number_of("log/", key)
    }

    pub(crate) fn manifest(&self, number: u64) -> ObjectKey {
        self.key(&format!("manifest/{number:020}"))
    }

    /// Lists the manifests after a number.
    pub(crate) fn manifests_after(&self, number: u64) -> ListRequest {
        self.numbered_after("manifest/", number)
    }

    /// The number in the name of a manifest; none if it is not one.
    pub(crate) fn manifest_number_of(&self, key: &ObjectKey) -> Option<u64> {
        self.number_of("manifest/", key)
    }

    pub(crate) fn floor(&self, number: u64) -> ObjectKey {
        self.key(&format!("floor/{number:020}"))
    }

    /// Lists the floors after a number.
    pub(crate) fn floors_after(&self, number: u64) -> ListRequest {
        self.numbered_after("floor/", number)
    }

    /// The number in the name of a floor; none if it is not one.
    pub(crate) fn floor_number_of(&self, key: &ObjectKey) -> Option<u64> {
        self.number_of("floor/", key)
    }

    pub(crate) fn data(&self, collection: &str, file: FileId) -> ObjectKey {
        self.key(&format!("data/{}/{}", escape(collection), file_name(file)))
    }

    /// Lists the data files of all collections.
    pub(crate) fn all_data(&self) -> ListRequest {
        ListRequest::prefix(format!("{}data/", self.prefix))
    }

    /// The id in the name of a data file; none if it is not one.
    pub(crate) fn file_id_of(&self, key: &ObjectKey) -> Option<FileId> {
        let (collection, id) = key.as_str().strip_prefix(&self.prefix)?.strip_prefix("data/")?.split_once('/')?;
        let (manifest, rest) = id.split_once('-')?;
        let (writer, number) = rest.split_once('-')?;
        let writer = u64::from_str_radix(writer, 16).ok()?;
        let file = FileId { manifest: manifest.parse().ok()?, writer, number: number.parse().ok()? };
        let name = self.key(&format!("data/{collection}/{}", file_name(file)));
        (file.manifest > 0 && name == *key).then_some(file)
    }

    /// Lists everything under the base path.
    pub(crate) fn everything(&self) -> ListRequest {
        ListRequest::prefix(self.prefix.clone())
    }

    fn numbered_after(&self, directory: &str, number: u64) -> ListRequest {
        let directory = format!("{}{directory}", self.prefix);
        let start_after = (number > 0).then(|| format!("{directory}{number:020}"));
        ListRequest { start_after, ..ListRequest::prefix(directory) }
    }

    fn number_of(&self, directory: &str, key: &ObjectKey) -> Option<u64> {
        let digits = key.as_str().strip_prefix(&self.prefix)?.strip_prefix(directory)?;
        let number = digits.parse().ok().filter(|number| *number > 0)?;
        (self.key(&format!("{directory}{number:020}")) == *key).then_some(number)
    }

    fn key(&self, name: &str) -> ObjectKey {
        ObjectKey::parse(&format!("{}{name}", self.prefix)).expect("a checked base path and our own names make a key")
    }
}

fn file_name(file: FileId) -> String {
    let FileId { manifest, writer, number } = file;
    format!("{manifest:020}-{writer:016x}-{number:010}")
}

/// Makes one component of a path of any name: letters, digits, `-` and `_` stay, and dots that are not the first.
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
                let file = FileId { manifest: number, writer: number, number: 7 };
                keys.push(layout.data(collection, file));
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
        let key = layout.data(
            &"/".repeat(COLLECTION_NAME_BYTES_MAX),
            FileId { manifest: u64::MAX, writer: u64::MAX, number: u32::MAX },
        );
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
    fn a_data_file_is_known_by_its_name_and_nothing_else_is_taken_for_one() {
        let layout = Layout::new("base").unwrap();
        let file = FileId { manifest: 12, writer: 0xfeed, number: 3 };
        for collection in ["a", "a/b", "\0groups"] {
            assert_eq!(layout.file_id_of(&layout.data(collection, file)), Some(file));
        }
        let name = layout.data("a", file).as_str().to_owned();
        for wrong in
            [name.replace("feed", "FEED"), name.replace("/a/", "/a/b/"), format!("{name}0"), name.replace("-", "")]
        {
            assert_eq!(layout.file_id_of(&ObjectKey::parse(&wrong).unwrap()), None, "{wrong}");
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
