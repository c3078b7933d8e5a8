//! Does a text become an object key exactly if the rules allow it?

#![no_main]

use libfuzzer_sys::{Corpus, fuzz_target};
use runyard_objectstorage::ObjectKey;

fuzz_target!(|input: &[u8]| -> Corpus {
    let Ok(text) = std::str::from_utf8(input) else { return Corpus::Reject };
    match ObjectKey::parse(text) {
        Ok(key) => accepted(text, &key),
        Err(error) => {
            assert!(!is_allowed(text.as_bytes()), "{text:?} is refused: {error}");
            assert!(!error.reason.is_empty() && error.key.chars().count() <= 100);
        }
    }
    Corpus::Keep
});

fn accepted(text: &str, key: &ObjectKey) {
    assert!(is_allowed(text.as_bytes()), "{text:?} is accepted");
    assert_eq!(key.as_str(), text);
    assert_eq!(ObjectKey::parse(format!("{key}").as_str()).as_ref(), Ok(key));
    assert_eq!(text.parse::<ObjectKey>().as_ref(), Ok(key));
    let components: Vec<_> = key.components().collect();
    assert_eq!(components.join("/"), text);
    // Whatever is made of components of a key is a key.
    for until in 1..=components.len() {
        for part in [components[..until].join("/"), components[until - 1..].join("/")] {
            assert!(ObjectKey::parse(&part).is_ok(), "{part:?} of {text:?}");
        }
    }
}

/// The rules once more, byte by byte: as the documentation has them, not as the parser does.
fn is_allowed(bytes: &[u8]) -> bool {
    let (mut length, mut dots) = (0, 0);
    for byte in bytes.iter().chain(b"/") {
        match byte {
            b'/' if length == 0 || (length == dots && dots <= 2) => return false,
            b'/' => (length, dots) = (0, 0),
            0 => return false,
            b'.' => (length, dots) = (length + 1, dots + 1),
            _ => length += 1,
        }
    }
    bytes.len() <= 1_024
}
