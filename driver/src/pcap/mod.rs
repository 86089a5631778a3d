//! Captures: written beside any device, and read as one.

pub mod file;
pub mod record;
pub mod replay;
