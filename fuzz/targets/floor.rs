//! Does the decoder of a floor of the log keep its promises, whatever it is given?

#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| runyard_datamanager::fuzzing::floor(input));
