//! Calls that move bytes.
#![allow(clippy::missing_safety_doc, reason = "said once, in the module above")]

use libc::{c_int, c_uint, c_void, iovec, msghdr, size_t, sockaddr, socklen_t, ssize_t};

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

/// `recvfrom(2)`. On a connection nobody is named, as on Linux.
#[cfg_attr(feature = "names", unsafe(no_mangle))]
pub unsafe extern "C" fn outlive_recvfrom(
    sockets: *const Sockets,
    descriptor: c_int,
    buffer: *mut c_void,
    count: size_t,
    flags: c_int,
    _address: *mut sockaddr,
    length: *mut socklen_t,
) -> ssize_t {
    // SAFETY: as the caller promises.
    let received = unsafe { outlive_recv(sockets, descriptor, buffer, count, flags) };
    // SAFETY: as the caller promises.
    if let Some(length) = unsafe { length.as_mut() }
        && received >= 0
    {
        *length = 0;
    }
    received
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
        if flags & libc::MSG_ERRQUEUE != 0 {
            // SAFETY: as the caller promises.
            let control = unsafe { bytes_mut(message.msg_control.cast(), message.msg_controllen) }?;
            let (told, filled) = it.take_notice(descriptor, control)?;
            message.msg_namelen = 0;
            message.msg_flags = told;
            message.msg_controllen = filled as _;
            return Ok(0);
        }
        // SAFETY: as the caller promises.
        let mut pieces = unsafe { to_write(message.msg_iov, message.msg_iovlen) }?;
        let received = it.recv(descriptor, &mut pieces, flags)?;
        message.msg_namelen = 0;
        message.msg_flags = 0;
        // SAFETY: as the caller promises.
        let control = unsafe { bytes_mut(message.msg_control.cast(), message.msg_controllen) }?;
        message.msg_controllen = it.ancillary(descriptor, control)? as _;
        Ok(received)
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
