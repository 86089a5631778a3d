//! Blocking TCP connections, shaped like `std::net::TcpStream`.

use std::io::{self, IoSlice, IoSliceMut, Read, Write};
use std::net::{Shutdown, SocketAddr, ToSocketAddrs};
use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;

use super::handle::{self, Handle, send_part};
use super::options::{Direction, try_each};
use super::runtime::WaitError;
use super::survival::send_static_part;
use crate::engine::Stack;
use crate::replication::{Continuation, Identity, Reason};
use crate::tcp::info::Info;
use crate::tcp::tcb::Tcb;
use crate::tcp::{Error, KeepAlive, SocketOptions};

/// A TCP connection. Clones made by [`TcpStream::try_clone`] are the same connection; it is closed when
/// the last is dropped.
#[derive(Debug)]
pub struct TcpStream {
    handle: Arc<Handle>,
}

impl TcpStream {
    pub(super) const fn new(handle: Arc<Handle>) -> Self {
        Self { handle }
    }

    /// Opens a connection, to the first of `addresses` that answers.
    ///
    /// # Errors
    /// Refused, timed out, unreachable, or no port left.
    pub fn connect(stack: &Stack, addresses: impl ToSocketAddrs) -> io::Result<Self> {
        try_each(addresses, |address| {
            Self::connect_with(stack, None, address, None, None)
        })
    }

    /// As [`TcpStream::connect`], and gives up after `timeout`.
    ///
    /// # Errors
    /// As [`TcpStream::connect`].
    pub fn connect_timeout(
        stack: &Stack,
        address: &SocketAddr,
        timeout: Duration,
    ) -> io::Result<Self> {
        Self::connect_with(stack, None, *address, None, Some(timeout))
    }

    /// Opens a connection from `local` (an ephemeral port of the right address if not given) with
    /// `options`.
    ///
    /// # Errors
    /// As [`TcpStream::connect`], or `local` is in use or not ours.
    pub fn connect_with(
        stack: &Stack,
        local: Option<SocketAddr>,
        remote: SocketAddr,
        options: Option<SocketOptions>,
        timeout: Option<Duration>,
    ) -> io::Result<Self> {
        let handle = handle::connect(stack, local, remote, options)?;
        Self::established(stack, handle, timeout)
    }

    /// Opens a connection with `first` written before the SYN leaves. With [`SocketOptions::fast_open`] it goes along with the
    /// SYN once the server has given a cookie (RFC 7413), and may then arrive twice. Returns how much of it was taken.
    ///
    /// # Errors
    /// As [`TcpStream::connect_with`].
    pub fn connect_sending(
        stack: &Stack,
        local: Option<SocketAddr>,
        remote: SocketAddr,
        options: Option<SocketOptions>,
        first: &[u8],
    ) -> io::Result<(Self, usize)> {
        let (handle, taken) = handle::connect_sending(stack, local, remote, options, first)?;
        Ok((Self::established(stack, handle, None)?, taken))
    }

    /// Waits for the end of the handshake.
    fn established(
        stack: &Stack,
        handle: Arc<Handle>,
        timeout: Option<Duration>,
    ) -> io::Result<Self> {
        let deadline = timeout.map(|timeout| stack.now() + timeout);
        let flow = Some(&handle.connection.id);
        let mut poll = |cx: &mut std::task::Context<'_>| handle.poll_established(cx);
        match handle::wait(stack, flow, true, deadline, &mut poll) {
            Ok(result) => result?,
            Err(WaitError::TimedOut) => {
                return Err(io::Error::new(
                    io::ErrorKind::TimedOut,
                    "connection timed out",
                ));
            }
            Err(error) => return Err(error.into()),
        }
        Ok(Self { handle })
    }

    /// Sends `bytes` by reference, without a copy; waits until all of them have found room. The
    /// write time-out counts for each wait.
    ///
    /// # Errors
    /// Why the connection ended, or that its write side is closed.
    pub fn send(&self, mut bytes: Bytes) -> io::Result<()> {
        while !bytes.is_empty() {
            self.handle.block(Direction::Write, |cx| {
                self.handle.poll_write(cx, |tcb| send_part(tcb, &mut bytes))
            })?;
        }
        Ok(())
    }

    /// Takes up to `max` received bytes as they lie in memory, without a copy; empty when the peer has
    /// closed.
    ///
    /// # Errors
    /// Why the connection ended.
    pub fn recv_bytes(&self, max: usize) -> io::Result<Bytes> {
        self.receive(|tcb| tcb.recv_bytes(max))
    }

    /// Reads without taking.
    ///
    /// # Errors
    /// Why the connection ended.
    pub fn peek(&self, into: &mut [u8]) -> io::Result<usize> {
        self.receive(|tcb| tcb.peek(into))
    }

    fn receive<R>(
        &self,
        mut take: impl FnMut(&mut Tcb) -> Result<Option<R>, Error>,
    ) -> io::Result<R> {
        self.handle
            .block(Direction::Read, |cx| self.handle.poll_read(cx, &mut take))
    }

    /// Another handle of the same connection.
    ///
    /// # Errors
    /// Never; the shape is that of `std::net`.
    pub fn try_clone(&self) -> io::Result<Self> {
        Ok(Self {
            handle: Arc::clone(&self.handle),
        })
    }

    /// The asynchronous face of the same connection.
    #[must_use]
    pub fn into_asynchronous(self) -> super::asynchronous::TcpStream {
        super::asynchronous::TcpStream::new(self.handle)
    }

    /// Our end.
    ///
    /// # Errors
    /// Never; the shape is that of `std::net`.
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        Ok(self.handle.connection.id.local_addr())
    }

    /// The peer's end.
    ///
    /// # Errors
    /// Never; the shape is that of `std::net`.
    pub fn peer_addr(&self) -> io::Result<SocketAddr> {
        Ok(self.handle.connection.id.remote_addr())
    }

    /// Closes one or both directions.
    ///
    /// # Errors
    /// When there is no connection any more.
    pub fn shutdown(&self, how: Shutdown) -> io::Result<()> {
        self.handle.shutdown(how)
    }

    /// How long a read waits.
    ///
    /// # Errors
    /// For a time of zero.
    pub fn set_read_timeout(&self, timeout: Option<Duration>) -> io::Result<()> {
        self.handle.calls.set_timeout(Direction::Read, timeout)
    }

    /// How long a write waits.
    ///
    /// # Errors
    /// For a time of zero.
    pub fn set_write_timeout(&self, timeout: Option<Duration>) -> io::Result<()> {
        self.handle.calls.set_timeout(Direction::Write, timeout)
    }

    /// How long a read waits.
    ///
    /// # Errors
    /// Never; the shape is that of `std::net`.
    pub fn read_timeout(&self) -> io::Result<Option<Duration>> {
        Ok(self.handle.calls.timeout(Direction::Read))
    }

    /// How long a write waits.
    ///
    /// # Errors
    /// Never; the shape is that of `std::net`.
    pub fn write_timeout(&self) -> io::Result<Option<Duration>> {
        Ok(self.handle.calls.timeout(Direction::Write))
    }

    /// Calls that would wait fail with `WouldBlock` instead.
    ///
    /// # Errors
    /// Never; the shape is that of `std::net`.
    pub fn set_nonblocking(&self, on: bool) -> io::Result<()> {
        self.handle.calls.set_nonblocking(on);
        Ok(())
    }

    /// Nagle's algorithm off.
    ///
    /// # Errors
    /// Never; the shape is that of `std::net`.
    pub fn set_nodelay(&self, on: bool) -> io::Result<()> {
        self.handle.change(|tcb, _| tcb.set_no_delay(on));
        Ok(())
    }

    /// Whether Nagle's algorithm is off.
    ///
    /// # Errors
    /// Never; the shape is that of `std::net`.
    pub fn nodelay(&self) -> io::Result<bool> {
        Ok(self.options().no_delay)
    }

    /// Hops that our datagrams may take.
    ///
    /// # Errors
    /// Outside 1 to 255.
    pub fn set_ttl(&self, ttl: u32) -> io::Result<()> {
        let ttl = u8::try_from(ttl)
            .ok()
            .filter(|&ttl| ttl > 0)
            .ok_or(io::ErrorKind::InvalidInput)?;
        self.handle.change(|tcb, _| tcb.set_ttl(ttl));
        Ok(())
    }

    /// Hops that our datagrams may take.
    ///
    /// # Errors
    /// Never; the shape is that of `std::net`.
    pub fn ttl(&self) -> io::Result<u32> {
        Ok(self.options().ttl.into())
    }

    /// Probes when the connection is idle, or not.
    pub fn set_keepalive(&self, keep_alive: Option<KeepAlive>) {
        self.handle
            .change(|tcb, now| tcb.set_keep_alive(now, keep_alive));
    }

    /// Whether and how an idle connection is probed.
    #[must_use]
    pub fn keepalive(&self) -> Option<KeepAlive> {
        self.options().keep_alive
    }

    /// What dropping does: by default it returns at once and what was written is still delivered; with a
    /// time it waits for that; with a time of zero it resets the connection.
    pub fn set_linger(&self, linger: Option<Duration>) {
        self.handle.set_linger(linger);
    }

    /// See [`TcpStream::set_linger`].
    #[must_use]
    pub fn linger(&self) -> Option<Duration> {
        self.handle.linger()
    }

    /// Fixes the size of the send queue, in bytes, or lets it be tuned.
    pub fn set_send_buffer(&self, bytes: Option<usize>) {
        self.handle.change(|tcb, _| tcb.set_send_buffer(bytes));
    }

    /// Fixes the size of the receive queue, in bytes, or lets it be tuned.
    pub fn set_receive_buffer(&self, bytes: Option<usize>) {
        self.handle.change(|tcb, _| tcb.set_receive_buffer(bytes));
    }

    /// All options as they are now.
    #[must_use]
    pub fn options(&self) -> SocketOptions {
        self.handle.with(|tcb| tcb.options().clone())
    }

    /// Why the connection ended, if it did not end properly.
    ///
    /// # Errors
    /// Never; the shape is that of `std::net`.
    pub fn take_error(&self) -> io::Result<Option<io::Error>> {
        Ok(self.handle.error().map(io::Error::from))
    }

    /// Where the application goes on; none on a connection that began on this host.
    #[must_use]
    pub fn continuation(&self) -> Option<Continuation> {
        self.handle.continuation()
    }

    /// Bytes that are about to be written and that the client has already, from another host: they are
    /// discarded. Grows until the client has told where it stands.
    #[must_use]
    pub fn skippable(&self) -> u64 {
        self.handle.skippable()
    }

    /// Skips the beginning of a range of static content, as far as the client has it already, and returns
    /// how many bytes that are: they count as written. It takes as long for a gigabyte as for a byte. Waits
    /// until the client has told where it stands.
    ///
    /// # Errors
    /// Why the connection ended, or that its write side is closed.
    pub fn skip_static(&self, identity: Identity, range: Range<u64>) -> io::Result<u64> {
        self.handle.block(Direction::Write, |cx| {
            self.handle.poll_skip_static(cx, identity, range.clone())
        })
    }

    /// As [`TcpStream::send`], of the bytes at `offset` of the content that `identity` names. Where output is
    /// compared with what another host sent, they are named and not read.
    ///
    /// # Errors
    /// As [`TcpStream::send`].
    pub fn send_static(
        &self,
        mut bytes: Bytes,
        identity: Identity,
        mut offset: u64,
    ) -> io::Result<()> {
        while !bytes.is_empty() {
            self.handle.block(Direction::Write, |cx| {
                self.handle.poll_write(cx, |tcb| {
                    send_static_part(tcb, &mut bytes, identity, &mut offset)
                })
            })?;
        }
        Ok(())
    }

    /// The value of something that does not follow from the input: a clock, a random number, the state of
    /// a disk. It is logged, and what is written afterwards waits until it is committed; a handler that
    /// repeats on another host is given the logged value. Handlers must ask in the same order.
    ///
    /// # Errors
    /// When the wait for another host's decision ended: the stack was shut down.
    pub fn decide(&self, value: impl FnOnce() -> Bytes) -> io::Result<Bytes> {
        let mut value = Some(value);
        self.handle.block(Direction::Read, |cx| {
            self.handle.poll_decide(cx, &mut value).map(Ok)
        })
    }

    /// Says that the connection could be continued from here by a fresh handler, with nothing but what comes
    /// from here on: between two requests, for example.
    pub fn quiescent(&self) {
        self.handle.quiescent();
    }

    /// Says that the connection could be continued from here by a handler that is given `state`
    /// ([`Continuation::checkpoint`]). On a mirrored connection it is the state after the next write,
    /// with which it is committed; writes of up to 64 KiB are committed whole.
    pub fn checkpoint(&self, state: Bytes) {
        self.handle.checkpoint(state);
    }

    /// Says that no other host can continue this connection, from here on.
    pub fn unprotect(&self, reason: Reason) {
        self.handle.unprotect(reason);
    }

    /// What Linux tells as `TCP_INFO`.
    #[must_use]
    pub fn info(&self) -> Info {
        self.handle.info()
    }
}

impl Read for &TcpStream {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        self.receive(|tcb| tcb.recv(into))
    }

    fn read_vectored(&mut self, into: &mut [IoSliceMut<'_>]) -> io::Result<usize> {
        self.receive(|tcb| {
            let mut total = 0;
            for slice in into.iter_mut().filter(|slice| !slice.is_empty()) {
                match tcb.recv(slice) {
                    Ok(Some(taken)) => {
                        total += taken;
                        if taken < slice.len() {
                            break;
                        }
                    }
                    Ok(None) if total == 0 => return Ok(None),
                    Err(error) if total == 0 => return Err(error),
                    Ok(None) | Err(_) => break,
                }
            }
            Ok(Some(total))
        })
    }
}

impl Write for &TcpStream {
    fn write(&mut self, from: &[u8]) -> io::Result<usize> {
        if from.is_empty() {
            return Ok(0);
        }
        self.handle.block(Direction::Write, |cx| {
            self.handle
                .poll_write(cx, |tcb| Ok(Some(tcb.send_copy(from)?).filter(|&n| n > 0)))
        })
    }

    fn write_vectored(&mut self, from: &[IoSlice<'_>]) -> io::Result<usize> {
        if from.iter().all(|slice| slice.is_empty()) {
            return Ok(0);
        }
        self.handle.block(Direction::Write, |cx| {
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
        })
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Read for TcpStream {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        (&*self).read(into)
    }

    fn read_vectored(&mut self, into: &mut [IoSliceMut<'_>]) -> io::Result<usize> {
        (&*self).read_vectored(into)
    }
}

impl Write for TcpStream {
    fn write(&mut self, from: &[u8]) -> io::Result<usize> {
        (&*self).write(from)
    }

    fn write_vectored(&mut self, from: &[IoSlice<'_>]) -> io::Result<usize> {
        (&*self).write_vectored(from)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
