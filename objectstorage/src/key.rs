//! What is a valid object key?
//!
//! A key is parsed once; past that, its type says that it is valid. Every storage refuses the same keys with the
//! same error, so that a key which works in a test on memory works on every backend.

use std::{borrow::Borrow, fmt, str::FromStr, sync::Arc};

/// The longest key, in bytes. It is S3's limit (*Amazon S3 User Guide*, "Naming Amazon S3 objects").
pub const KEY_BYTES_MAX: usize = 1024;

/// The name of an object: UTF-8, 1 to 1,024 bytes, components separated by `/`.
///
/// No component is empty, `.` or `..`, so a key neither begins nor ends with `/`; no byte is NUL. Keys are ordered by
/// their bytes. Cloning is cheap.
///
/// ```
/// use runyard_objectstorage::ObjectKey;
///
/// let key = ObjectKey::parse("log/00000000000000000001")?;
/// assert_eq!(key.as_str(), "log/00000000000000000001");
/// assert!(ObjectKey::parse("log/../secret").is_err());
/// # Ok::<(), runyard_objectstorage::InvalidKey>(())
/// ```
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ObjectKey(Arc<str>);

/// Why a string is not an [`ObjectKey`].
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{key}` is not an object key: {reason}")]
pub struct InvalidKey {
    /// The refused string, shortened to its first 100 characters.
    pub key: String,
    /// The rule that it breaks, as a phrase.
    pub reason: &'static str,
}

impl ObjectKey {
    /// Checks `key` against the rules of the type.
    ///
    /// # Errors
    /// [`InvalidKey`] names the first rule that is broken.
    pub fn parse(key: &str) -> Result<Self, InvalidKey> {
        match broken_rule(key) {
            None => Ok(Self(Arc::from(key))),
            Some(reason) => Err(InvalidKey { key: key.chars().take(100).collect(), reason }),
        }
    }

    /// The key as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The parts between the slashes; at least one, none of them empty.
    pub fn components(&self) -> impl DoubleEndedIterator<Item = &str> {
        self.0.split('/')
    }
}

fn broken_rule(key: &str) -> Option<&'static str> {
    if key.is_empty() {
        return Some("it is empty");
    }
    if key.len() > KEY_BYTES_MAX {
        return Some("it is longer than 1,024 bytes");
    }
    if key.contains('\0') {
        return Some("it contains a NUL byte");
    }
    key.split('/').find_map(|component| match component {
        "" => Some("it has an empty component (a leading, trailing or double slash)"),
        "." => Some("it has the component `.`"),
        ".." => Some("it has the component `..`"),
        _ => None,
    })
}

impl fmt::Display for ObjectKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for ObjectKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ObjectKey({:?})", &*self.0)
    }
}

impl FromStr for ObjectKey {
    type Err = InvalidKey;

    fn from_str(key: &str) -> Result<Self, InvalidKey> {
        Self::parse(key)
    }
}

impl AsRef<str> for ObjectKey {
    fn as_ref(&self) -> &str {
        &self.0
    }
}

impl Borrow<str> for ObjectKey {
    fn borrow(&self) -> &str {
        &self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_refused_with_the_rule_that_it_breaks() {
        let long = "k".repeat(KEY_BYTES_MAX + 1);
        for (key, reason) in [
            ("", "empty"),
            ("/a", "empty component"),
            ("a/", "empty component"),
            ("a//b", "empty component"),
            (".", "`.`"),
            ("a/./b", "`.`"),
            ("..", "`..`"),
            ("a/../b", "`..`"),
            ("a\0b", "NUL"),
            (long.as_str(), "1,024"),
        ] {
            let error = ObjectKey::parse(key).expect_err(key);
            assert!(error.reason.contains(reason), "{key:?}: {error}");
        }
    }

    #[test]
    fn unusual_but_valid_keys_are_accepted_unchanged() {
        let long = "k".repeat(KEY_BYTES_MAX);
        for key in ["a", "...", ".hidden", "a/b/c", "a b", "%2e%2e", "ünï/ço\u{1F980}", "a\\b", "a\nb", long.as_str()]
        {
            assert_eq!(ObjectKey::parse(key).expect(key).as_str(), key);
        }
    }
}
