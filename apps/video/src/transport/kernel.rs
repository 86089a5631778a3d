//! The kernel's sockets, through tokio.

use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use super::Transport;
use crate::connection;
use crate::server::Server;

const READ_BYTES: usize = 64 << 10;
/// Pause after a failed accept: the usual reason is too many open files, and some will close.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// A socket of the kernel.
#[derive(Debug)]
pub struct KernelTransport {
    /// None once aborted.
    stream: Option<TcpStream>,
    buffer: BytesMut,
}

impl KernelTransport {
    /// Serves a connected socket. Responses leave at once: whole pieces are written, so Nagle's
    /// algorithm has nothing to gain.
    ///
    /// # Errors
    /// When the connection is gone already.
    pub fn new(stream: TcpStream) -> io::Result<Self> {
        stream.set_nodelay(true)?;
        Ok(Self {
            stream: Some(stream),
            buffer: BytesMut::new(),
        })
    }

    fn stream(&mut self) -> io::Result<&mut TcpStream> {
        self.stream
            .as_mut()
            .ok_or_else(|| io::ErrorKind::ConnectionAborted.into())
    }
}

impl Transport for KernelTransport {
    async fn read(&mut self) -> io::Result<Bytes> {
        let stream = self
            .stream
            .as_mut()
            .ok_or(io::ErrorKind::ConnectionAborted)?;
        // Memory is taken only when there is something to read, and given away with it.
        stream.readable().await?;
        self.buffer.reserve(READ_BYTES);
        stream.read_buf(&mut self.buffer).await?;
        let received = self.buffer.split().freeze();
        // An idle connection holds none; a request of a few bytes does not keep 64 KiB.
        self.buffer = BytesMut::new();
        Ok(if received.len() < READ_BYTES / 4 {
            Bytes::copy_from_slice(&received)
        } else {
            received
        })
    }

    async fn send(&mut self, mut bytes: Bytes) -> io::Result<()> {
        self.stream()?.write_all_buf(&mut bytes).await
    }

    async fn shutdown(&mut self) -> io::Result<()> {
        self.stream()?.shutdown().await
    }

    fn abort(&mut self) {
        if let Some(stream) = self.stream.take() {
            // If this fails, the connection closes with FIN too early: the client still sees that the
            // body is shorter than announced.
            let _ = stream.set_zero_linger();
        }
    }

    fn sleep(&self, duration: Duration) -> impl Future<Output = ()> + Send + 'static {
        tokio::time::sleep(duration)
    }
}

/// Opens the listening socket.
///
/// # Errors
/// When the address is in use, not one of this host, or needs a permission that is lacking.
pub async fn bind(address: SocketAddr) -> io::Result<TcpListener> {
    TcpListener::bind(address).await
}

/// Accepts and serves connections until the server stops and the last connection has ended.
pub async fn serve(server: Arc<Server>, listener: TcpListener) {
    let mut connections = tokio::task::JoinSet::new();
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            () = server.stopping() => break,
        };
        while connections.try_join_next().is_some() {}
        match accepted.and_then(|(stream, peer)| Ok((KernelTransport::new(stream)?, peer))) {
            Ok((transport, peer)) => {
                connections.spawn(connection::serve(transport, Arc::clone(&server), peer));
            }
            Err(error) => {
                tracing::warn!(%error, "cannot accept a connection");
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
    drop(listener);
    while connections.join_next().await.is_some() {}
}
