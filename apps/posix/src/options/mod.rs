//! `getsockopt` and `setsockopt`: values as the bytes that the caller's memory holds, one file for each
//! level.

mod fast_open;
mod ip_level;
mod socket_level;
mod tcp_level;

pub(crate) use socket_level::{timeval, timeval_bytes};

use crate::descriptor::{Descriptor, Object};
use crate::errno::{Errno, Result};
use crate::socket::Phase;
use crate::sockets::Sockets;

/// What an option holds: the caller's memory takes as much of it as fits.
pub(crate) enum Value {
    Int(i32),
    Bytes(Vec<u8>),
}

impl Value {
    pub(crate) fn flag(on: bool) -> Self {
        Self::Int(i32::from(on))
    }

    /// The bytes of which `room` are wanted. A number in less room than it needs is cut, as Linux does.
    fn into_bytes(self) -> Vec<u8> {
        match self {
            Self::Int(value) => value.to_ne_bytes().to_vec(),
            Self::Bytes(bytes) => bytes,
        }
    }
}

/// A number in the caller's memory.
pub(crate) fn int(bytes: &[u8]) -> Result<i32> {
    let field = bytes.first_chunk().ok_or(Errno(libc::EINVAL))?;
    Ok(i32::from_ne_bytes(*field))
}

impl Sockets {
    /// `getsockopt(2)`: as much of the value as `room` bytes hold.
    ///
    /// # Errors
    /// `EBADF`, `ENOTSOCK`, `ENOPROTOOPT`, `EINVAL`.
    pub fn getsockopt(
        &self,
        descriptor: Descriptor,
        level: i32,
        name: i32,
        room: usize,
    ) -> Result<Vec<u8>> {
        let object = self.object(descriptor)?;
        let value = self.at_once(|| {
            let socket = match &object {
                Object::Socket(socket) => socket,
                Object::Datagrams(socket) => {
                    return Self::get_datagram_option(socket, level, name);
                }
                Object::Pipe(_) | Object::Epoll(_) => return Err(Errno(libc::ENOTSOCK)),
            };
            let mut inner = socket.inner.lock();
            match level {
                libc::SOL_SOCKET => self.get_socket_option(&mut inner, name),
                libc::IPPROTO_TCP => self.get_tcp_option(&inner, name),
                libc::IPPROTO_IP | libc::IPPROTO_IPV6 => ip_level::get(&inner, level, name),
                _ => Err(Errno(libc::ENOPROTOOPT)),
            }
        })?;
        let mut bytes = value.into_bytes();
        bytes.truncate(room);
        Ok(bytes)
    }

    /// `setsockopt(2)`.
    ///
    /// # Errors
    /// `EBADF`, `ENOTSOCK`, `ENOPROTOOPT`, `EINVAL`, `EDOM`, `ENOENT`.
    pub fn setsockopt(
        &self,
        descriptor: Descriptor,
        level: i32,
        name: i32,
        value: &[u8],
    ) -> Result<()> {
        let object = self.object(descriptor)?;
        self.at_once(|| {
            let socket = match &object {
                Object::Socket(socket) => socket,
                Object::Datagrams(socket) => {
                    return self.set_datagram_option(socket, (level, name), value);
                }
                Object::Pipe(_) | Object::Epoll(_) => return Err(Errno(libc::ENOTSOCK)),
            };
            let mut inner = socket.inner.lock();
            let set = match level {
                libc::SOL_SOCKET => self.set_socket_option(&mut inner, name, value),
                libc::IPPROTO_TCP => self.set_tcp_option(&mut inner, name, value),
                libc::IPPROTO_IP | libc::IPPROTO_IPV6 => {
                    ip_level::set(&mut inner, self.direct(), level, name, value)
                }
                _ => Err(Errno(libc::ENOPROTOOPT)),
            };
            if let Phase::Listening(listener) = &inner.phase {
                listener.set_options(inner.choices.tcp.clone());
            }
            set
        })
    }
}
