//! A userspace TCP/IP stack whose connections outlive their server.
//!
//! The modules, from the ground up; each uses only those above it in this list:
//!
//! | module | job |
//! |---|---|
//! | [`wire`] | byte formats: read a header in place, emit one |
//! | [`checksum`], [`time`], [`random`] | from the driver: the Internet checksum, SIMD where the machine has it; time and random numbers |
//! | [`packet`] | scatter/gather packets |
//! | [`counters`] | what happened, and why a packet was dropped |
//! | [`ethernet`], [`ip`], [`udp`], [`tcp`] | one room per protocol, each with a reader and a writer |
//! | [`replication`] | what two hosts keep of a connection, who may send, taking over |
//! | [`engine`] | threads, channels, timers, wake-ups: the only module that spawns or sleeps |
//! | [`socket`] | what applications use |
//! | [`dhcp`] | an address from a server |

#[cfg(test)]
extern crate self as outlive; // for the examples, which are tested too

pub mod counters;
pub mod dhcp;
pub mod engine;
pub mod ethernet;
pub mod ip;
mod keyed;
pub mod packet;
pub mod replication;
pub mod socket;
pub mod tcp;
pub mod udp;
pub mod wire;

pub use outlive_driver::{checksum, random, time};
