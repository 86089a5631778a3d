//! Measuring servers and clients.
