//! How C comes to a stack, and lets go of it.

use std::ffi::{CStr, c_char};
use std::sync::Arc;
use std::time::Duration;

use super::fail;
use crate::driver::Threaded;
use crate::errno::Errno;
use crate::sockets::{Defaults, Sockets};

/// Opens TAP interface `name` and runs a stack with `address` (with its prefix length: `10.0.0.2/24`) on it.
/// Null and `errno` tell of an error.
///
/// # Safety
/// Both point to strings that end with a zero.
#[cfg_attr(feature = "names", unsafe(no_mangle))]
pub unsafe extern "C" fn outlive_open_tap(
    name: *const c_char,
    address: *const c_char,
) -> *mut Sockets {
    let opened = || -> Result<Sockets, Errno> {
        // SAFETY: as the caller promises.
        let [name, address] = unsafe { [text(name)?, text(address)?] };
        let invalid = Errno(libc::EINVAL);
        let mut config = outlive::engine::Config::default();
        config.tcp.limited_times = true;
        config.ip.addresses = vec![address.parse().map_err(|_| invalid)?];
        let device = outlive_driver::tuntap::Options::tap(name);
        let interface = device.open().map_err(|error| {
            tracing::error!(%error, name, "cannot open the interface");
            Errno(libc::ENODEV)
        })?;
        let stack = outlive::engine::Stack::start(interface, config).map_err(|error| {
            tracing::error!(%error, "cannot start");
            Errno(libc::EIO)
        })?;
        Ok(Sockets::new(
            Arc::new(Threaded::new(stack)),
            Defaults::default,
        ))
    };
    match opened() {
        Ok(sockets) => Box::into_raw(Box::new(sockets)),
        Err(error) => {
            fail(error);
            std::ptr::null_mut()
        }
    }
}

/// Closes all connections, waits `within_ms` milliseconds for that, and stops the stack.
///
/// # Safety
/// `sockets` came from [`outlive_open_tap`] and is used no more.
#[cfg_attr(feature = "names", unsafe(no_mangle))]
pub unsafe extern "C" fn outlive_free(sockets: *mut Sockets, within_ms: u32) {
    if sockets.is_null() {
        return;
    }
    // SAFETY: it came from `Box::into_raw`, as the caller promises, and is used no more.
    let sockets = unsafe { Box::from_raw(sockets) };
    let stack = sockets.driver.direct().stack().clone();
    sockets.close_all();
    drop(sockets);
    stack.shutdown(Duration::from_millis(within_ms.into()));
}

/// # Safety
/// `string` is null or ends with a zero.
unsafe fn text<'a>(string: *const c_char) -> Result<&'a str, Errno> {
    if string.is_null() {
        return Err(Errno(libc::EFAULT));
    }
    // SAFETY: as the caller promises.
    let string = unsafe { CStr::from_ptr(string) };
    string.to_str().map_err(|_| Errno(libc::EINVAL))
}
