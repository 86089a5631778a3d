//! Bytes in and out of a connection, however the caller's memory is cut up.

use std::sync::Arc;
use std::task::{Context, Poll};

use outlive::tcp::{Error, Tcb};

use crate::datagram::Incoming;
use crate::descriptor::{Descriptor, Object};
use crate::driver::Limit;
use crate::errno::{Errno, Result};
use crate::fast_open::Opened;
use crate::socket::Socket;
use crate::sockets::Sockets;

impl Sockets {
    /// `send(2)` and the calls that come to the same: as much of `parts` as was taken.
    ///
    /// # Errors
    /// `EBADF`, `ENOTSOCK`, `ENOTCONN`, `EPIPE`, `EAGAIN`, and why the connection ended.
    pub fn send(&self, descriptor: Descriptor, parts: &[&[u8]], flags: i32) -> Result<usize> {
        self.send_to(descriptor, parts, flags, &[])
    }

    /// As [`Sockets::send`], to a named peer: a connection has one already, so that only Fast Open
    /// (`MSG_FASTOPEN`) uses the name.
    ///
    /// # Errors
    /// As [`Sockets::send`]; of Fast Open `EOPNOTSUPP`, `EINPROGRESS`, `EALREADY`, `EISCONN`, and those of `connect`.
    pub fn send_to(
        &self,
        descriptor: Descriptor,
        parts: &[&[u8]],
        flags: i32,
        name: &[u8],
    ) -> Result<usize> {
        if let Object::Datagrams(socket) = self.object(descriptor)? {
            return self.send_datagram(&socket, parts, flags, name);
        }
        let socket = self.find(descriptor)?;
        let total: usize = parts.iter().map(|part| part.len()).sum();
        let mut writing = Writing {
            parts,
            total,
            done: 0,
            more: flags & libc::MSG_MORE != 0,
            record: flags & libc::MSG_EOR != 0,
            watched: false,
            hurries: false,
            waited: false,
        };
        let (nonblocking, timeout) = {
            let inner = socket.inner.lock();
            writing.watched = inner.choices.timestamping.watches();
            (inner.nonblocking, inner.choices.send_timeout)
        };
        let nonblocking = nonblocking || flags & libc::MSG_DONTWAIT != 0;
        let limit = self.limit(nonblocking, timeout);
        writing.hurries = limit == Limit::Now;
        let sent = self.write_all(&socket, &mut writing, limit, (flags, name));
        if sent.is_ok_and(|bytes| bytes > 0) && flags & libc::MSG_ZEROCOPY != 0 {
            let mut inner = socket.inner.lock();
            if inner.choices.zero_copy {
                inner.errors.add_copied();
            }
        }
        sent
    }

    fn write_all(
        &self,
        socket: &Arc<Socket>,
        writing: &mut Writing<'_>,
        limit: Limit,
        (flags, name): (i32, &[u8]),
    ) -> Result<usize> {
        let opens = flags & libc::MSG_FASTOPEN != 0 || socket.inner.lock().holds_syn();
        if opens && let Opened::Begun = self.open_with(socket, writing, limit, name)? {
            return Ok(writing.done);
        }
        let ended = self.until(limit, |cx| self.try_send(socket, writing, cx));
        match ended {
            Some(Ok(())) => Ok(writing.total),
            // What was taken counts; the error is told by the next call.
            _ if writing.done > 0 => Ok(writing.done),
            Some(Err(error)) => Err(socket.inner.lock().tell(error)),
            None => Err(Errno(libc::EAGAIN)),
        }
    }

    fn try_send(
        &self,
        socket: &Socket,
        writing: &mut Writing<'_>,
        cx: &mut Context<'_>,
    ) -> Poll<Result<()>> {
        let connection = {
            let inner = socket.inner.lock();
            let Some(connection) = inner.connection() else {
                return Poll::Ready(Err(Errno(libc::EPIPE)));
            };
            if let Some(error) = inner.pending_error() {
                return Poll::Ready(Err(error));
            }
            Arc::clone(connection)
        };
        let outcome = self.direct().act(&connection, |tcb, _| {
            tcb.set_more(writing.more);
            let before = writing.done;
            let outcome = writing.put(tcb, cx);
            let ends = outcome.is_ready() || writing.hurries;
            if writing.watched && ends && writing.done > before {
                tcb.watch_last_byte();
            }
            outcome
        });
        if outcome.is_pending() {
            socket.inner.lock().wants_room = true;
        }
        outcome
    }

    /// `recv(2)` and the calls that come to the same: bytes put into `parts`, 0 at the end.
    ///
    /// # Errors
    /// `EBADF`, `ENOTSOCK`, `ENOTCONN`, `EAGAIN`, and why the connection ended.
    pub fn recv(
        &self,
        descriptor: Descriptor,
        parts: &mut [&mut [u8]],
        flags: i32,
    ) -> Result<usize> {
        if let Object::Datagrams(socket) = self.object(descriptor)? {
            let received = self.receive_datagram(&socket, parts, flags, &mut []);
            return received.map(|incoming| incoming.length);
        }
        let socket = self.find(descriptor)?;
        if flags & libc::MSG_OOB != 0 {
            return Err(Errno(libc::EINVAL));
        }
        if flags & libc::MSG_ERRQUEUE != 0 {
            // Without ancillary data nothing is left of the notice.
            return self.take_notice(descriptor, &mut []).map(|_| 0);
        }
        let connection = socket.connection()?;
        let (nonblocking, timeout, low_water) = {
            let inner = socket.inner.lock();
            let choices = &inner.choices;
            (
                inner.nonblocking,
                choices.receive_timeout,
                choices.receive_low_water,
            )
        };
        let total: usize = parts.iter().map(|part| part.len()).sum();
        let mut reading = Reading {
            parts,
            done: 0,
            target: if flags & libc::MSG_WAITALL != 0 {
                total
            } else {
                total.min(low_water.max(1) as usize)
            },
            total,
            peek: flags & libc::MSG_PEEK != 0,
            discard: flags & libc::MSG_TRUNC != 0,
        };
        let limit = self.limit(nonblocking || flags & libc::MSG_DONTWAIT != 0, timeout);
        let ended = self.until(limit, |cx| {
            self.direct()
                .act(&connection, |tcb, _| reading.take(tcb, cx))
        });
        match ended {
            Some(Ok(())) => Ok(reading.done),
            _ if reading.done > 0 => Ok(reading.done),
            Some(Err(error)) => {
                let mut inner = socket.inner.lock();
                if inner.told {
                    return Ok(0);
                }
                Err(inner.take_error().unwrap_or(Errno::from(error)))
            }
            None => Err(Errno(libc::EAGAIN)),
        }
    }

    /// `recvmsg(2)`: what [`Sockets::recv`] does, who sent it, and what was asked for to be told with it, which is put into `control`.
    pub(crate) fn recv_message(
        &self,
        descriptor: Descriptor,
        parts: &mut [&mut [u8]],
        flags: i32,
        control: &mut [u8],
    ) -> Result<Incoming> {
        if let Object::Datagrams(socket) = self.object(descriptor)? {
            return self.receive_datagram(&socket, parts, flags, control);
        }
        if flags & libc::MSG_ERRQUEUE != 0 {
            let (flags, control) = self.take_notice(descriptor, control)?;
            return Ok(Incoming {
                flags,
                control,
                ..Incoming::default()
            });
        }
        let length = self.recv(descriptor, parts, flags)?;
        Ok(Incoming {
            length,
            control: self.ancillary(descriptor, control)?,
            ..Incoming::default()
        })
    }

    /// `read(2)`, of sockets and pipes.
    ///
    /// # Errors
    /// As [`Sockets::recv`].
    pub fn read(&self, descriptor: Descriptor, parts: &mut [&mut [u8]]) -> Result<usize> {
        match self.object(descriptor)? {
            Object::Socket(_) | Object::Datagrams(_) => self.recv(descriptor, parts, 0),
            Object::Pipe(end) => {
                let limit = if end.is_nonblocking() {
                    Limit::Now
                } else {
                    Limit::Never
                };
                self.until(limit, |_| end.read(parts))
                    .ok_or(Errno(libc::EAGAIN))?
            }
            Object::Epoll(_) => Err(Errno(libc::EINVAL)),
        }
    }

    /// `write(2)`, of sockets and pipes.
    ///
    /// # Errors
    /// As [`Sockets::send`].
    pub fn write(&self, descriptor: Descriptor, parts: &[&[u8]]) -> Result<usize> {
        match self.object(descriptor)? {
            Object::Socket(_) | Object::Datagrams(_) => self.send(descriptor, parts, 0),
            Object::Pipe(end) => {
                let limit = if end.is_nonblocking() {
                    Limit::Now
                } else {
                    Limit::Never
                };
                let written = self.until(limit, |_| end.write(parts));
                self.driver.ring();
                written.ok_or(Errno(libc::EAGAIN))?
            }
            Object::Epoll(_) => Err(Errno(libc::EINVAL)),
        }
    }
}

impl crate::socket::Inner {
    /// The error of a call that failed: that of the connection is told once, later calls find it closed.
    fn tell(&mut self, error: Errno) -> Errno {
        self.take_error().unwrap_or(error)
    }
}

/// A write on its way.
pub(crate) struct Writing<'a> {
    parts: &'a [&'a [u8]],
    total: usize,
    done: usize,
    more: bool,
    /// Its end is not joined by what is written next.
    record: bool,
    /// Somebody wants to know when its end leaves, and when it is acknowledged.
    watched: bool,
    /// What is not taken at once is not taken.
    hurries: bool,
    /// It found the queue full: as Linux, it goes on only when a third of it is free.
    waited: bool,
}

impl Writing<'_> {
    /// Bytes taken so far.
    pub(crate) const fn taken(&self) -> usize {
        self.done
    }

    /// Puts in at most so many bytes that may leave with the SYN.
    pub(crate) fn put_first(&mut self, tcb: &mut Tcb, most: usize) {
        let most = most.min(self.total);
        while self.done < most {
            let rest = self.rest();
            let part = &rest[..rest.len().min(most - self.done)];
            match tcb.send_copy(part) {
                Ok(taken @ 1..) => self.done += taken,
                _ => break,
            }
        }
    }

    fn put(&mut self, tcb: &mut Tcb, cx: &mut Context<'_>) -> Poll<Result<()>> {
        if tcb.is_opening() {
            let _ = tcb.poll_writable(cx);
            return Poll::Pending;
        }
        if self.waited && tcb.send_room().is_ok() && !tcb.readiness().writable {
            let _ = tcb.poll_writable(cx);
            return Poll::Pending;
        }
        while self.done < self.total {
            match tcb.send_copy(self.rest()) {
                Ok(0) => {
                    tcb.end_write();
                    self.waited = true;
                    let _ = tcb.poll_writable(cx);
                    return Poll::Pending;
                }
                Ok(taken) => self.done += taken,
                // Told before: what is left to say is that the way is closed.
                Err(_) => return Poll::Ready(Err(Errno(libc::EPIPE))),
            }
        }
        tcb.end_write();
        if self.record {
            tcb.end_record();
        }
        Poll::Ready(Ok(()))
    }

    /// The rest of the part that is being written.
    fn rest(&self) -> &[u8] {
        let mut before = self.done;
        for part in self.parts {
            if before < part.len() {
                return &part[before..];
            }
            before -= part.len();
        }
        &[]
    }
}

/// A read on its way.
struct Reading<'a, 'b> {
    parts: &'a mut [&'b mut [u8]],
    total: usize,
    done: usize,
    target: usize,
    peek: bool,
    discard: bool,
}

impl Reading<'_, '_> {
    fn take(
        &mut self,
        tcb: &mut Tcb,
        cx: &mut Context<'_>,
    ) -> Poll<std::result::Result<(), Error>> {
        while self.done < self.total {
            let taken = if self.peek {
                tcb.peek(self.parts.first_mut().map_or(&mut [][..], |part| part))
            } else if self.discard {
                let most = self.total - self.done;
                tcb.recv_bytes(most).map(|it| it.map(|bytes| bytes.len()))
            } else {
                tcb.recv(self.room())
            };
            match taken {
                Ok(Some(0)) => return Poll::Ready(Ok(())),
                Ok(Some(taken)) => self.done += taken,
                Ok(None) if self.done >= self.target => return Poll::Ready(Ok(())),
                Ok(None) => {
                    let _ = tcb.poll_readable(cx);
                    return Poll::Pending;
                }
                Err(_) if self.done > 0 => return Poll::Ready(Ok(())),
                Err(error) => return Poll::Ready(Err(error)),
            }
            if self.peek {
                return Poll::Ready(Ok(()));
            }
        }
        Poll::Ready(Ok(()))
    }

    /// Where the next bytes go.
    fn room(&mut self) -> &mut [u8] {
        let mut before = self.done;
        for part in &mut *self.parts {
            if before < part.len() {
                return &mut part[before..];
            }
            before -= part.len();
        }
        &mut []
    }
}
