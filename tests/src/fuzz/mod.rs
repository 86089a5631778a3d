//! Bodies of the fuzz targets: each takes any bytes and panics if a property does not hold.
//!
//! `fuzz/` gives them to libFuzzer, `scripts/fuzz` runs that; `tests/fuzz_corpora.rs` runs every input that ever found
//! something, and random ones, in an ordinary test.

pub mod connection;
pub mod frames;
pub mod host;
pub mod pair;
pub mod parsers;
pub mod reassembly;
pub mod receive_queue;

/// A target: its name, and what to do with an input.
pub type Target = (&'static str, fn(&[u8]));

/// All of them, by the names of their folders of inputs.
pub const TARGETS: [Target; 7] = [
    ("parsers", parsers::run),
    ("frames", frames::run),
    ("reassembly", reassembly::run),
    ("receive_queue", receive_queue::run),
    ("connection", connection::run),
    ("pair", pair::run),
    ("host", host::run),
];
