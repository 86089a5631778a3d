//! What applications use: blocking sockets shaped like `std::net`, and the same names with `async` in
//! [`asynchronous`].
//!
//! Both stand on `poll_*` calls with a [`std::task::Waker`] and on a small `Runtime`: blocking is waiting
//! for that waker. So they run over every topology, and in virtual time.

pub mod asynchronous;
mod direct;
mod handle;
mod options;
mod runtime;
mod survival;
mod tcp_listener;
mod tcp_stream;
mod udp_socket;

pub use direct::Direct;
pub(crate) use runtime::{Runtime, WaitError};
pub use tcp_listener::{Incoming, TcpListener};
pub use tcp_stream::TcpStream;
pub use udp_socket::UdpSocket;

pub use crate::replication::{Continuation, Identity, Protection, ReplayOptions, Survival};
pub use crate::tcp::info::Info;
