//! Does the decoder of the format object of a store keep its promises, whatever it is given?

#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| runyard_datamanager::fuzzing::format(input));
