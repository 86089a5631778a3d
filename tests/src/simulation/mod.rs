//! Whole networks of hosts in virtual time.
//!
//! A [`world::World`] has hosts ([`node::Node`]: our stack, or a foreign one), an impaired link for every
//! ordered pair of them, and one clock. Applications are futures over the real sockets. A
//! [`watcher::Watcher`] holds every frame against the RFCs.

pub mod application;
pub mod bottleneck;
pub mod failover;
pub mod host;
pub mod life;
pub mod node;
pub mod offload;
pub mod pattern;
pub mod ranges;
pub mod sent;
pub mod service;
pub mod tasks;
pub mod watcher;
pub mod world;
