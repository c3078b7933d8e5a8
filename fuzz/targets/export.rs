//! Does the decoder of the lines of an export keep its promises, whatever it is given?

#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| runyard_datamanager::fuzzing::export(input));
