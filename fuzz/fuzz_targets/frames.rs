#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| outlive_tests::fuzz::frames::run(bytes));
