//! The asynchronous sockets: native `async` methods that run on any executor, [`crate::engine::Stack::spawn`]
//! first of all, and `AsyncRead`/`AsyncWrite` for tokio behind the feature `tokio`.

mod tcp_listener;
mod tcp_stream;
#[cfg(feature = "tokio")]
mod tokio;
mod udp_socket;

pub use tcp_listener::TcpListener;
pub use tcp_stream::TcpStream;
pub use udp_socket::UdpSocket;
