//! What the hosts say to each other.

mod codec;
#[cfg(test)]
mod tests;

pub use self::codec::{Decoded, Malformed};
