#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| guideway_fuzz::exceptions::run(input));
