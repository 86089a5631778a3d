//! What a descriptor stands for. Its number is that of a real descriptor of the kernel, an eventfd that nobody
//! reads: so numbers are never given twice, whatever else the process opens, and a number can be closed
//! behind our back without harm.

use std::os::fd::{IntoRawFd, OwnedFd, RawFd};
use std::sync::Arc;

use nix::sys::eventfd::{EfdFlags, EventFd};

use crate::datagram::Datagrams;
use crate::epoll::Epoll;
use crate::errno::{Errno, Result};
use crate::pipe::PipeEnd;
use crate::socket::Socket;

/// What is behind a descriptor.
#[derive(Clone)]
pub(crate) enum Object {
    Socket(Arc<Socket>),
    Datagrams(Arc<Datagrams>),
    Epoll(Arc<Epoll>),
    Pipe(Arc<PipeEnd>),
}

/// The number of a descriptor.
pub type Descriptor = i32;

/// An open descriptor. Its number is given back to the kernel only when that is asked for ([`Open::close`]):
/// by the time that this is dropped, the number may be somebody else's.
pub(crate) struct Open {
    pub(crate) object: Object,
    number: RawFd,
}

impl Open {
    pub(crate) fn new(object: Object) -> Result<Self> {
        let event = EventFd::from_value_and_flags(0, EfdFlags::EFD_CLOEXEC)
            .map_err(|error| Errno(error as i32))?;
        let number = OwnedFd::from(event).into_raw_fd();
        Ok(Self { object, number })
    }

    pub(crate) const fn number(&self) -> Descriptor {
        self.number
    }

    /// Closes the number.
    pub(crate) fn close(self) -> Object {
        // SAFETY: the caller gives the number back. If it was closed before, this fails and does no harm.
        unsafe { libc::close(self.number) };
        self.object
    }
}
