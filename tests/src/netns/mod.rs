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
mod clients;
mod cluster;
mod command;
mod conversations;
mod curl;
mod cuts;
mod media;
mod outlive;
mod reader;
mod sandbox;
mod scene;
mod topology;

pub use capture::{Capture, Findings};
pub use chromium::Chromium;
pub use clients::Clients;
pub use cluster::{Cluster, SERVICE_MAC};
pub use command::{Finished, require};
pub use conversations::Conversations;
pub use curl::Curl;
pub use cuts::{Cut, Network};
pub use media::{Media, numbers, transfer_bytes};
pub use outlive::{Server, counted, outlive_command};
pub use reader::Reader;
pub use sandbox::{Netns, Sandbox};
pub use scene::{number_from, with_cluster};
pub use topology::{CLIENT, CLIENT6, Device, Family, Link, SERVER, SERVER6};

/// A number that nothing else in this process has.
fn count() -> usize {
    use std::sync::atomic::{AtomicUsize, Ordering};
    static COUNT: AtomicUsize = AtomicUsize::new(0);
    COUNT.fetch_add(1, Ordering::Relaxed)
}
