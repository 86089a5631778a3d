//! The bodies of the targets, which the ordinary tests run too (`tests/tests/fuzz_corpora.rs`). Taken by their path, so that
//! nothing else of the tests has to be built.

#[path = "../../tests/src/fuzz/mod.rs"]
mod bodies;

pub use bodies::*;
