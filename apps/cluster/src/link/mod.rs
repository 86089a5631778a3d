//! Mutually authenticated and encrypted links between the hosts of a cluster.
//!
//! | file | job |
//! |---|---|
//! | `noise` | the handshake of all links: who has the key |
//! | `datagram`, `session`, `replay_window`, `association` | heartbeats: their format, sealing, what was seen, how a session is agreed on; sans-I/O |
//! | `record`, `outbox` | ordered channels: records and messages, what waits to be sent; sans-I/O |
//! | `greeting`, `channel`, `peer`, `dial`, `listen` | ordered channels on TCP connections, made again when they break |
//! | `datagrams`, `error_queue`, `wake` | sockets of the heartbeats, what the network says of them, waking threads |
//! | `check` | what must hold for any bytes at all, for tests and the fuzzer |
//! | `counters`, `refusal` | everything that happens, and every reason to refuse something, by name |
//!
//! Between two servers there are two ordered channels, each on a TCP connection of the kernel: commits, and bulk, so that
//! a snapshot delays no commit. They come up together and break together. Heartbeats are datagrams, on every
//! path. What does not open with the key of the session is counted and dropped, never answered.
//!
//! Left out: compression; more than one connection for commits; sessions that survive a restart.

#![allow(
    clippy::disallowed_types,
    clippy::disallowed_methods,
    reason = "this is the shell: the hosts' kernels carry the links, on threads of their own"
)]

mod association;
#[cfg(test)]
mod association_tests;
mod channel;
#[doc(hidden)]
pub mod check;
mod counters;
mod datagram;
mod datagrams;
mod dial;
mod error_queue;
mod greeting;
mod handler;
mod links;
mod listen;
mod noise;
mod outbox;
mod peer;
mod record;
#[cfg(test)]
mod record_tests;
mod refusal;
mod replay_window;
mod session;
mod wake;

pub use counters::{Counters, Event};
pub use handler::Handler;
pub use links::{Buffer, LinkError, Links, Options, Peer};
pub use record::MOST_MESSAGE_BYTES;
pub use refusal::Refusal;
pub use session::MOST_DATAGRAM_BYTES;
