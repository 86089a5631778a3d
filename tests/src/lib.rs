//! Shared tools of the tests that cross crates.

pub mod netns;
