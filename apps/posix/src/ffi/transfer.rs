//! Calls that move bytes.
#![allow(clippy::missing_safety_doc, reason = "said once, in the module above")]

use libc::{c_int, c_uint, c_void, iovec, msghdr, size_t, sockaddr, socklen_t, ssize_t};

use super::calls::put_name;
use super::{of, size};
use crate::errno::Errno;
use crate::message::{bytes, bytes_mut, to_read, to_write};
use crate::sockets::Sockets;

/// `read(2)`
#[cfg_attr(feature = "names", unsafe(no_mangle))]
pub unsafe extern "C" fn outlive_read(
    sockets: *const Sockets,
    descriptor: c_int,
    buffer: *mut c_void,
    count: size_t,
) -> ssize_t {
    size((|| {
        // SAFETY: as the caller promises.
        let (it, buffer) = unsafe { (of(sockets)?, bytes_mut(buffer.cast(), count)?) };
        it.read(descriptor, &mut [buffer])
    })())
}

/// `readv(2)`
#[cfg_attr(feature = "names", unsafe(no_mangle))]
pub unsafe extern "C" fn outlive_readv(
    sockets: *const Sockets,
    descriptor: c_int,
    pieces: *const iovec,
    count: c_int,
) -> ssize_t {
    size((|| {
        let count = usize::try_from(count).map_err(|_| Errno(libc::EINVAL))?;
        // SAFETY: as the caller promises.
        let (it, mut pieces) = unsafe { (of(sockets)?, to_write(pieces, count)?) };
        it.read(descriptor, &mut pieces)
    })())
}

/// `recv(2)`
#[cfg_attr(feature = "names", unsafe(no_mangle))]
pub unsafe extern "C" fn outlive_recv(
    sockets: *const Sockets,
    descriptor: c_int,
    buffer: *mut c_void,
    count: size_t,
    flags: c_int,
) -> ssize_t {
    size((|| {
        // SAFETY: as the caller promises.
        let (it, buffer) = unsafe { (of(sockets)?, bytes_mut(buffer.cast(), count)?) };
        it.recv(descriptor, &mut [buffer], flags)
    })())
}

/// `recvfrom(2)`. On a connection of TCP nobody is named, as on Linux.
#[cfg_attr(feature = "names", unsafe(no_mangle))]
pub unsafe extern "C" fn outlive_recvfrom(
    sockets: *const Sockets,
    descriptor: c_int,
    buffer: *mut c_void,
    count: size_t,
    flags: c_int,
    address: *mut sockaddr,
    length: *mut socklen_t,
) -> ssize_t {
    size((|| {
        // SAFETY: as the caller promises.
        let (it, buffer) = unsafe { (of(sockets)?, bytes_mut(buffer.cast(), count)?) };
        let received = it.recv_message(descriptor, &mut [buffer], flags, &mut [])?;
        if !length.is_null() {
            // SAFETY: as the caller promises.
            unsafe { put_name(received.from.unwrap_or_default(), address, length) }?;
        }
        Ok(received.length)
    })())
}

/// `recvmsg(2)`
#[cfg_attr(feature = "names", unsafe(no_mangle))]
pub unsafe extern "C" fn outlive_recvmsg(
    sockets: *const Sockets,
    descriptor: c_int,
    message: *mut msghdr,
    flags: c_int,
) -> ssize_t {
    size((|| {
        // SAFETY: as the caller promises.
        let (it, message) = unsafe { (of(sockets)?, message.as_mut()) };
        let message = message.ok_or(Errno(libc::EFAULT))?;
        // Notices have no bytes: where they would go is not looked at.
        let count = if flags & libc::MSG_ERRQUEUE == 0 {
            message.msg_iovlen
        } else {
            0
        };
        // SAFETY: as the caller promises.
        let mut pieces = unsafe { to_write(message.msg_iov, count) }?;
        // SAFETY: as the caller promises.
        let control = unsafe { bytes_mut(message.msg_control.cast(), message.msg_controllen) }?;
        let received = it.recv_message(descriptor, &mut pieces, flags, control)?;
        if message.msg_name.is_null() {
            message.msg_namelen = 0;
        } else {
            let name = received.from.unwrap_or_default();
            let length = &raw mut message.msg_namelen;
            // SAFETY: as the caller promises.
            unsafe { put_name(name, message.msg_name.cast(), length) }?;
        }
        message.msg_flags = received.flags;
        message.msg_controllen = received.control as _;
        Ok(received.length)
    })())
}

/// `write(2)`
#[cfg_attr(feature = "names", unsafe(no_mangle))]
pub unsafe extern "C" fn outlive_write(
    sockets: *const Sockets,
    descriptor: c_int,
    buffer: *const c_void,
    count: size_t,
) -> ssize_t {
    size((|| {
        // SAFETY: as the caller promises.
        let (it, buffer) = unsafe { (of(sockets)?, bytes(buffer.cast(), count)?) };
        it.write(descriptor, &[buffer])
    })())
}

/// `writev(2)`
#[cfg_attr(feature = "names", unsafe(no_mangle))]
pub unsafe extern "C" fn outlive_writev(
    sockets: *const Sockets,
    descriptor: c_int,
    pieces: *const iovec,
    count: c_int,
) -> ssize_t {
    size((|| {
        let count = usize::try_from(count).map_err(|_| Errno(libc::EINVAL))?;
        // SAFETY: as the caller promises.
        let (it, pieces) = unsafe { (of(sockets)?, to_read(pieces, count)?) };
        it.write(descriptor, &pieces)
    })())
}

/// `send(2)`
#[cfg_attr(feature = "names", unsafe(no_mangle))]
pub unsafe extern "C" fn outlive_send(
    sockets: *const Sockets,
    descriptor: c_int,
    buffer: *const c_void,
    count: size_t,
    flags: c_int,
) -> ssize_t {
    size((|| {
        // SAFETY: as the caller promises.
        let (it, buffer) = unsafe { (of(sockets)?, bytes(buffer.cast(), count)?) };
        it.send(descriptor, &[buffer], flags)
    })())
}

/// `sendto(2)`. On a connection the address is ignored, as on Linux.
#[cfg_attr(feature = "names", unsafe(no_mangle))]
pub unsafe extern "C" fn outlive_sendto(
    sockets: *const Sockets,
    descriptor: c_int,
    buffer: *const c_void,
    count: size_t,
    flags: c_int,
    address: *const sockaddr,
    length: socklen_t,
) -> ssize_t {
    size((|| {
        // SAFETY: as the caller promises.
        let (it, buffer) = unsafe { (of(sockets)?, bytes(buffer.cast(), count)?) };
        // SAFETY: as the caller promises.
        let name = unsafe {
            bytes(
                address.cast(),
                if address.is_null() {
                    0
                } else {
                    length as usize
                },
            )
        }?;
        it.send_to(descriptor, &[buffer], flags, name)
    })())
}

/// `sendmsg(2)`
#[cfg_attr(feature = "names", unsafe(no_mangle))]
pub unsafe extern "C" fn outlive_sendmsg(
    sockets: *const Sockets,
    descriptor: c_int,
    message: *const msghdr,
    flags: c_int,
) -> ssize_t {
    size((|| {
        // SAFETY: as the caller promises.
        let (it, message) = unsafe { (of(sockets)?, message.as_ref()) };
        let message = message.ok_or(Errno(libc::EFAULT))?;
        // SAFETY: as the caller promises.
        let pieces = unsafe { to_read(message.msg_iov, message.msg_iovlen) }?;
        // SAFETY: as the caller promises.
        let name = unsafe {
            let length = if message.msg_name.is_null() {
                0
            } else {
                message.msg_namelen as usize
            };
            bytes(message.msg_name.cast(), length)
        }?;
        it.send_to(descriptor, &pieces, flags, name)
    })())
}

/// `splice(2)`. There are no offsets in sockets and pipes.
#[cfg_attr(feature = "names", unsafe(no_mangle))]
pub unsafe extern "C" fn outlive_splice(
    sockets: *const Sockets,
    from: c_int,
    from_offset: *mut libc::loff_t,
    to: c_int,
    to_offset: *mut libc::loff_t,
    length: size_t,
    flags: c_uint,
) -> ssize_t {
    if !from_offset.is_null() || !to_offset.is_null() {
        return size(Err(Errno(libc::ESPIPE)));
    }
    // SAFETY: as the caller promises.
    size(unsafe { of(sockets) }.and_then(|it| it.splice(from, to, length, flags)))
}
