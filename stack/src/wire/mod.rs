//! Byte formats: read a header in place, emit one. No state, no I/O, no allocation.

pub mod tcp;
