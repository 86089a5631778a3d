//! The struct that packetdrill fills in and calls through, and the one symbol that it looks for.

use std::ffi::{CStr, c_char};
use std::sync::Arc;

use libc::{
    c_int, c_longlong, c_uint, c_ulong, c_void, epoll_event, iovec, loff_t, msghdr, nfds_t, pollfd,
    size_t, sockaddr, socklen_t, ssize_t, timeval, useconds_t,
};
use outlive_posix::Sockets;

use crate::calls;
use crate::clock::Clock;
use crate::flags::Flags;
use crate::preload;
use crate::state_file::StateFile;
use crate::sysctl::Sysctls;

/// What is behind `userdata`.
pub(crate) struct Instance {
    pub(crate) clock: Arc<Clock>,
    pub(crate) sockets: Arc<Sockets>,
    pub(crate) states: StateFile,
}

type User = *mut c_void;

/// `struct packetdrill_interface`: in this order, whatever we would call things.
#[repr(C)]
#[allow(missing_docs, reason = "the names are those of the calls")]
pub struct Interface {
    pub userdata: User,
    pub free: unsafe extern "C" fn(User),
    pub socket: unsafe extern "C" fn(User, c_int, c_int, c_int) -> c_int,
    pub bind: unsafe extern "C" fn(User, c_int, *const sockaddr, socklen_t) -> c_int,
    pub listen: unsafe extern "C" fn(User, c_int, c_int) -> c_int,
    pub accept: unsafe extern "C" fn(User, c_int, *mut sockaddr, *mut socklen_t) -> c_int,
    pub connect: unsafe extern "C" fn(User, c_int, *const sockaddr, socklen_t) -> c_int,
    pub read: unsafe extern "C" fn(User, c_int, *mut c_void, size_t) -> ssize_t,
    pub readv: unsafe extern "C" fn(User, c_int, *const iovec, c_int) -> ssize_t,
    pub recv: unsafe extern "C" fn(User, c_int, *mut c_void, size_t, c_int) -> ssize_t,
    pub recvfrom: unsafe extern "C" fn(
        User,
        c_int,
        *mut c_void,
        size_t,
        c_int,
        *mut sockaddr,
        *mut socklen_t,
    ) -> ssize_t,
    pub recvmsg: unsafe extern "C" fn(User, c_int, *mut msghdr, c_int) -> ssize_t,
    pub write: unsafe extern "C" fn(User, c_int, *const c_void, size_t) -> ssize_t,
    pub writev: unsafe extern "C" fn(User, c_int, *const iovec, c_int) -> ssize_t,
    pub send: unsafe extern "C" fn(User, c_int, *const c_void, size_t, c_int) -> ssize_t,
    pub sendto: unsafe extern "C" fn(
        User,
        c_int,
        *const c_void,
        size_t,
        c_int,
        *const sockaddr,
        socklen_t,
    ) -> ssize_t,
    pub sendmsg: unsafe extern "C" fn(User, c_int, *const msghdr, c_int) -> ssize_t,
    /// Its third argument is optional: what stands in its place is not looked at then.
    pub fcntl: unsafe extern "C" fn(User, c_int, c_int, ...) -> c_int,
    /// Likewise.
    pub ioctl: unsafe extern "C" fn(User, c_int, c_ulong, ...) -> c_int,
    pub close: unsafe extern "C" fn(User, c_int) -> c_int,
    pub shutdown: unsafe extern "C" fn(User, c_int, c_int) -> c_int,
    pub getsockopt:
        unsafe extern "C" fn(User, c_int, c_int, c_int, *mut c_void, *mut socklen_t) -> c_int,
    pub setsockopt:
        unsafe extern "C" fn(User, c_int, c_int, c_int, *const c_void, socklen_t) -> c_int,
    pub poll: unsafe extern "C" fn(User, *mut pollfd, nfds_t, c_int) -> c_int,
    pub netdev_send: unsafe extern "C" fn(User, *const c_void, size_t) -> c_int,
    pub netdev_receive:
        unsafe extern "C" fn(User, *mut c_void, *mut size_t, *mut c_longlong) -> c_int,
    pub usleep: unsafe extern "C" fn(User, useconds_t) -> c_int,
    pub gettimeofday: unsafe extern "C" fn(User, *mut timeval, *mut c_void) -> c_int,
    pub epoll_create: unsafe extern "C" fn(User, c_int) -> c_int,
    pub epoll_ctl: unsafe extern "C" fn(User, c_int, c_int, c_int, *mut epoll_event) -> c_int,
    pub epoll_wait: unsafe extern "C" fn(User, c_int, *mut epoll_event, c_int, c_int) -> c_int,
    pub pipe: unsafe extern "C" fn(User, *mut c_int) -> c_int,
    pub splice: unsafe extern "C" fn(
        User,
        c_int,
        *mut loff_t,
        c_int,
        *mut loff_t,
        size_t,
        c_uint,
    ) -> ssize_t,
}

/// A function of three fixed arguments, where the interface has an ellipsis: the same registers, in the
/// calling conventions of Linux on the machines that we know.
macro_rules! variadic {
    ($function:expr, $fixed:ty, $variadic:ty) => {{
        let function: $fixed = $function;
        // SAFETY: both are pointers to functions; see above.
        unsafe { std::mem::transmute::<$fixed, $variadic>(function) }
    }};
}

/// Fills in `interface`; the thread that calls this is the main thread from then on.
///
/// # Safety
/// `flags` is null or a string that ends with a zero; `interface` points to room for the struct.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn packetdrill_interface_init(
    flags: *const c_char,
    interface: *mut Interface,
) {
    let text = if flags.is_null() {
        String::new()
    } else {
        // SAFETY: as the caller promises.
        unsafe { CStr::from_ptr(flags) }
            .to_string_lossy()
            .into_owned()
    };
    let flags = Flags::parse(&text).unwrap_or_else(|error| {
        eprintln!("outlive: --so_flags: {error}");
        std::process::exit(1);
    });
    let sysctls = Sysctls::under(&flags.sysctls);
    let clock = Arc::new(Clock::new(flags, sysctls.clone()));
    let sockets = Arc::new(Sockets::new(clock.clone(), move || sysctls.defaults()));
    preload::answer_for(&sockets);
    let instance = Box::new(Instance {
        clock,
        sockets,
        states: StateFile::from_environment(),
    });
    let filled = fill(Box::into_raw(instance).cast());
    // SAFETY: as the caller promises.
    unsafe { interface.write(filled) };
}

fn fill(userdata: User) -> Interface {
    Interface {
        userdata,
        free: calls::free,
        socket: calls::socket,
        bind: calls::bind,
        listen: calls::listen,
        accept: calls::accept,
        connect: calls::connect,
        read: calls::read,
        readv: calls::readv,
        recv: calls::recv,
        recvfrom: calls::recvfrom,
        recvmsg: calls::recvmsg,
        write: calls::write,
        writev: calls::writev,
        send: calls::send,
        sendto: calls::sendto,
        sendmsg: calls::sendmsg,
        fcntl: variadic!(
            calls::fcntl,
            unsafe extern "C" fn(User, c_int, c_int, libc::c_long) -> c_int,
            unsafe extern "C" fn(User, c_int, c_int, ...) -> c_int
        ),
        ioctl: variadic!(
            calls::ioctl,
            unsafe extern "C" fn(User, c_int, c_ulong, *mut c_int) -> c_int,
            unsafe extern "C" fn(User, c_int, c_ulong, ...) -> c_int
        ),
        close: calls::close,
        shutdown: calls::shutdown,
        getsockopt: calls::getsockopt,
        setsockopt: calls::setsockopt,
        poll: calls::poll,
        netdev_send: calls::netdev_send,
        netdev_receive: calls::netdev_receive,
        usleep: calls::usleep,
        gettimeofday: calls::gettimeofday,
        epoll_create: calls::epoll_create,
        epoll_ctl: calls::epoll_ctl,
        epoll_wait: calls::epoll_wait,
        pipe: calls::pipe,
        splice: calls::splice,
    }
}
