//! How is any key written as a path, so that paths order as keys do?
//!
//! A key is written component by component, byte by byte. Every [`CHUNK_BYTES`] bytes of a component begin a new
//! directory, because names of files are bounded. Every name ends with a mark that says what it is:
//!
//! | mark | of | what follows |
//! |---|---|---|
//! | `#` | a file | nothing: the object |
//! | `.d` | a directory | the next component |
//! | `+` | a directory | the rest of the same component |
//!
//! | bytes | written as |
//! |---|---|
//! | `00` to `,` | `%` and two hexadecimal digits |
//! | `-` | itself |
//! | `.` | `..` |
//! | `0` to `9` | itself |
//! | `:` to `^`, with the capital letters | `=` and two hexadecimal digits |
//! | `_`, `` ` ``, `a` to `z` | itself |
//! | `{` to `FF` | `~` and two hexadecimal digits |
//!
//! ```text
//! a                    a#
//! a/b                  a.d/b#
//! log/v1.2             log.d/v1..2#
//! Ünï                  ~c3~9cn~c3~af#
//! 80 times x, then y   xxx…xxx+/y#
//! 80 times x           xxx…xxx+/#
//! ```
//!
//! The order holds because each row of the table sorts after the row above, and the marks sort where they belong: `#`,
//! the end of a key, before all else, and `.d`, the slash, just after `..`. `+` is compared with nothing: what has as
//! many bytes as a chunk always goes on, so that no other name beside it has the same ones.
//!
//! A name has at most 242 bytes, and all of them are ASCII without capital letters: they mean the same on filesystems
//! that ignore case or normalise Unicode.

use std::fmt::Write;

/// How many bytes of a component one name holds.
pub(super) const CHUNK_BYTES: usize = 80;

const OBJECT: &str = "#";
const NEXT_COMPONENT: &str = ".d/";
const GOES_ON: &str = "+/";

/// The path of the object with the key `text`; of any other text, a path with its place in the order.
pub(super) fn object_path(text: &str) -> String {
    beginning(text) + OBJECT
}

/// What the paths of all keys that begin with `text` begin with.
pub(super) fn beginning(text: &str) -> String {
    let mut path = String::with_capacity(text.len() + text.len() / 4 + 8);
    let mut in_chunk = 0;
    for byte in text.bytes() {
        if byte == b'/' {
            path.push_str(NEXT_COMPONENT);
            in_chunk = 0;
            continue;
        }
        push(&mut path, byte);
        in_chunk += 1;
        if in_chunk == CHUNK_BYTES {
            path.push_str(GOES_ON);
            in_chunk = 0;
        }
    }
    path
}

fn push(path: &mut String, byte: u8) {
    let lead = match byte {
        b'.' => return path.push_str(".."),
        b'-' | b'0'..=b'9' | b'_' | b'`' | b'a'..=b'z' => return path.push(byte.into()),
        ..b'-' => '%',
        b':'..=b'^' => '=',
        _ => '~',
    };
    write!(path, "{lead}{byte:02x}").expect("a string takes everything");
}

/// The text of an object's path; `None` if no text has that path.
pub(super) fn object_text(path: &str) -> Option<String> {
    text(path.strip_suffix(OBJECT)?)
}

/// The text that everything below a directory begins with; `None` if there is none.
///
/// `path` ends with a slash, and so does the text.
pub(super) fn directory_text(path: &str) -> Option<String> {
    path.ends_with(NEXT_COMPONENT).then(|| text(path)).flatten()
}

/// Whether everything below a directory belongs to a component that has not ended.
pub(super) fn goes_on(path: &str) -> bool {
    path.ends_with(GOES_ON)
}

/// The reverse of [`beginning`].
fn text(path: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(path.len());
    let mut rest = path;
    while let Some(first) = rest.bytes().next() {
        let (byte, length) = match first {
            b'.' if rest.starts_with(NEXT_COMPONENT) => (Some(b'/'), NEXT_COMPONENT.len()),
            b'.' if rest.starts_with("..") => (Some(b'.'), 2),
            b'+' if rest.starts_with(GOES_ON) => (None, GOES_ON.len()),
            b'%' | b'=' | b'~' => (Some(u8::from_str_radix(rest.get(1..3)?, 16).ok()?), 3),
            _ if first.is_ascii() => (Some(first), 1),
            _ => return None,
        };
        bytes.extend(byte);
        rest = &rest[length..];
    }
    let text = String::from_utf8(bytes).ok()?;
    // Somebody else may have put a name there that reads the same: only what is written here is ours.
    (beginning(&text) == path).then_some(text)
}

#[cfg(test)]
mod tests {
    use proptest::{collection::vec, prelude::*};

    use super::*;
    use crate::{KEY_BYTES_MAX, posix::place::NAME_BYTES_MAX};

    fn x(count: usize) -> String {
        "x".repeat(count)
    }

    #[test]
    fn every_byte_has_its_way_to_be_written() {
        let chunk = x(CHUNK_BYTES);
        for (key, path) in [
            ("a", "a#"),
            ("a/b", "a.d/b#"),
            ("log/v1.2", "log.d/v1..2#"),
            ("a-b_c`", "a-b_c`#"),
            ("A:^", "=41=3a=5e#"),
            (" %+,", "%20%25%2b%2c#"),
            ("{~\u{7f}", "~7b~7e~7f#"),
            ("Ünï", "~c3~9cn~c3~af#"),
            (".d/.f", "..d.d/..f#"),
            ("a#/b+", "a%23.d/b%2b#"),
            (&x(CHUNK_BYTES - 1), &format!("{}#", x(CHUNK_BYTES - 1))),
            (&chunk, &format!("{chunk}+/#")),
            (&format!("{chunk}y"), &format!("{chunk}+/y#")),
            (&format!("{chunk}/y"), &format!("{chunk}+/.d/y#")),
            (&format!("{chunk}./y"), &format!("{chunk}+/...d/y#")),
            (&format!("{chunk}{chunk}"), &format!("{chunk}+/{chunk}+/#")),
            (&format!("{}é", x(CHUNK_BYTES - 1)), &format!("{}~c3+/~a9#", x(CHUNK_BYTES - 1))),
        ] {
            assert_eq!(object_path(key), path, "{key:?}");
            assert_eq!(object_text(path).as_deref(), Some(key), "{path}");
        }
    }

    #[test]
    fn what_was_not_written_here_is_not_read() {
        let chunk = x(CHUNK_BYTES);
        for path in [
            "a",
            "a.d",
            "a.d/",
            "a/b#",
            "%61#",
            "%2E#",
            "=4#",
            "=+1#",
            "~c3#",
            "~é#",
            "A#",
            "a.b#",
            ".#",
            "a##",
            "x+/y#",
            &format!("{chunk}#"),
            &format!("{chunk}y#"),
            &format!("{chunk}.d/y#"),
        ] {
            assert_eq!(object_text(path), None, "{path}");
        }
        assert_eq!(directory_text("a.d/").as_deref(), Some("a/"));
        for path in ["a/", "A.d/", &format!("{chunk}+/")] {
            assert_eq!(directory_text(path), None, "{path}");
        }
    }

    #[test]
    fn the_longest_names_and_paths_fit_into_those_of_a_filesystem() {
        for key in [
            "A".repeat(KEY_BYTES_MAX),
            "A/".repeat(KEY_BYTES_MAX / 2 - 1) + "A",
            format!("{}/", "A".repeat(CHUNK_BYTES)).repeat(12) + "A",
            format!("{}./", "A".repeat(CHUNK_BYTES - 1)).repeat(12) + "A",
            format!("{}/", "A".repeat(CHUNK_BYTES - 1)).repeat(12) + "A",
        ] {
            let path = object_path(&key);
            assert!(path.len() < 4_096, "{} bytes", path.len());
            assert!(path.split('/').all(|name| name.len() <= NAME_BYTES_MAX), "{path}");
        }
    }

    /// Bytes of every row of the table, of every length of UTF-8, and runs that end around a chunk's border.
    fn texts() -> impl Strategy<Value = String> {
        let piece = prop_oneof![
            4 => "[-!.#+,/09:AZ^_`az{~é]{1,3}",
            1 => any::<char>().prop_map(String::from),
            1 => (CHUNK_BYTES - 3..CHUNK_BYTES + 3).prop_map(x),
            1 => Just(x(2 * CHUNK_BYTES)),
        ];
        vec(piece, 0..5).prop_map(|pieces| pieces.concat())
    }

    /// Two texts, which often begin alike.
    fn pairs() -> impl Strategy<Value = (String, String)> {
        (texts(), texts(), texts(), any::<bool>()).prop_map(|(common, first, second, is_alike)| match is_alike {
            true => (common.clone() + &first, common + &second),
            false => (first, second),
        })
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 1_500, ..ProptestConfig::default() })]

        #[test]
        fn every_text_comes_back(text in texts()) {
            let path = object_path(&text);
            prop_assert_eq!(object_text(&path), Some(text.clone()));
            prop_assert!(!path.bytes().any(|byte| byte.is_ascii_uppercase() || !byte.is_ascii_graphic()));
            prop_assert!(path.split('/').all(|name| !matches!(name, "" | "." | "..")), "{}", path);
            prop_assert_eq!(directory_text(&beginning(&format!("{text}/"))), Some(format!("{text}/")));
        }

        #[test]
        fn paths_order_as_texts_do((first, second) in pairs()) {
            prop_assert_eq!(object_path(&first).cmp(&object_path(&second)), first.cmp(&second));
        }

        #[test]
        fn paths_begin_alike_exactly_if_texts_do((text, prefix) in pairs()) {
            prop_assert_eq!(object_path(&text).starts_with(&beginning(&prefix)), text.starts_with(&prefix));
            let longer = format!("{prefix}{text}");
            prop_assert!(object_path(&longer).starts_with(&beginning(&prefix)));
        }

        #[test]
        fn what_is_read_is_written_the_same(path in "[-%=~.+#/0-9a-fd]{0,12}") {
            if let Some(text) = object_text(&path) {
                prop_assert_eq!(object_path(&text), path);
            }
        }
    }
}
