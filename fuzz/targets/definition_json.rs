//! Does any JSON make the configuration language panic, and does what the two formats share mean the same in both?
//!
//! A runaway is ended by the time limit of `scripts/fuzz`.

#![no_main]

mod definition;

use definition::check;
use libfuzzer_sys::{Corpus, fuzz_target};
use runyard_runconfig::{Format, parse};

fuzz_target!(|input: &[u8]| -> Corpus {
    let Ok(text) = std::str::from_utf8(input) else { return Corpus::Reject };
    check(Format::Json, text);
    // JSON is YAML; only what files are called differs.
    let messages = |format| parse("config", format, text).diagnostics;
    assert_eq!(messages(Format::Json), messages(Format::Yaml));
    Corpus::Keep
});
