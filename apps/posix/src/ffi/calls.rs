//! Calls that move no bytes.
#![allow(clippy::missing_safety_doc, reason = "said once, in the module above")]

use libc::{c_int, c_long, c_ulong, c_void, sockaddr, socklen_t};

use super::{done, number, of};
use crate::address::Name;
use crate::epoll::Event;
use crate::errno::{Errno, Result};
use crate::message::{bytes, bytes_mut};
use crate::sockets::Sockets;

/// `socket(2)`
#[cfg_attr(feature = "names", unsafe(no_mangle))]
pub unsafe extern "C" fn outlive_socket(
    sockets: *const Sockets,
    domain: c_int,
    kind: c_int,
    protocol: c_int,
) -> c_int {
    // SAFETY: as the caller promises.
    number(unsafe { of(sockets) }.and_then(|it| it.socket(domain, kind, protocol)))
}

/// `bind(2)`
#[cfg_attr(feature = "names", unsafe(no_mangle))]
pub unsafe extern "C" fn outlive_bind(
    sockets: *const Sockets,
    descriptor: c_int,
    address: *const sockaddr,
    length: socklen_t,
) -> c_int {
    done((|| {
        // SAFETY: as the caller promises.
        let (it, name) = unsafe { (of(sockets)?, bytes(address.cast(), length as usize)?) };
        it.bind(descriptor, name)
    })())
}

/// `listen(2)`
#[cfg_attr(feature = "names", unsafe(no_mangle))]
pub unsafe extern "C" fn outlive_listen(
    sockets: *const Sockets,
    descriptor: c_int,
    backlog: c_int,
) -> c_int {
    // SAFETY: as the caller promises.
    done(unsafe { of(sockets) }.and_then(|it| it.listen(descriptor, backlog)))
}

/// `accept4(2)`
#[cfg_attr(feature = "names", unsafe(no_mangle))]
pub unsafe extern "C" fn outlive_accept4(
    sockets: *const Sockets,
    descriptor: c_int,
    address: *mut sockaddr,
    length: *mut socklen_t,
    flags: c_int,
) -> c_int {
    number((|| {
        // SAFETY: as the caller promises.
        let it = unsafe { of(sockets) }?;
        let (accepted, name) = it.accept4(descriptor, flags)?;
        // SAFETY: as the caller promises.
        unsafe { put_name(name, address, length) }?;
        Ok(accepted)
    })())
}

/// `accept(2)`
#[cfg_attr(feature = "names", unsafe(no_mangle))]
pub unsafe extern "C" fn outlive_accept(
    sockets: *const Sockets,
    descriptor: c_int,
    address: *mut sockaddr,
    length: *mut socklen_t,
) -> c_int {
    // SAFETY: as the caller promises.
    unsafe { outlive_accept4(sockets, descriptor, address, length, 0) }
}

/// `connect(2)`
#[cfg_attr(feature = "names", unsafe(no_mangle))]
pub unsafe extern "C" fn outlive_connect(
    sockets: *const Sockets,
    descriptor: c_int,
    address: *const sockaddr,
    length: socklen_t,
) -> c_int {
    done((|| {
        // SAFETY: as the caller promises.
        let (it, name) = unsafe { (of(sockets)?, bytes(address.cast(), length as usize)?) };
        it.connect(descriptor, name)
    })())
}

/// `getsockname(2)`
#[cfg_attr(feature = "names", unsafe(no_mangle))]
pub unsafe extern "C" fn outlive_getsockname(
    sockets: *const Sockets,
    descriptor: c_int,
    address: *mut sockaddr,
    length: *mut socklen_t,
) -> c_int {
    done((|| {
        // SAFETY: as the caller promises.
        let name = unsafe { of(sockets) }?.getsockname(descriptor)?;
        // SAFETY: as the caller promises.
        unsafe { put_name(name, address, length) }
    })())
}

/// `getpeername(2)`
#[cfg_attr(feature = "names", unsafe(no_mangle))]
pub unsafe extern "C" fn outlive_getpeername(
    sockets: *const Sockets,
    descriptor: c_int,
    address: *mut sockaddr,
    length: *mut socklen_t,
) -> c_int {
    done((|| {
        // SAFETY: as the caller promises.
        let name = unsafe { of(sockets) }?.getpeername(descriptor)?;
        // SAFETY: as the caller promises.
        unsafe { put_name(name, address, length) }
    })())
}

/// `shutdown(2)`
#[cfg_attr(feature = "names", unsafe(no_mangle))]
pub unsafe extern "C" fn outlive_shutdown(
    sockets: *const Sockets,
    descriptor: c_int,
    how: c_int,
) -> c_int {
    // SAFETY: as the caller promises.
    done(unsafe { of(sockets) }.and_then(|it| it.shutdown(descriptor, how)))
}

/// `close(2)`
#[cfg_attr(feature = "names", unsafe(no_mangle))]
pub unsafe extern "C" fn outlive_close(sockets: *const Sockets, descriptor: c_int) -> c_int {
    // SAFETY: as the caller promises.
    done(unsafe { of(sockets) }.and_then(|it| it.close(descriptor)))
}

/// `getsockopt(2)`
#[cfg_attr(feature = "names", unsafe(no_mangle))]
pub unsafe extern "C" fn outlive_getsockopt(
    sockets: *const Sockets,
    descriptor: c_int,
    level: c_int,
    name: c_int,
    value: *mut c_void,
    length: *mut socklen_t,
) -> c_int {
    done((|| {
        // SAFETY: as the caller promises.
        let (it, length) = unsafe { (of(sockets)?, length.as_mut()) };
        let length = length.ok_or(Errno(libc::EFAULT))?;
        if *length as i32 <= -1 {
            return Err(Errno(libc::EINVAL));
        }
        let told = it.getsockopt(descriptor, level, name, *length as usize)?;
        // SAFETY: as the caller promises.
        unsafe { bytes_mut(value.cast(), told.len()) }?.copy_from_slice(&told);
        *length = told.len() as socklen_t;
        Ok(())
    })())
}

/// `setsockopt(2)`
#[cfg_attr(feature = "names", unsafe(no_mangle))]
pub unsafe extern "C" fn outlive_setsockopt(
    sockets: *const Sockets,
    descriptor: c_int,
    level: c_int,
    name: c_int,
    value: *const c_void,
    length: socklen_t,
) -> c_int {
    done((|| {
        if length as i32 <= -1 {
            return Err(Errno(libc::EINVAL));
        }
        // SAFETY: as the caller promises.
        let (it, value) = unsafe { (of(sockets)?, bytes(value.cast(), length as usize)?) };
        it.setsockopt(descriptor, level, name, value)
    })())
}

/// `fcntl(2)`; `argument` is what stands in for the ellipsis.
#[cfg_attr(feature = "names", unsafe(no_mangle))]
pub unsafe extern "C" fn outlive_fcntl(
    sockets: *const Sockets,
    descriptor: c_int,
    command: c_int,
    argument: c_long,
) -> c_int {
    // SAFETY: as the caller promises.
    number(unsafe { of(sockets) }.and_then(|it| it.fcntl(descriptor, command, argument as c_int)))
}

/// `ioctl(2)`; `argument` is what stands in for the ellipsis.
#[cfg_attr(feature = "names", unsafe(no_mangle))]
pub unsafe extern "C" fn outlive_ioctl(
    sockets: *const Sockets,
    descriptor: c_int,
    request: c_ulong,
    argument: *mut c_int,
) -> c_int {
    done((|| {
        // A number, handed over as an int by some.
        let request = request & 0xffff_ffff;
        // SAFETY: as the caller promises.
        let (it, argument) = unsafe { (of(sockets)?, argument.as_mut()) };
        let argument = argument.ok_or(Errno(libc::EFAULT))?;
        *argument = it.ioctl(descriptor, request, *argument)?;
        Ok(())
    })())
}

/// `poll(2)`
#[cfg_attr(feature = "names", unsafe(no_mangle))]
pub unsafe extern "C" fn outlive_poll(
    sockets: *const Sockets,
    asked: *mut libc::pollfd,
    count: libc::nfds_t,
    timeout_ms: c_int,
) -> c_int {
    number((|| {
        // SAFETY: as the caller promises.
        let it = unsafe { of(sockets) }?;
        let mut none = [];
        let asked = match (asked.is_null(), count) {
            (_, 0) => &mut none[..],
            (true, _) => return Err(Errno(libc::EFAULT)),
            // SAFETY: not null, and as the caller promises.
            _ => unsafe { std::slice::from_raw_parts_mut(asked, count as usize) },
        };
        it.poll(asked, timeout_ms)
    })())
}

/// `epoll_create(2)`
#[cfg_attr(feature = "names", unsafe(no_mangle))]
pub unsafe extern "C" fn outlive_epoll_create(sockets: *const Sockets, size: c_int) -> c_int {
    if size <= 0 {
        return number::<c_int>(Err(Errno(libc::EINVAL)));
    }
    // SAFETY: as the caller promises.
    number(unsafe { of(sockets) }.and_then(Sockets::epoll_create))
}

/// `epoll_ctl(2)`
#[cfg_attr(feature = "names", unsafe(no_mangle))]
pub unsafe extern "C" fn outlive_epoll_ctl(
    sockets: *const Sockets,
    epoll: c_int,
    operation: c_int,
    descriptor: c_int,
    event: *const libc::epoll_event,
) -> c_int {
    done((|| {
        // SAFETY: as the caller promises; it need not be aligned.
        let event = (!event.is_null()).then(|| unsafe { event.read_unaligned() });
        let event = event.map(|event| Event {
            events: event.events,
            data: event.u64,
        });
        // SAFETY: as the caller promises.
        unsafe { of(sockets) }?.epoll_ctl(epoll, operation, descriptor, event)
    })())
}

/// `epoll_wait(2)`
#[cfg_attr(feature = "names", unsafe(no_mangle))]
pub unsafe extern "C" fn outlive_epoll_wait(
    sockets: *const Sockets,
    epoll: c_int,
    events: *mut libc::epoll_event,
    most: c_int,
    timeout_ms: c_int,
) -> c_int {
    number((|| {
        // SAFETY: as the caller promises.
        let it = unsafe { of(sockets) }?;
        let most = usize::try_from(most).map_err(|_| Errno(libc::EINVAL))?;
        if events.is_null() {
            return Err(Errno(libc::EFAULT));
        }
        let told = it.epoll_wait(epoll, most, timeout_ms)?;
        for (index, event) in told.iter().enumerate() {
            let event = libc::epoll_event {
                events: event.events,
                u64: event.data,
            };
            // SAFETY: there are as many places as the caller promised, and no more is told.
            unsafe { events.add(index).write_unaligned(event) };
        }
        Ok(told.len())
    })())
}

/// `pipe(2)`
#[cfg_attr(feature = "names", unsafe(no_mangle))]
pub unsafe extern "C" fn outlive_pipe(sockets: *const Sockets, ends: *mut c_int) -> c_int {
    done((|| {
        if ends.is_null() {
            return Err(Errno(libc::EFAULT));
        }
        // SAFETY: as the caller promises.
        let [reader, writer] = unsafe { of(sockets) }?.pipe()?;
        // SAFETY: there are two places, as the caller promises.
        unsafe {
            ends.write(reader);
            ends.add(1).write(writer);
        }
        Ok(())
    })())
}

/// Tells the name of a peer, as far as there is room, and how long it is.
pub(super) unsafe fn put_name(
    name: Name,
    address: *mut sockaddr,
    length: *mut socklen_t,
) -> Result<()> {
    // SAFETY: as the caller promises.
    let Some(length) = (unsafe { length.as_mut() }) else {
        return if address.is_null() {
            Ok(())
        } else {
            Err(Errno(libc::EFAULT))
        };
    };
    let told = name.as_slice();
    if !address.is_null() {
        let room = told.len().min(*length as usize);
        // SAFETY: as the caller promises.
        unsafe { bytes_mut(address.cast(), room) }?.copy_from_slice(&told[..room]);
    }
    *length = told.len() as socklen_t;
    Ok(())
}
