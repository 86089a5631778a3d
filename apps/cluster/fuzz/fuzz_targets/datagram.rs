//! Any bytes as a datagram between hosts.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| outlive_cluster::link::check::datagram(bytes));
