//! Datagrams in and out, however the caller's memory is cut up.

use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use outlive::udp::{self, Received};

use super::{Datagrams, Stamps};
use crate::address::{Name, decode};
use crate::ancillary::Control;
use crate::driver::Limit;
use crate::errno::{Errno, Result};
use crate::sockets::Sockets;

/// How long a call waits before it looks again whether there is room to send: nothing tells when there is.
const ROOM_LOOK: Duration = Duration::from_micros(200);

/// What a call received.
#[derive(Clone, Debug, Default)]
pub(crate) struct Incoming {
    /// What the call gives: bytes that were put into the caller's memory, or with `MSG_TRUNC` all that there were.
    pub(crate) length: usize,
    /// Who sent it; none on connections of TCP.
    pub(crate) from: Option<Name>,
    /// `msg_flags`
    pub(crate) flags: i32,
    /// Bytes of ancillary data.
    pub(crate) control: usize,
}

impl Sockets {
    /// Sends the parts as one datagram, to `name` or, if that is empty, to the peer.
    pub(crate) fn send_datagram(
        &self,
        socket: &Arc<Datagrams>,
        parts: &[&[u8]],
        flags: i32,
        name: &[u8],
    ) -> Result<usize> {
        if flags & (libc::MSG_OOB | libc::MSG_MORE) != 0 {
            return Err(Errno(libc::EOPNOTSUPP));
        }
        let data = Bytes::from(parts.concat());
        let (bound, to, limit) = {
            let mut inner = socket.inner.lock();
            if inner.write_shut {
                return Err(Errno(libc::EPIPE));
            }
            let to = match name {
                [] => None,
                name => Some(inner.admit(decode(name)?)?),
            };
            let bound = self.with_port(&mut inner)?;
            let nonblocking = inner.nonblocking || flags & libc::MSG_DONTWAIT != 0;
            (
                bound,
                to,
                self.limit(nonblocking, inner.choices.send_timeout),
            )
        };
        loop {
            if let Some(error) = socket.inner.lock().take_error() {
                return Err(error);
            }
            let sent = self.at_once(|| {
                let to = to.or_else(|| bound.peer());
                let to = to.ok_or(Errno(libc::EDESTADDRREQ))?;
                let datagram = bound.send_to(data.clone(), to)?;
                Ok::<_, Errno>(self.direct().send_datagram(datagram))
            })?;
            if sent {
                return Ok(data.len());
            }
            self.await_room(limit)?;
        }
    }

    fn await_room(&self, limit: Limit) -> Result<()> {
        let now = self.driver.now();
        let late = match limit {
            Limit::Now => true,
            Limit::Until(deadline) => deadline <= now,
            Limit::Never => false,
        };
        if late {
            return Err(Errno(libc::EAGAIN));
        }
        let _ = self.until(Limit::Until(now + ROOM_LOOK), |_| Poll::<()>::Pending);
        Ok(())
    }

    /// Waits for a datagram and puts it into `parts`, and what was asked for to be told of it into `control`.
    pub(crate) fn receive_datagram(
        &self,
        socket: &Arc<Datagrams>,
        parts: &mut [&mut [u8]],
        flags: i32,
        control: &mut [u8],
    ) -> Result<Incoming> {
        if flags & (libc::MSG_OOB | libc::MSG_ERRQUEUE) != 0 {
            let none = flags & libc::MSG_ERRQUEUE != 0;
            return Err(Errno(if none { libc::EAGAIN } else { libc::EOPNOTSUPP }));
        }
        let limit = {
            let inner = socket.inner.lock();
            let nonblocking = inner.nonblocking || flags & libc::MSG_DONTWAIT != 0;
            self.limit(nonblocking, inner.choices.receive_timeout)
        };
        let peek = flags & libc::MSG_PEEK != 0;
        let received = self
            .until(limit, |cx| poll_receive(socket, peek, cx))
            .ok_or(Errno(libc::EAGAIN))??;
        let Some(received) = received else {
            // Nobody is to read any more.
            return Ok(Incoming::default());
        };
        let (family, stamps) = {
            let inner = socket.inner.lock();
            (inner.family, inner.choices.stamps)
        };
        let copied = scatter(&received.data, parts);
        let mut control = Control::new(control);
        self.put_stamp(&mut control, stamps, &received);
        let mut told = 0;
        if copied < received.data.len() {
            told |= libc::MSG_TRUNC;
        }
        if control.is_cut() {
            told |= libc::MSG_CTRUNC;
        }
        let all = flags & libc::MSG_TRUNC != 0;
        Ok(Incoming {
            length: if all { received.data.len() } else { copied },
            from: Some(family.encode(received.from)),
            flags: told,
            control: control.filled(),
        })
    }

    fn put_stamp(&self, control: &mut Control<'_>, stamps: Stamps, received: &Received) {
        let wall = self.driver.wall_clock(received.at);
        let (kind, fraction) = match stamps {
            Stamps::None => return,
            Stamps::Micros => (libc::SO_TIMESTAMP, wall.subsec_micros()),
            Stamps::Nanos => (libc::SO_TIMESTAMPNS, wall.subsec_nanos()),
        };
        let mut time = [0; 16];
        time[..8].copy_from_slice(&(wall.as_secs() as i64).to_ne_bytes());
        time[8..].copy_from_slice(&i64::from(fraction).to_ne_bytes());
        control.put((libc::SOL_SOCKET, kind), &time);
    }
}

/// The next datagram; none when nobody is to read any more.
fn poll_receive(
    socket: &Datagrams,
    peek: bool,
    cx: &mut Context<'_>,
) -> Poll<Result<Option<Received>>> {
    let mut inner = socket.inner.lock();
    loop {
        if let Some(error) = inner.take_error() {
            return Poll::Ready(Err(error));
        }
        let polled = match &inner.bound {
            Some(bound) if peek => bound.poll_peek_from(cx),
            Some(bound) => bound.poll_recv_from(cx),
            None => Poll::Pending,
        };
        match polled {
            Poll::Ready(Ok(received)) => return Poll::Ready(Ok(Some(received))),
            Poll::Ready(Err(udp::Error::Closed)) => return Poll::Ready(Ok(None)),
            // It came just now; perhaps nobody need be told.
            Poll::Ready(Err(error)) => inner.note_error(error),
            Poll::Pending if inner.read_shut => return Poll::Ready(Ok(None)),
            Poll::Pending => return Poll::Pending,
        }
    }
}

/// Puts as much of `data` into `parts` as fits.
fn scatter(data: &[u8], parts: &mut [&mut [u8]]) -> usize {
    let mut rest = data;
    for part in parts {
        let (here, after) = rest.split_at(rest.len().min(part.len()));
        part[..here.len()].copy_from_slice(here);
        rest = after;
    }
    data.len() - rest.len()
}
