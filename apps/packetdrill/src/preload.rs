//! packetdrill reads `TCP_INFO` through the C library, not through the interface: with this library in
//! `LD_PRELOAD`, too, it finds ours first, which answers for our descriptors and leaves all others to the
//! kernel.

use std::sync::{Arc, Weak};

use libc::{c_int, c_void, socklen_t};
use outlive_posix::Sockets;
use outlive_posix::ffi::outlive_getsockopt;
use parking_lot::Mutex;

/// The sockets of the interface that was made last: the C library's call names none.
static SOCKETS: Mutex<Weak<Sockets>> = Mutex::new(Weak::new());

/// From now on the C library's calls find these.
pub(crate) fn answer_for(sockets: &Arc<Sockets>) {
    *SOCKETS.lock() = Arc::downgrade(sockets);
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
    let ours = SOCKETS.lock().upgrade();
    match ours.filter(|sockets| sockets.is_ours(descriptor)) {
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
