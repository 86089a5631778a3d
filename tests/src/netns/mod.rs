//! Network namespaces with the real kernel and real programs as peers.
//!
//! A [`Sandbox`] is a set of namespaces (network, mounts, processes; and users, for who is not root)
//! that one test runs everything in: the `outlive` command as a person starts it, and unmodified clients.
//! The host's own network is never touched, and the kernel removes everything with the sandbox's first
//! process, which ends with the test, however that ends.
//!
//! Nothing is skipped: a tool that is missing fails the test with a line that says how to get it.

mod capture;
mod chromium;
mod cluster;
mod command;
mod media;
mod outlive;
mod sandbox;
mod topology;

pub use capture::{Capture, Findings};
pub use chromium::Chromium;
pub use cluster::{Cluster, SERVICE_MAC};
pub use command::{Finished, require};
pub use media::{Media, numbers, transfer_bytes};
pub use outlive::{Server, outlive_command};
pub use sandbox::{Netns, Sandbox};
pub use topology::{CLIENT, CLIENT6, Device, Family, Link, SERVER, SERVER6};
