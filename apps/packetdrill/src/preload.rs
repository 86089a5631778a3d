//! packetdrill reads `TCP_INFO`, and calls `sendfile`, through the C library, not through the interface: with this
//! library in `LD_PRELOAD`, too, it finds ours first, which answers for our descriptors and leaves all others to
//! the kernel.

use std::sync::{Arc, Weak};

use libc::{c_int, c_void, off64_t, size_t, socklen_t, ssize_t};
use outlive_posix::Sockets;
use outlive_posix::ffi::{outlive_getsockopt, outlive_send};
use parking_lot::Mutex;

/// The sockets of all interfaces: the C library's call names none. Descriptors are the kernel's, and so one interface's only.
static SOCKETS: Mutex<Vec<Weak<Sockets>>> = Mutex::new(Vec::new());

/// From now on the C library's calls find these.
pub(crate) fn answer_for(sockets: &Arc<Sockets>) {
    let mut all = SOCKETS.lock();
    all.retain(|known| known.strong_count() > 0);
    all.push(Arc::downgrade(sockets));
}

fn owner_of(descriptor: c_int) -> Option<Arc<Sockets>> {
    let all = SOCKETS.lock();
    let mut living = all.iter().filter_map(Weak::upgrade);
    living.find(|sockets| sockets.is_ours(descriptor))
}

/// `getsockopt(2)`. Exported by its name, not by its path.
///
/// # Safety
/// As of the call of that name.
#[expect(unreachable_pub, reason = "it is reached from outside, by its name")]
#[unsafe(no_mangle)]
pub unsafe extern "C" fn getsockopt(
    descriptor: c_int,
    level: c_int,
    name: c_int,
    value: *mut c_void,
    length: *mut socklen_t,
) -> c_int {
    match owner_of(descriptor) {
        Some(sockets) => {
            // SAFETY: as the caller promises.
            unsafe {
                outlive_getsockopt(
                    Arc::as_ptr(&sockets),
                    descriptor,
                    level,
                    name,
                    value,
                    length,
                )
            }
        }
        None => {
            // SAFETY: as the caller promises; the arguments are those of the call.
            let result = unsafe {
                libc::syscall(libc::SYS_getsockopt, descriptor, level, name, value, length)
            };
            result as c_int
        }
    }
}

/// Most that one call carries over.
const MOST_FILE_BYTES: usize = 1 << 20;

/// `sendfile(2)`, of files to sockets of ours.
///
/// # Safety
/// As of the call of that name.
#[expect(unreachable_pub, reason = "it is reached from outside, by its name")]
#[unsafe(no_mangle)]
pub unsafe extern "C" fn sendfile64(
    to: c_int,
    from: c_int,
    offset: *mut off64_t,
    count: size_t,
) -> ssize_t {
    let Some(sockets) = owner_of(to) else {
        // SAFETY: as the caller promises; the arguments are those of the call.
        return unsafe { libc::syscall(libc::SYS_sendfile, to, from, offset, count) as ssize_t };
    };
    let mut bytes = vec![0; count.min(MOST_FILE_BYTES)];
    // SAFETY: null, or as the caller promises.
    let given = unsafe { offset.as_ref() }.copied();
    let buffer = bytes.as_mut_ptr().cast::<c_void>();
    // SAFETY: the buffer is as long as that. Without an offset the file's own counts, which does not move here yet.
    let start = given.unwrap_or_else(|| unsafe { libc::lseek64(from, 0, libc::SEEK_CUR) });
    // SAFETY: the same.
    let read = unsafe { libc::pread64(from, buffer, bytes.len(), start) };
    if read <= 0 {
        return read;
    }
    // SAFETY: so much of the buffer was filled.
    let sent = unsafe { outlive_send(Arc::as_ptr(&sockets), to, buffer, read as size_t, 0) };
    if sent > 0 {
        // SAFETY: null, or as the caller promises.
        match unsafe { offset.as_mut() } {
            Some(offset) => *offset = start + sent as off64_t,
            // SAFETY: it touches no memory.
            None => unsafe {
                libc::lseek64(from, start + sent as off64_t, libc::SEEK_SET);
            },
        }
    }
    sent
}

/// The same, where offsets have 64 bits under this name too.
///
/// # Safety
/// As of the call of that name.
#[expect(unreachable_pub, reason = "it is reached from outside, by its name")]
#[unsafe(no_mangle)]
pub unsafe extern "C" fn sendfile(
    to: c_int,
    from: c_int,
    offset: *mut off64_t,
    count: size_t,
) -> ssize_t {
    // SAFETY: as the caller promises.
    unsafe { sendfile64(to, from, offset, count) }
}
