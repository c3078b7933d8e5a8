//! Under which name does a foreign store hold a key?
//!
//! Under the key itself, but for the few characters that `object_store` refuses in a path (ASCII control characters) or
//! that a listing in XML does not bring back as they were (spaces at the ends). Each of those is two characters in the
//! stored name, chosen so that names order and begin as their keys do:
//!
//! | in the key | in the stored name |
//! |---|---|
//! | control characters up to U+001F | a space and `0` to `O` |
//! | a space | a space and `_` |
//! | U+007F | U+0080 and `0` |
//! | U+0080 | U+0080 and `1` |

use object_store::path::Path;

use crate::{Error, KEY_BYTES_MAX, ObjectKey, Result};

const SPACE: char = ' ';
const SPACE_ITSELF: char = '_';
const PAD: char = '\u{80}';

/// The stored name of a key.
///
/// # Errors
/// [`Error::UnsupportedKey`] if the name is longer than S3 allows.
pub(super) fn path_of(key: &ObjectKey) -> Result<Path> {
    let name = stored(key.as_str());
    if name.len() > KEY_BYTES_MAX {
        let reason = "with its spaces and control characters escaped, it is longer than 1,024 bytes";
        return Err(Error::UnsupportedKey { key: key.clone(), reason });
    }
    Path::parse(name).map_err(|_| Error::UnsupportedKey { key: key.clone(), reason: "the store refuses this name" })
}

/// The stored form of any text: a prefix or a place in the order as well as a key.
pub(super) fn stored(text: &str) -> String {
    let mut name = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '\0'..='\u{1f}' => name.extend([SPACE, char::from(character as u8 + b'0')]),
            SPACE => name.extend([SPACE, SPACE_ITSELF]),
            '\u{7f}' => name.extend([PAD, '0']),
            PAD => name.extend([PAD, '1']),
            _ => name.push(character),
        }
    }
    name
}

/// What a stored name stands for; `None` if nothing is stored under it by us.
pub(super) fn original(name: &str) -> Option<String> {
    let mut text = String::with_capacity(name.len());
    let mut characters = name.chars();
    while let Some(character) = characters.next() {
        text.push(match character {
            SPACE => match characters.next()? {
                SPACE_ITSELF => SPACE,
                escaped @ '0'..='O' => char::from(escaped as u8 - b'0'),
                _ => return None,
            },
            PAD => match characters.next()? {
                '0' => '\u{7f}',
                '1' => PAD,
                _ => return None,
            },
            _ => character,
        });
    }
    Some(text)
}

#[cfg(test)]
mod tests {
    use proptest::{collection::vec, prelude::*, sample::select};

    use super::*;

    #[test]
    fn only_what_a_store_cannot_hold_is_escaped() {
        for (key, name) in [
            ("log/00000000000000000001", "log/00000000000000000001"),
            ("%2e#?*[]{}^`\\\"<>|~ünï日本\u{FFFF}\u{10FFFF}", "%2e#?*[]{}^`\\\"<>|~ünï日本\u{FFFF}\u{10FFFF}"),
            (" a b ", " _a _b _"),
            ("\u{1}\t\n\u{1f}", " 1 9 : O"),
            ("\u{7f}\u{80}\u{81}", "\u{80}0\u{80}1\u{81}"),
        ] {
            assert_eq!(path_of(&ObjectKey::parse(key).unwrap()).unwrap().as_ref(), name);
            assert_eq!(original(name).as_deref(), Some(key));
        }
    }

    #[test]
    fn names_that_are_not_ours_are_recognised() {
        for name in ["a b", " ", "a ", "  ", " P", "\u{80}", "\u{80}2"] {
            assert_eq!(original(name), None, "{name:?}");
        }
    }

    #[test]
    fn a_key_that_grows_too_long_is_refused() {
        assert!(path_of(&ObjectKey::parse(&" ".repeat(512)).unwrap()).is_ok());
        let key = ObjectKey::parse(&" ".repeat(513)).unwrap();
        assert!(matches!(path_of(&key), Err(Error::UnsupportedKey { .. })));
    }

    /// Around every border of the escaping.
    fn texts() -> impl Strategy<Value = String> {
        let borders = "\0\u{1}\t\n\u{e}\u{f}\u{1f} !/0O_~\u{7f}\u{80}\u{81}é\u{FFFF}\u{10FFFF}";
        vec(select(borders.chars().collect::<Vec<_>>()), 0..6).prop_map(String::from_iter)
    }

    proptest! {
            #[test]
            fn names_order_and_begin_as_their_keys_do(one in texts(), other in texts()) {
                let (one_name, other_name) = (stored(&one), stored(&other));
                prop_assert_eq!(original(&one_name), Some(one.clone()));
                prop_assert_eq!(one_name.cmp(&other_name), one.cmp(&other));
                prop_assert_eq!(one_name.starts_with(&other_name), one.starts_with(&other));
                prop_assert_eq!(one_name.matches('/').count(), one.matches('/').count());
    let has_what_stores_refuse = one_name.ends_with(' ') || one_name.contains(|it: char| it.is_ascii_control());
                prop_assert!(!has_what_stores_refuse);
            }
        }
}
