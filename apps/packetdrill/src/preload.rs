//! packetdrill reads `TCP_INFO` through the C library, not through the interface: with this library in
//! `LD_PRELOAD`, too, it finds ours first, which answers for our descriptors and leaves all others to the
//! kernel.

use std::sync::{Arc, Weak};

use libc::{c_int, c_void, socklen_t};
use outlive_posix::Sockets;
use outlive_posix::ffi::outlive_getsockopt;
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
