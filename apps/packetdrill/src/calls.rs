//! The functions of the interface. Those of sockets are the C face's, with the state file brought up to date
//! afterwards.
//!
//! # Safety
//! `user` is what [`crate::packetdrill_interface_init`] gave, and everything else is as the call of the
//! same name wants it.

use std::sync::Arc;
use std::time::Duration;

use libc::{
    c_int, c_long, c_longlong, c_uint, c_ulong, c_void, epoll_event, iovec, loff_t, msghdr, nfds_t,
    pollfd, size_t, sockaddr, socklen_t, ssize_t, timeval, useconds_t,
};
use outlive_posix::ffi;

use crate::interface::Instance;

type User = *mut c_void;

/// # Safety
/// As of the module.
unsafe fn instance<'a>(user: User) -> &'a Instance {
    // SAFETY: as the caller promises.
    unsafe { &*user.cast::<Instance>() }
}

/// Functions that hand their arguments to one of the C face.
macro_rules! forward {
    ($($name:ident => $function:ident ( $($argument:ident : $kind:ty),* ) -> $result:ty;)*) => {
        $(
            pub(crate) unsafe extern "C" fn $name(user: User, $($argument: $kind),*) -> $result {
                // SAFETY: as the caller promises.
                let instance = unsafe { instance(user) };
                let sockets = Arc::as_ptr(&instance.sockets);
                // SAFETY: as the caller promises.
                let result = unsafe { ffi::$function(sockets, $($argument),*) };
                instance.update();
                result
            }
        )*
    };
}

impl Instance {
    /// Brings the state file up to date, without a trace in `errno`.
    fn update(&self) {
        // SAFETY: the location of this thread's errno is always valid.
        let errno = unsafe { libc::__errno_location() };
        // SAFETY: the same.
        let before = unsafe { *errno };
        self.states.update(&self.sockets);
        // SAFETY: the same.
        unsafe { *errno = before };
    }
}

forward! {
    socket => outlive_socket(domain: c_int, kind: c_int, protocol: c_int) -> c_int;
    bind => outlive_bind(fd: c_int, address: *const sockaddr, length: socklen_t) -> c_int;
    listen => outlive_listen(fd: c_int, backlog: c_int) -> c_int;
    accept => outlive_accept(fd: c_int, address: *mut sockaddr, length: *mut socklen_t) -> c_int;
    connect => outlive_connect(fd: c_int, address: *const sockaddr, length: socklen_t) -> c_int;
    read => outlive_read(fd: c_int, buffer: *mut c_void, count: size_t) -> ssize_t;
    readv => outlive_readv(fd: c_int, pieces: *const iovec, count: c_int) -> ssize_t;
    recv => outlive_recv(fd: c_int, buffer: *mut c_void, count: size_t, flags: c_int) -> ssize_t;
    recvfrom => outlive_recvfrom(fd: c_int, buffer: *mut c_void, count: size_t, flags: c_int,
        address: *mut sockaddr, length: *mut socklen_t) -> ssize_t;
    recvmsg => outlive_recvmsg(fd: c_int, message: *mut msghdr, flags: c_int) -> ssize_t;
    write => outlive_write(fd: c_int, buffer: *const c_void, count: size_t) -> ssize_t;
    writev => outlive_writev(fd: c_int, pieces: *const iovec, count: c_int) -> ssize_t;
    send => outlive_send(fd: c_int, buffer: *const c_void, count: size_t, flags: c_int) -> ssize_t;
    sendto => outlive_sendto(fd: c_int, buffer: *const c_void, count: size_t, flags: c_int,
        address: *const sockaddr, length: socklen_t) -> ssize_t;
    sendmsg => outlive_sendmsg(fd: c_int, message: *const msghdr, flags: c_int) -> ssize_t;
    fcntl => outlive_fcntl(fd: c_int, command: c_int, argument: c_long) -> c_int;
    ioctl => outlive_ioctl(fd: c_int, request: c_ulong, argument: *mut c_int) -> c_int;
    close => outlive_close(fd: c_int) -> c_int;
    shutdown => outlive_shutdown(fd: c_int, how: c_int) -> c_int;
    getsockopt => outlive_getsockopt(fd: c_int, level: c_int, name: c_int, value: *mut c_void,
        length: *mut socklen_t) -> c_int;
    setsockopt => outlive_setsockopt(fd: c_int, level: c_int, name: c_int, value: *const c_void,
        length: socklen_t) -> c_int;
    poll => outlive_poll(asked: *mut pollfd, count: nfds_t, timeout_ms: c_int) -> c_int;
    epoll_create => outlive_epoll_create(size: c_int) -> c_int;
    epoll_ctl => outlive_epoll_ctl(epoll: c_int, operation: c_int, fd: c_int,
        event: *mut epoll_event) -> c_int;
    epoll_wait => outlive_epoll_wait(epoll: c_int, events: *mut epoll_event, most: c_int,
        timeout_ms: c_int) -> c_int;
    pipe => outlive_pipe(ends: *mut c_int) -> c_int;
}

/// packetdrill points to an offset of zero where a script says that there is none.
pub(crate) unsafe extern "C" fn splice(
    user: User,
    from: c_int,
    from_offset: *mut loff_t,
    to: c_int,
    to_offset: *mut loff_t,
    length: size_t,
    flags: c_uint,
) -> ssize_t {
    // SAFETY: as the caller promises.
    let (instance, offsets) = unsafe {
        let offsets = [from_offset, to_offset].map(|at| at.as_mut().filter(|at| **at != 0));
        (instance(user), offsets)
    };
    let [from_offset, to_offset] =
        offsets.map(|at| at.map_or(std::ptr::null_mut(), std::ptr::from_mut));
    let sockets = Arc::as_ptr(&instance.sockets);
    // SAFETY: as the caller promises.
    let result =
        unsafe { ffi::outlive_splice(sockets, from, from_offset, to, to_offset, length, flags) };
    instance.update();
    result
}

pub(crate) unsafe extern "C" fn free(user: User) {
    // SAFETY: it came from `Box::into_raw`, and is used no more.
    drop(unsafe { Box::from_raw(user.cast::<Instance>()) });
}

pub(crate) unsafe extern "C" fn netdev_send(
    user: User,
    packet: *const c_void,
    count: size_t,
) -> c_int {
    // SAFETY: as the caller promises.
    let (instance, packet) = unsafe {
        (
            instance(user),
            std::slice::from_raw_parts(packet.cast::<u8>(), count),
        )
    };
    instance.clock.put(packet);
    instance.update();
    0
}

pub(crate) unsafe extern "C" fn netdev_receive(
    user: User,
    buffer: *mut c_void,
    count: *mut size_t,
    time_us: *mut c_longlong,
) -> c_int {
    // SAFETY: as the caller promises.
    let (instance, room) = unsafe { (instance(user), *count) };
    let taken = instance.clock.take();
    instance.update();
    let (at, packet) = taken.unwrap_or_else(|| (instance.clock.look(), Vec::new()));
    let length = packet.len().min(room);
    // SAFETY: there is as much room as the caller said, and no more is used.
    unsafe {
        std::ptr::copy_nonoverlapping(packet.as_ptr(), buffer.cast::<u8>(), length);
        *count = length;
        *time_us = at.as_micros() as c_longlong;
    }
    0
}

pub(crate) unsafe extern "C" fn usleep(user: User, micros: useconds_t) -> c_int {
    // SAFETY: as the caller promises.
    let instance = unsafe { instance(user) };
    instance.clock.sleep(Duration::from_micros(micros.into()));
    instance.update();
    0
}

pub(crate) unsafe extern "C" fn gettimeofday(
    user: User,
    time: *mut timeval,
    _zone: *mut c_void,
) -> c_int {
    // SAFETY: as the caller promises.
    let instance = unsafe { instance(user) };
    let micros = instance.clock.look().as_micros();
    instance.update();
    // SAFETY: as the caller promises.
    unsafe {
        time.write(timeval {
            tv_sec: (micros / 1_000_000) as libc::time_t,
            tv_usec: (micros % 1_000_000) as libc::suseconds_t,
        });
    }
    0
}
