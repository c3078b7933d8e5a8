//! Does the decoder of a batch of the log keep its promises, whatever it is given?

#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| runyard_datamanager::fuzzing::batch(input));
