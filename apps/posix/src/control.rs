//! `fcntl` and `ioctl`, as far as they say something about a socket.

use crate::descriptor::{Descriptor, Object};
use crate::errno::{Errno, Result};
use crate::socket::Phase;
use crate::sockets::Sockets;

/// `SIOCINQ`: bytes that can be read. The same number as `FIONREAD`.
const SIOCINQ: u64 = libc::FIONREAD;
/// `SIOCOUTQ`: bytes written and not acknowledged. The same number as `TIOCOUTQ`.
const SIOCOUTQ: u64 = libc::TIOCOUTQ;
/// `SIOCOUTQNSD`: bytes written and not sent.
const SIOCOUTQNSD: u64 = 0x894b;
/// `SIOCATMARK`: whether the next byte to read is the urgent one.
const SIOCATMARK: u64 = 0x8905;

impl Sockets {
    /// `fcntl(2)`: `F_GETFL`, `F_SETFL` (of which `O_NONBLOCK` counts), `F_GETFD` and `F_SETFD`.
    ///
    /// # Errors
    /// `EBADF`, `EINVAL`.
    pub fn fcntl(&self, descriptor: Descriptor, command: i32, argument: i32) -> Result<i32> {
        let object = self.object(descriptor)?;
        match command {
            libc::F_GETFL => {
                let nonblocking = match &object {
                    Object::Socket(socket) => socket.is_nonblocking(),
                    Object::Datagrams(socket) => socket.is_nonblocking(),
                    Object::Pipe(end) => end.is_nonblocking(),
                    Object::Epoll(_) => false,
                };
                let flags = if nonblocking { libc::O_NONBLOCK } else { 0 };
                Ok(libc::O_RDWR | flags)
            }
            libc::F_SETFL => {
                self.set_nonblocking(&object, argument & libc::O_NONBLOCK != 0);
                Ok(0)
            }
            libc::F_GETFD => Ok(libc::FD_CLOEXEC),
            libc::F_SETFD => Ok(0),
            _ => Err(Errno(libc::EINVAL)),
        }
    }

    fn set_nonblocking(&self, object: &Object, on: bool) {
        match object {
            Object::Socket(socket) => socket.inner.lock().nonblocking = on,
            Object::Datagrams(socket) => socket.set_nonblocking(on),
            Object::Pipe(end) => end.set_nonblocking(on),
            Object::Epoll(_) => {}
        }
    }

    /// `ioctl(2)`. `argument` is what the caller's integer holds; the result is what it is to hold.
    ///
    /// # Errors
    /// `EBADF`, `EINVAL`, `ENOTTY`.
    pub fn ioctl(&self, descriptor: Descriptor, request: u64, argument: i32) -> Result<i32> {
        let object = self.object(descriptor)?;
        if request == libc::FIONBIO {
            self.set_nonblocking(&object, argument != 0);
            return Ok(argument);
        }
        let socket = match &object {
            Object::Socket(socket) => socket,
            Object::Datagrams(socket) if request == SIOCINQ => {
                return Ok(clamp(socket.next_bytes()));
            }
            // What is sent is the network's.
            Object::Datagrams(_) if request == SIOCOUTQ => return Ok(0),
            Object::Pipe(end) if request == SIOCINQ => return Ok(clamp(end.len())),
            _ => return Err(Errno(libc::ENOTTY)),
        };
        let inner = socket.inner.lock();
        if matches!(inner.phase, Phase::Listening(_)) {
            return Err(Errno(libc::EINVAL));
        }
        let Some(connection) = inner.connection() else {
            return match request {
                SIOCINQ | SIOCOUTQ | SIOCOUTQNSD | SIOCATMARK => Ok(0),
                _ => Err(Errno(libc::ENOTTY)),
            };
        };
        let tcb = connection.tcb.lock();
        match request {
            SIOCINQ => Ok(clamp(tcb.readable_bytes())),
            SIOCOUTQ => Ok(clamp(tcb.info().send_queue_bytes)),
            SIOCOUTQNSD => Ok(clamp(tcb.info().unsent_bytes)),
            SIOCATMARK => Ok(0),
            _ => Err(Errno(libc::ENOTTY)),
        }
    }
}

fn clamp(bytes: usize) -> i32 {
    i32::try_from(bytes).unwrap_or(i32::MAX)
}
