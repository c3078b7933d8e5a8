//! Does any text of YAML make the configuration language panic, or take longer than it may?
//!
//! A runaway is ended by the time limit of `scripts/fuzz`.

#![no_main]

mod definition;

use definition::check;
use libfuzzer_sys::{Corpus, fuzz_target};
use runyard_runconfig::Format;

fuzz_target!(|input: &[u8]| -> Corpus {
    let Ok(text) = std::str::from_utf8(input) else { return Corpus::Reject };
    check(Format::Yaml, text);
    Corpus::Keep
});
