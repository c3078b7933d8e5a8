//! Is the escaping of `PosixFlatStorage` reversible and in order, for any text?
//!
//! The input is two texts, with a line feed between them; it may as well be one that is read as a path.

#![no_main]

use libfuzzer_sys::fuzz_target;
use runyard_objectstorage::escaping::{beginning, directory_text, object_path, object_text};

fuzz_target!(|input: &str| {
    let (first, second) = input.split_once('\n').unwrap_or((input, ""));
    round_trip(first);
    order(first, second);
    prefix(first, second);
    foreign(first);
});

fn round_trip(text: &str) {
    let path = object_path(text);
    assert_eq!(object_text(&path).as_deref(), Some(text), "{path}");
    let directory = format!("{text}/");
    assert_eq!(directory_text(&beginning(&directory)).as_deref(), Some(&*directory));
    for name in path.split('/') {
        assert!(!matches!(name, "" | "." | "..") && name.len() <= 242, "{name:?}");
        // The same on filesystems that ignore case or normalise Unicode.
        assert!(name.bytes().all(|byte| byte.is_ascii_graphic() && !byte.is_ascii_uppercase()), "{name:?}");
    }
}

fn order(first: &str, second: &str) {
    assert_eq!(object_path(first).cmp(&object_path(second)), first.cmp(second));
}

fn prefix(text: &str, prefix: &str) {
    assert_eq!(object_path(text).starts_with(&beginning(prefix)), text.starts_with(prefix));
    let longer = format!("{prefix}{text}");
    assert!(object_path(&longer).starts_with(&beginning(prefix)), "{longer:?}");
}

/// What somebody else put there is either not ours or has exactly this name.
fn foreign(path: &str) {
    if let Some(text) = object_text(path) {
        assert_eq!(object_path(&text), path);
    }
    if let Some(text) = directory_text(path) {
        assert_eq!(beginning(&text), path);
    }
}
