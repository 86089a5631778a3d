//! Asynchronous TCP connections.

use std::future::{Future, poll_fn};
use std::io::{self, IoSlice};
use std::net::{Shutdown, SocketAddr};
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;

use crate::engine::{Stack, Task};
use crate::socket::Info;
use crate::socket::handle::{self, Handle, send_part};
use crate::tcp::{KeepAlive, SocketOptions};

/// A TCP connection. Clones are the same connection; it is closed when the last is dropped. One task may
/// read while another writes.
#[derive(Clone, Debug)]
pub struct TcpStream {
    handle: Arc<Handle>,
}

impl TcpStream {
    pub(in crate::socket) const fn new(handle: Arc<Handle>) -> Self {
        Self { handle }
    }

    /// Opens a connection.
    ///
    /// # Errors
    /// Refused, timed out, unreachable, or no port left.
    pub async fn connect(stack: &Stack, address: SocketAddr) -> io::Result<Self> {
        Self::connect_with(stack, None, address, None).await
    }

    /// Opens a connection from `local` (an ephemeral port of the right address if not given) with
    /// `options`.
    ///
    /// # Errors
    /// As [`TcpStream::connect`], or `local` is in use or not ours.
    pub async fn connect_with(
        stack: &Stack,
        local: Option<SocketAddr>,
        remote: SocketAddr,
        options: Option<SocketOptions>,
    ) -> io::Result<Self> {
        let handle = handle::connect(stack, local, remote, options)?;
        poll_fn(|cx| handle.poll_established(cx)).await?;
        Ok(Self { handle })
    }

    /// Reads what is there, waiting for at least one byte; 0 when the peer has closed.
    ///
    /// # Errors
    /// Why the connection ended.
    pub async fn read(&self, into: &mut [u8]) -> io::Result<usize> {
        poll_fn(|cx| self.poll_recv(cx, into)).await
    }

    /// As [`TcpStream::read`].
    ///
    /// # Errors
    /// As [`TcpStream::read`].
    pub fn poll_recv(&self, cx: &mut Context<'_>, into: &mut [u8]) -> Poll<io::Result<usize>> {
        self.handle.poll_read(cx, |tcb| tcb.recv(into))
    }

    /// Reads without taking.
    ///
    /// # Errors
    /// Why the connection ended.
    pub async fn peek(&self, into: &mut [u8]) -> io::Result<usize> {
        poll_fn(|cx| self.handle.poll_read(cx, |tcb| tcb.peek(into))).await
    }

    /// Takes up to `max` received bytes as they lie in memory, without a copy; empty when the peer has
    /// closed.
    ///
    /// # Errors
    /// Why the connection ended.
    pub async fn recv_bytes(&self, max: usize) -> io::Result<Bytes> {
        poll_fn(|cx| self.handle.poll_read(cx, |tcb| tcb.recv_bytes(max))).await
    }

    /// Writes what there is room for, waiting for room for at least one byte.
    ///
    /// # Errors
    /// Why the connection ended, or that its write side is closed.
    pub async fn write(&self, from: &[u8]) -> io::Result<usize> {
        poll_fn(|cx| self.poll_send(cx, from)).await
    }

    /// Writes everything.
    ///
    /// # Errors
    /// As [`TcpStream::write`].
    pub async fn write_all(&self, mut from: &[u8]) -> io::Result<()> {
        while !from.is_empty() {
            let taken = self.write(from).await?;
            from = &from[taken..];
        }
        Ok(())
    }

    /// As [`TcpStream::write`].
    ///
    /// # Errors
    /// As [`TcpStream::write`].
    pub fn poll_send(&self, cx: &mut Context<'_>, from: &[u8]) -> Poll<io::Result<usize>> {
        if from.is_empty() {
            return Poll::Ready(Ok(0));
        }
        self.handle
            .poll_write(cx, |tcb| Ok(Some(tcb.send_copy(from)?).filter(|&n| n > 0)))
    }

    /// As [`TcpStream::poll_send`], from several slices.
    ///
    /// # Errors
    /// As [`TcpStream::write`].
    pub fn poll_send_vectored(
        &self,
        cx: &mut Context<'_>,
        from: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        if from.iter().all(|slice| slice.is_empty()) {
            return Poll::Ready(Ok(0));
        }
        self.handle.poll_write(cx, |tcb| {
            let mut total = 0;
            for slice in from {
                let taken = tcb.send_copy(slice)?;
                total += taken;
                if taken < slice.len() {
                    break;
                }
            }
            Ok(Some(total).filter(|&total| total > 0))
        })
    }

    /// Sends `bytes` by reference, without a copy; waits until all of them have found room.
    ///
    /// # Errors
    /// Why the connection ended, or that its write side is closed.
    pub async fn send(&self, mut bytes: Bytes) -> io::Result<()> {
        while !bytes.is_empty() {
            poll_fn(|cx| self.handle.poll_write(cx, |tcb| send_part(tcb, &mut bytes))).await?;
        }
        Ok(())
    }

    /// Closes one or both directions. What was written is still delivered.
    ///
    /// # Errors
    /// When there is no connection any more.
    pub fn shutdown(&self, how: Shutdown) -> io::Result<()> {
        self.handle.shutdown(how)
    }

    /// Runs `future` on the thread of the stack that this connection's frames leave from.
    pub fn spawn<F>(&self, future: F) -> Task<F::Output>
    where
        F: Future + Send + 'static,
        F::Output: Send + 'static,
    {
        let handle = &self.handle;
        handle
            .stack
            .executor_for(&handle.connection.id)
            .spawn(future)
    }

    /// The stack that this connection belongs to.
    #[must_use]
    pub fn stack(&self) -> &Stack {
        &self.handle.stack
    }

    /// Our end.
    #[must_use]
    pub fn local_addr(&self) -> SocketAddr {
        self.handle.connection.id.local_addr()
    }

    /// The peer's end.
    #[must_use]
    pub fn peer_addr(&self) -> SocketAddr {
        self.handle.connection.id.remote_addr()
    }

    /// Nagle's algorithm off.
    pub fn set_nodelay(&self, on: bool) {
        self.handle.change(|tcb, _| tcb.set_no_delay(on));
    }

    /// Probes when the connection is idle, or not.
    pub fn set_keepalive(&self, keep_alive: Option<KeepAlive>) {
        self.handle
            .change(|tcb, now| tcb.set_keep_alive(now, keep_alive));
    }

    /// Dropping resets the connection instead of closing it properly.
    pub fn set_reset_on_drop(&self, on: bool) {
        self.handle
            .set_linger(on.then_some(std::time::Duration::ZERO));
    }

    /// What Linux tells as `TCP_INFO`.
    #[must_use]
    pub fn info(&self) -> Info {
        self.handle.info()
    }
}
